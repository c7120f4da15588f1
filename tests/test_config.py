"""Configuration: closed, told in the user's words, the same after a round trip."""

from pathlib import Path

import pytest
import yaml

from wsi_lpd.config import Config, dump_config, load_config, updated
from wsi_lpd.errors import ConfigError

CONFIGS = sorted((Path(__file__).resolve().parents[1] / "configs").glob("*.yaml"))


def test_there_are_configs__to_check():
    assert {path.stem for path in CONFIGS} >= {"default", "bcss", "luad", "smoke"}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_config__loads(path):
    load_config(path)


def test_default_yaml__is_every_default_written_out():
    path = next(path for path in CONFIGS if path.stem == "default")
    assert load_config(path) == Config()
    assert yaml.safe_load(path.read_text(encoding="utf-8")) == yaml.safe_load(dump_config(Config()))


def test_a_config__survives_its_round_trip(tmp_path):
    config = load_config(None, ["train.epochs=3", "model.scales=[2, 3]", "model.fusion_weights=[1, 2]",
                                "loss.scale_weights=[0.5, 1]", "segment.tissue.mask=masks/a.png"])  # fmt: skip
    path = tmp_path / "c.yaml"
    path.write_text(dump_config(config), encoding="utf-8")
    assert load_config(path) == config


def test_overrides__are_read_as_yaml_and_in_order():
    config = load_config(None, ["train.learning_rate=1e-4", "train.epochs=3", "train.epochs=5", "tile.stride_px=null"])
    assert config.train.learning_rate == 1e-4
    assert config.train.epochs == 5
    assert config.tile.stride_px is None


def test_all_problems__are_told_at_once_with_their_keys(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("tile:\n  mpp: -1\ntrain:\n  epoch: 3\nmodel:\n  scales: [1, 2]\n", encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        load_config(path)
    text = str(error.value)
    assert text.startswith(f"{path}: 3 problem(s)")
    assert "tile.mpp: Input should be greater than 0, got -1" in text
    assert "train.epoch: unknown key" in text
    assert "model: fusion_weights has 3 numbers for 2 scales" in text


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("train.epochs", "expected key=value"),
        ("train.epochs=[", "not YAML"),
        ("name.x=3", "name"),
        ("train.epochs=lots", "train.epochs: Input should be a valid integer"),
        ("loss.scale_weights=[1]", "loss.scale_weights has 1 numbers for 3"),
        ("segment.min_hole_um2=.inf", "segment.min_hole_um2: Input should be a finite number"),
        ("segment.min_area_um2=.inf", "segment.min_area_um2: Input should be a finite number"),
        ("loss.scale_weights=[1, .nan, 1]", "loss.scale_weights"),
        ("segment.tissue_margin_um=1e9", "segment.tissue_margin_um: Input should be less than or equal to 200"),
    ],
)
def test_a_wrong_override__is_told(override, told):
    with pytest.raises(ConfigError, match=told.replace(".", r"\.")):
        load_config(None, [override])


@pytest.mark.parametrize(("content", "told"), [("- a\n- b\n", "holds a list"), ("a: [", "is not YAML")])
def test_a_file_that_is_no_configuration__is_told(tmp_path, content, told):
    path = tmp_path / "c.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=told):
        load_config(path)


def test_a_missing_file__is_told(tmp_path):
    with pytest.raises(ConfigError, match=r"no\.yaml: cannot be read"):
        load_config(tmp_path / "no.yaml")


def test_command_line_values__win_and_none_changes_nothing():
    config = updated(Config(), {"tile.mpp": 0.25, "tile.patch_px": None, "tile.tissue.mask": Path("m.png")})
    assert config.tile.mpp == 0.25
    assert config.tile.patch_px == Config().tile.patch_px
    assert config.tile.tissue.mask == Path("m.png")
    with pytest.raises(ConfigError, match=r"tile\.mpp"):
        updated(Config(), {"tile.mpp": -3})
