"""Configuration: a closed schema, errors in the user's words, the same after a round trip."""

from pathlib import Path

import pytest

from wsi_lpd.config import Config, dump_config, load_config, updated
from wsi_lpd.errors import ConfigError

CONFIGS = sorted((Path(__file__).resolve().parents[2] / "configs").glob("*.yaml"))


def test_there_are_configs__to_check():
    assert {path.stem for path in CONFIGS} >= {"default", "bcss", "luad", "smoke"}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_config__loads(path):
    load_config(path)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("tile:\n  mpp: 1.0\n  patch_px: 64\n  mpp: 0.5\n", "key 'mpp' is set twice, in lines 2 and 4"),
        ("train: {epochs: 3}\nmodel: {frozen: true}\ntrain: {seed: 1}\n", "key 'train' is set twice, in lines 1 and 3"),
        ("name: 2020-01-01\ntrain:\n  epochs: 2020-01-01\n", "train.epochs: .*got '2020-01-01'"),
        ("train:\n  epochs: " + "9" * 5000, "not valid YAML|train.epochs"),
        ("train:\n  epochs: 0x" + "f" * 500, "larger than 2"),
        ("train:\n  learning_rate: .inf\n", "train.learning_rate"),
        ("train:\n  learning_rate: 1e999\n", "train.learning_rate"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "anchors and aliases"),
        ("train: !!python/object/apply:os.system ['true']\n", "not valid YAML"),
        ("? [1, 2]\n: 3\n", "a key is not a name"),
        ("x: " + "[" * 3000, "nested too deeply|not valid YAML"),
        ("x: '" + "y" * 1_100_000 + "'", "characters"),
        ("tile:\n  stride_px: none\n", "tile.stride_px: found the text 'none'.*; write null"),
        ("segment:\n  window_px: None\n", "segment.window_px: found the text 'None'.*; write null"),
        ("model:\n  vectors: none\n", "model.vectors: found the text 'none'.*; write null"),
        ("train:\n  cache_dir: None\n", "train.cache_dir: found the text 'None'.*; write null"),
        ("segment:\n  tissue:\n    mask: none\n", "segment.tissue.mask: found the text 'none'.*; write null"),
        ("model:\n  scales: none\n", "model.scales: found the text 'none'.*; write null"),
        ("segment:\n  refine: null\n", "segment.refine: Input should be 'none', 'pamr' or 'guided', got null"),
        ("train:\n  epochs:\n", "train.epochs: .*got null"),
    ],
)
def test_yaml_that_says_two_things_or_too_much__is_one_error(tmp_path, text, problem):
    path = tmp_path / "c.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=problem) as error:
        load_config(path)
    assert len(str(error.value)) < 1000


def test_a_file_from_windows__is_read(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_bytes(b"\xef\xbb\xbftrain:\r\n  epochs: 3\r\n  learning_rate: 1e-4\r\n")
    assert load_config(path).train.learning_rate == 1e-4


def test_a_config__survives_its_round_trip(tmp_path):
    config = load_config(None, ["train.epochs=3", "model.scales=[2, 3]", "model.fusion_weights=[1, 2]",
                                "loss.scale_weights=[0.5, 1]", "segment.tissue.mask=masks/a.png"])  # fmt: skip
    path = tmp_path / "c.yaml"
    path.write_text(dump_config(config), encoding="utf-8")
    assert load_config(path) == config


@pytest.mark.parametrize("text", ["null", "~", "", "Null", "NULL"])
def test_every_way_that_yaml_writes_null__is_empty(tmp_path, text):
    path = tmp_path / "c.yaml"
    path.write_text(f"tile:\n  stride_px: {text}\nsegment: {{refine: none, tissue: {{mask: {text}}}}}\n")
    for config in (load_config(path), load_config(None, [f"tile.stride_px={text}", f"segment.tissue.mask={text}"])):
        assert config.tile.stride_px is None
        assert config.segment.tissue.mask is None
        assert config.segment.refine == "none"


def test_the_configuration_of_an_earlier_release__loads(tmp_path):
    """`config.yaml` of a run folder and a copied default.yaml name every key; defaults_514b650.yaml is such a file."""
    old = Path(__file__).with_name("defaults_514b650.yaml")
    assert load_config(old) == Config()
    changed = old.read_text(encoding="utf-8").replace("most_per_image: 64", "most_per_image: 48")
    path = tmp_path / "config.yaml"
    path.write_text(changed.replace("double_softmax: true", "double_softmax: false"), encoding="utf-8")
    tree = load_config(path).model_dump()
    assert tree["pscl"]["most_per_image"] == 48
    assert tree["reference"]["double_softmax"] is False


def test_overrides__are_read_as_yaml_and_in_order():
    config = load_config(None, ["train.learning_rate=1e-4", "train.epochs=3", "train.epochs=5", "tile.stride_px=null"])
    assert config.train.learning_rate == 1e-4
    assert config.train.epochs == 5
    assert config.tile.stride_px is None


def test_all_problems__are_reported_at_once_with_their_keys(tmp_path):
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
    ("override", "message"),
    [
        ("train.epochs", "expected key=value"),
        ("train.epochs=[", "not valid YAML"),
        ("name.x=3", "name"),
        ("train.epochs=lots", "train.epochs: Input should be a valid integer"),
        ("loss.scale_weights=[1]", "loss.scale_weights has 1 numbers for 3"),
        ("segment.min_hole_um2=.inf", "segment.min_hole_um2: Input should be a finite number"),
        ("segment.min_area_um2=.inf", "segment.min_area_um2: Input should be a finite number"),
        ("loss.scale_weights=[1, .nan, 1]", "loss.scale_weights"),
        ("segment.tissue_margin_um=1e9", "segment.tissue_margin_um: Input should be less than or equal to 200"),
    ],
)
def test_a_wrong_override__is_one_clear_error(override, message):
    with pytest.raises(ConfigError, match=message.replace(".", r"\.")):
        load_config(None, [override])


@pytest.mark.parametrize(("content", "message"), [("- a\n- b\n", "holds a list"), ("a: [", "is not valid YAML")])
def test_a_file_that_is_no_configuration__is_refused(tmp_path, content, message):
    path = tmp_path / "c.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        load_config(path)


def test_a_missing_file__is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"no\.yaml: cannot be read"):
        load_config(tmp_path / "no.yaml")


def test_command_line_values__win_and_none_changes_nothing():
    config = updated(Config(), {"tile.mpp": 0.25, "tile.patch_px": None, "tile.tissue.mask": Path("m.png")})
    assert config.tile.mpp == 0.25
    assert config.tile.patch_px == Config().tile.patch_px
    assert config.tile.tissue.mask == Path("m.png")
    with pytest.raises(ConfigError, match=r"tile\.mpp"):
        updated(Config(), {"tile.mpp": -3})
