"""The public data sets are stated in one table, and everything else reads it."""

from pathlib import Path

import pytest

from wsi_lpd.classes import qupath_classes
from wsi_lpd.config import load_config
from wsi_lpd.datasets import DATA_SETS, data_set
from wsi_lpd.evaluation.read import CODINGS

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "wsi_lpd" / "datasets.py"
CONFIGS = {"BCSS-WSSS": "bcss.yaml", "LUAD-HistoSeg": "luad.yaml"}


@pytest.mark.parametrize("entry", DATA_SETS, ids=lambda entry: entry.key)
def test_a_data_set__has_one_name_colour_and_value_for_every_label(entry):
    assert [name.lower() for name in entry.names] == [c.name.lower() for c in qupath_classes(entry.labels)]
    assert entry.background == len(entry.labels) == len(set(entry.names))
    assert [c.name for c in entry.classes] == list(entry.names)
    assert len({c.color for c in entry.classes}) == len(entry.names)
    assert CODINGS[entry.key] == (entry.names, 0, entry.background)
    assert entry.licence
    assert entry.source.startswith("https://")


def test_the_labels_in_file_names__tell_the_data_sets_apart():
    forms = [(entry.separator, len(entry.labels)) for entry in DATA_SETS]
    assert len(set(forms)) == len(forms)
    assert data_set("bcss-wsss") is DATA_SETS[0]
    assert data_set("index") is None


@pytest.mark.parametrize(("name", "file"), CONFIGS.items())
def test_a_shipped_configuration__has_the_scale_of_its_data_set(name, file):
    entry = next(entry for entry in DATA_SETS if entry.name == name)
    tile = load_config(ROOT / "configs" / file).tile
    assert (tile.mpp, tile.patch_px) == (entry.mpp, entry.patch_px)
    first_line = (ROOT / "configs" / file).read_text(encoding="utf-8").splitlines()[0]
    assert name in first_line
    assert ", ".join(entry.labels) in first_line


def test_nothing_else__states_their_classes_or_codings():
    """Keys and labels of a data set stand between quotes in the table alone."""
    marks = {
        f'"{text}"' for entry in DATA_SETS for text in (entry.key, *entry.labels) if text not in ("tumor", "stroma")
    }
    marks -= {'"wsss4luad"'}  # the benchmark's folder of that name
    files = [path for room in ("wsi_lpd", "cli", "benchmarks") for path in (ROOT / room).rglob("*.py") if path != TABLE]
    assert len(files) > 200
    found = {
        f"{path.relative_to(ROOT)}: {mark}"
        for path in files
        for mark in marks
        if mark in path.read_text(encoding="utf-8")
    }
    assert not found
