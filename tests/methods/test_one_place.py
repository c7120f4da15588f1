"""A method is one folder: its name, settings, preset, terms, network parts and loss stand there and nowhere else."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from wsi_lpd.config import Config, load_config, methods
from wsi_lpd.config.method import DEFAULT_METHOD
from wsi_lpd.methods.base import TERMS

ROOT = Path(__file__).resolve().parents[2]
OTHERS = [*(ROOT / "wsi_lpd").rglob("*.py"), *(ROOT / "cli").glob("*.py"), ROOT / "Makefile", ROOT / "pyproject.toml",
          ROOT / "setup.py"]  # fmt: skip
WORDS = {"cam", "decoder"}
"""Methods whose names are words that other modules have a use for; there, only `method=...` is a name."""


def chosen(name):
    """Where code chooses a method or asks for it by name."""
    return re.compile(rf"method[\"'`]?(?:: Final)?\s*(?:==|!=|=|:)\s*[\"'`]?{name}\b", re.IGNORECASE)


@pytest.mark.parametrize("name", sorted(set(methods()) - {DEFAULT_METHOD}))
def test_the_name_of_a_method__stands_in_its_folder_alone(name):
    folder = ROOT / Path(*methods()[name].package.split("."))
    assert f'"{name}"' in (folder / "__init__.py").read_text(encoding="utf-8")
    pattern = chosen(name) if name in WORDS else re.compile(rf"(?<![\w.-]){name}(?![\w-])")
    found = [
        str(path.relative_to(ROOT))
        for path in OTHERS
        if folder not in path.parents
        and not (name in WORDS and path.parent.name == "cli")  # help texts say `--set method=decoder`
        and pattern.search(path.read_text(encoding="utf-8"))
    ]
    assert not found


def test_the_default_method__is_named_once():
    """`lpd` is also the name of a run and of the package; as a method it is one constant."""
    assert next(iter(methods())) == DEFAULT_METHOD == Config().method
    found = [
        path.relative_to(ROOT) for path in OTHERS if chosen(DEFAULT_METHOD).search(path.read_text(encoding="utf-8"))
    ]
    assert [str(path) for path in found] == ["wsi_lpd/config/method.py"]


@pytest.mark.parametrize("name", sorted(methods()))
def test_a_preset__holds_settings_that_exist_and_are_valid(name):
    spec = methods()[name]
    vectors = ["model.vectors=v.npz"] if spec.prototypes == "file" else []
    tree = load_config(None, [f"method={name}", *vectors]).model_dump(mode="json")
    for key, value in spec.changes.items():
        section, setting = key.split(".")
        assert tree[section][setting] == value, key
    assert set(spec.settings) <= set(tree)
    assert set(spec.terms) <= set(TERMS)
    assert len(spec.summary) > 20


def test_terms__are_columns_once():
    assert len(set(TERMS)) == len(TERMS)
    assert {"classification", "contrast", "assignment", "masks"} <= set(TERMS)


def test_a_package_without_torch__declares_every_method():
    program = (
        "import sys\nfrom wsi_lpd.config import methods\nassert len(methods()) > 8\nassert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


TOY = """
from pydantic import Field
from wsi_lpd.config.method import MethodSpec
from wsi_lpd.config.section import Section

class ToyConfig(Section):
    \"\"\"Method toy.\"\"\"
    weight: float = Field(2.0, gt=0, description="Weight of its only term.")

METHOD = MethodSpec(
    "toy", "a toy", preset={"train.epochs": 1, "augment.mosaic": 0.0}, settings={"toy": ToyConfig()}, terms=("guess",)
)
"""
TOY_LOSS = """
from torch import nn
from wsi_lpd.methods.base import Losses, Method
from wsi_lpd.methods.terms import image_terms
from wsi_lpd.methods.toy import ToyConfig

class Toy(Method):
    def __init__(self, config):
        self.config, self.settings = config, config.own(ToyConfig)

    @classmethod
    def parts(cls, config, *, n_classes, channels):
        return {"guesser": nn.Conv2d(channels[-1], n_classes + config.prototypes_per_class, 1)}

    def losses(self, step):
        output = step.student(step.images)
        terms = image_terms(step, output, self.config.loss)
        guess = step.network.get_submodule("guesser")(output.features[-1]).square().mean()
        return Losses({"classification": terms["classification"], "guess": self.settings.weight * guess})

Learning = Toy
"""
JOB = """
import csv, sys
from pathlib import Path
import importlib.machinery as machinery

folder, tests = Path(sys.argv[1]), sys.argv[2]
sys.path.insert(0, tests)

class Extend:
    "Finds methods in the folder of the test too."
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name != "wsi_lpd.methods":
            return None
        spec = machinery.PathFinder.find_spec(name, path)
        spec.submodule_search_locations.append(str(folder / "room"))
        return spec

sys.meta_path.insert(0, Extend)

import torch
from dots_and_stripes import write_patches
from small_run import SMALL
from typer.testing import CliRunner
from wsi_lpd.config import load_config, methods
from wsi_lpd.config.document import configuration_markdown, default_yaml
from wsi_lpd.models.saved.checkpoint import load_state
from wsi_lpd.models.saved.load import load_network
from wsi_lpd_cli.main import app

assert "toy" in methods()
assert load_config(None, ["method=toy", "toy.weight=3"]).train.epochs == 1
assert "# Weight of its only term. [number, above 0]" in default_yaml()
assert "| `toy` | a toy | `toy` |" in configuration_markdown()
labels = write_patches(folder, ("dots", "stripes"), [[(1, 0), (0, 1), (1, 1)][i % 3] for i in range(14)], side=48)
small = [s for s in SMALL if not s.startswith("train.epochs")]
sets = [part for s in ("method=toy", "toy.weight=3", *small) for part in ("--set", s)]
result = CliRunner().invoke(app, ["train", "--labels", str(labels), "--out", str(folder / "run"), *sets])
assert result.exit_code == 0, result.output
assert load_config(folder / "run" / "config.yaml").method == "toy"
rows = list(csv.DictReader((folder / "run" / "metrics.csv").open()))
assert any(float(row["guess"] or 0) > 0 for row in rows)
network, card = load_network(folder / "run")
assert card.method == "toy"
saved = load_state(folder / "run")
assert torch.equal(network.get_submodule("guesser").weight, saved["guesser.weight"])
assert tuple(saved["guesser.weight"].shape)[0] == 2 + card.config.model.prototypes_per_class
refused = CliRunner().invoke(app, ["train", "--labels", str(labels), "--set", "method=toy", "--set", "toy.weight=0"])
assert refused.exit_code == 1 and "toy.weight" in refused.output, refused.output
"""


def test_a_new_method__is_one_folder(tmp_path):
    """It can be chosen, set, trained, refused, documented and loaded by name; no other file knows it."""
    (tmp_path / "room" / "toy").mkdir(parents=True)
    (tmp_path / "room" / "toy" / "__init__.py").write_text(TOY)
    (tmp_path / "room" / "toy" / "loss.py").write_text(TOY_LOSS)
    command = [sys.executable, "-c", JOB, str(tmp_path), str(ROOT / "tests")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
