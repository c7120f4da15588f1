"""Writing patches.csv: what a person wrote into it is never lost."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from wsi_lpd.errors import LabelError
from wsi_lpd.labels.patches_csv import StoreRows, check_labels_kept, write_patches_csv


def rows(store="a.zarr", n=4, labels=None, first=0):
    coords = np.array([[(first + i) * 100, (first + i) * 30 + 7] for i in range(n)], np.int64).reshape(n, 2)
    tissue = np.linspace(0.61237, 1, n, dtype=np.float32)
    return StoreRows(store, store.removesuffix(".zarr"), coords, tissue, labels)


def cells(path):
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "patches.csv"


def test_write__columns_as_the_design_says(path):
    labels = np.array([[1, 0], [-1, 1], [0, 0], [-1, -1]], np.int8)
    report = write_patches_csv(path, [rows(labels=labels)], ["Tumor", "Stroma"])
    assert path.read_text().splitlines()[:3] == [
        "store,index,slide,x,y,tissue,Tumor,Stroma",
        "a.zarr,0,a,0,7,0.6124,1,0",
        "a.zarr,1,a,100,37,0.7416,,1",
    ]
    assert (report.n_rows, report.changed, report.classes) == (4, True, ("Tumor", "Stroma"))


def test_write__again_changes_nothing(path):
    write_patches_csv(path, [rows()], ["Tumor"])
    stamp = path.stat().st_mtime_ns
    assert not write_patches_csv(path, [rows()], ["Tumor"]).changed
    assert path.stat().st_mtime_ns == stamp


def test_write__hand_filled_cells_and_own_columns_survive(path):
    write_patches_csv(path, [rows()], ["Tumor", "Stroma"])
    table = cells(path)
    table[1]["Tumor"], table[2]["Stroma"] = "1", "0"
    names = [*table[0], "notes"]
    table[3]["notes"] = "check, with A."
    with path.open("w", encoding="utf-8", newline="") as stream:  # as a spreadsheet writes it
        writer = csv.DictWriter(stream, names, delimiter=";")
        writer.writeheader()
        writer.writerows(table)
    labels = np.array([[0, 1]] * 4, np.int8)
    report = write_patches_csv(path, [rows(labels=labels)], ["TUM", "Necrosis"])
    after = cells(path)
    assert list(after[0]) == [*names, "Necrosis"]
    assert [row["Tumor"] for row in after] == ["0", "1", "0", "0"]  # TUM is Tumor; the hand-made 1 stays
    assert [row["Stroma"] for row in after] == ["", "", "0", ""]
    assert [row["Necrosis"] for row in after] == ["1"] * 4
    assert after[3]["notes"] == "check, with A."
    assert (report.n_kept, report.n_disagree) == (1, 1)


def test_write__rows_follow_their_place_when_the_store_changes(path):
    write_patches_csv(path, [rows(n=4)], ["Tumor"])
    text = path.read_text().replace("a.zarr,2,a,200,67,0.8708,", "a.zarr,2,a,200,67,0.8708,1")
    path.write_text(text)
    write_patches_csv(path, [rows(n=4, first=1)], ["Tumor"])
    assert [(row["index"], row["x"], row["Tumor"]) for row in cells(path)] == [
        ("0", "100", ""), ("1", "200", "1"), ("2", "300", ""), ("3", "400", ""),
    ]  # fmt: skip


def test_write__other_stores_stay_in_their_place(path):
    write_patches_csv(path, [rows("b.zarr"), rows("a.zarr")], ["Tumor"])
    first = path.read_text()
    write_patches_csv(path, [rows("c.zarr", n=1), rows("b.zarr")], ["Tumor"])
    assert path.read_text() == first + "c.zarr,0,c,0,7,0.6124,\n"


def test_write__refuses_to_drop_a_labelled_row(path):
    write_patches_csv(path, [rows(n=4)], ["Tumor"])
    path.write_text(path.read_text().replace("a.zarr,3,a,300,97,1.0000,", "a.zarr,3,a,300,97,1.0000,0"))
    before = path.read_bytes()
    with pytest.raises(LabelError, match=r"patches.csv:5: is labelled, but a.zarr will have no such patch at x = 300"):
        write_patches_csv(path, [rows(n=2)], ["Tumor"])
    assert path.read_bytes() == before
    check_labels_kept(path, [("a.zarr", rows(n=4).coords)])
    with pytest.raises(LabelError, match="is labelled"):
        check_labels_kept(path, [("a.zarr", rows(n=4).coords)], fields_change=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,Tumor\na.png,1\n", "expected a label file written by tile"),
        ("store,index,x,y,Tumor\na.zarr,0,1,2,1\na.zarr,1,1,2,0\n", "csv:3: repeats the patch of line 2"),
        ("store,index,x,y,Tumor\na.zarr,0,one,2,1\n", "csv:2: x, y are 'one', '2'"),
        ("store,index,x,y,Tumor\na.zarr,0,300.5,2,1\n", "csv:2: x, y are '300.5', '2'; expected integers"),
        ("store,index,x,y,Tumor\na.zarr,0,inf,2,1\n", "csv:2: x, y are 'inf', '2'; expected integers"),
        ("store,index,x,y,Tumor\na.zarr,0,1,2,1,1\n", "csv:2: has 6 cells"),
    ],
)
def test_write__a_file_that_cannot_be_merged_is_left_alone(path, text, message):
    path.write_text(text)
    with pytest.raises(LabelError, match=message):
        write_patches_csv(path, [rows()], ["Tumor"])
    assert path.read_text() == text
