"""Configuration: closed, told in the user's words, the same after a round trip."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from wsi_lpd.config import Config, dump_config, load_config, updated
from wsi_lpd.config.document import configuration_markdown, default_yaml, groups
from wsi_lpd.errors import ConfigError

CONFIGS = sorted((Path(__file__).resolve().parents[1] / "configs").glob("*.yaml"))


def test_there_are_configs__to_check():
    assert {path.stem for path in CONFIGS} >= {"default", "bcss", "luad", "smoke"}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_config__loads(path):
    load_config(path)


def test_default_yaml_and_its_page__are_what_the_descriptions_make():
    path = next(path for path in CONFIGS if path.stem == "default")
    assert path.read_text(encoding="utf-8") == default_yaml(), "run python -m wsi_lpd.config.document"
    page = path.parents[1] / "docs" / "configuration.md"
    assert page.read_text(encoding="utf-8") == configuration_markdown(), "run python -m wsi_lpd.config.document"
    assert load_config(path) == Config()
    assert yaml.safe_load(default_yaml()) == yaml.safe_load(dump_config(Config()))


def test_every_setting__says_what_it_does_once_and_in_one_line():
    settings = [setting for group in groups() for setting in group.settings]
    assert len(settings) > 150
    for setting in settings:
        assert setting.description.endswith("."), setting.key
        assert "\n" not in setting.description
        assert "; none" not in setting.description, "an empty value is written null"
    comments = [line for line in default_yaml().splitlines() if line.lstrip().startswith("#")]
    assert len(comments) == len(settings) + len(list(groups())) - 1 + 2


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
        ("tile:\n  stride_px: none\n", "tile.stride_px: .*got 'none'; an empty value is written null"),
        ("segment:\n  window_px: None\n", "an empty value is written null"),
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


TOY = """
from pydantic import Field
from wsi_lpd.config.method import MethodSpec
from wsi_lpd.config.section import Section

class ToyConfig(Section):
    \"\"\"Method toy.\"\"\"
    weight: float = Field(2.0, gt=0, description="Weight of its only term.")

METHOD = MethodSpec("toy", "a toy", preset={"train.epochs": 1, "augment.mosaic": 0.0}, settings={"toy": ToyConfig()})
"""
TOY_LOSS = """
from wsi_lpd.methods.base import Losses, Method
from wsi_lpd.methods.terms import image_terms
from wsi_lpd.methods.toy import ToyConfig

class Toy(Method):
    def __init__(self, config):
        self.config, self.settings = config, config.own(ToyConfig)

    def losses(self, step):
        terms = image_terms(step, step.student(step.images), self.config.loss)
        return Losses({"classification": self.settings.weight * terms["classification"]})

Learning = Toy
"""


def test_a_method__is_one_package_that_nobody_else_names(tmp_path):
    """Its declaration and its loss in a folder: it can be chosen, set, trained and refused by name."""
    (tmp_path / "room" / "toy").mkdir(parents=True)
    (tmp_path / "room" / "toy" / "__init__.py").write_text(TOY)
    (tmp_path / "room" / "toy" / "loss.py").write_text(TOY_LOSS)
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import importlib.machinery as machinery
class Extend:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name != "wsi_lpd.methods":
            return None
        spec = machinery.PathFinder.find_spec(name, path)
        spec.submodule_search_locations.append({str(tmp_path / "room")!r})
        return spec
sys.meta_path.insert(0, Extend)
from dots_and_stripes import write_patches
from small_run import SMALL
from typer.testing import CliRunner
from wsi_lpd.config import load_config, methods
from wsi_lpd_cli.main import app
assert "toy" in methods()
assert load_config(None, ["method=toy", "toy.weight=3"]).train.epochs == 1
from pathlib import Path
folder = Path({str(tmp_path)!r})
labels = write_patches(folder, ("dots", "stripes"), [[(1, 0), (0, 1), (1, 1)][i % 3] for i in range(14)], side=48)
small = [s for s in SMALL if not s.startswith("train.epochs")]
sets = [part for s in ("method=toy", "toy.weight=3", *small) for part in ("--set", s)]
result = CliRunner().invoke(app, ["train", "--labels", str(labels), "--out", str(folder / "run"), *sets])
assert result.exit_code == 0, result.output
assert "toy" in (folder / "run" / "config.yaml").read_text()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


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
def test_a_wrong_override__is_told(override, told):
    with pytest.raises(ConfigError, match=told.replace(".", r"\.")):
        load_config(None, [override])


@pytest.mark.parametrize(("content", "told"), [("- a\n- b\n", "holds a list"), ("a: [", "is not valid YAML")])
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
