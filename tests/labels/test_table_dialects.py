"""Label tables and tables of scales as spreadsheets, pandas and people of other countries write them."""

from __future__ import annotations

import itertools
import logging

import numpy as np
import pytest
from dots_and_stripes import write_patches

from wsi_lpd.api.slides import slide_mpps
from wsi_lpd.csv_table import CsvError, read_table
from wsi_lpd.errors import LabelError, SlideError
from wsi_lpd.labels.sources import read_labels
from wsi_lpd.stores.patches_writer import StoreWriter

N = 12
LABELS = [[(1, 0), (0, 1), (1, 1)][i % 3] for i in range(N)]


@pytest.fixture
def store(tmp_path, make_meta):
    writer = StoreWriter(
        tmp_path / "s.zarr", meta=make_meta(), coords=np.arange(2 * N).reshape(N, 2), tissue=np.ones(N, np.float32)
    )
    writer.append(np.random.default_rng(1).integers(0, 256, (N, 20, 20, 3)).astype(np.uint8))
    writer.finish()
    return tmp_path


def rows(*, number=str, label=str, patients=None):
    for i, (a, b) in enumerate(LABELS):
        place = [number(i), "s", number(2 * i), number(2 * i + 1), "1"]
        yield ["s.zarr", *place, label(a), label(b), *([] if patients is None else [patients[i]])]


HEADER = ["store", "index", "slide", "x", "y", "tissue", "dots", "stripes"]


def text(delimiter=",", head=HEADER, end="\n", first="", bom="", **options):
    lines = [delimiter.join(cells) for cells in [head, *rows(**options)]]
    return bom + first + end.join(lines) + end


FORMS = {
    "as written": text(),
    "semicolons": text(";"),
    "tabs": text("\t"),
    "byte order mark": text(bom="\ufeff"),
    "sep line": text(";", first="sep=;\n"),
    "sep line and mark": text(";", first="sep=;\r\n", bom="\ufeff", end="\r\n"),
    "windows line ends": text(end="\r\n"),
    "old mac line ends": text(end="\r"),
    "pandas floats": text(number=lambda n: f"{n}.0", label=lambda v: f"{v}.0"),
    "decimal commas": text(";", number=lambda n: f"{n},0", label=lambda v: f"{v},0"),
    "capitals": text(head=[name.upper() if name in ("store", "index", "slide", "x", "y") else name for name in HEADER]),
    "empty cells too many": text().replace("\n", ",,,\n"),
    "spaces": text(", "),
    "blank lines": text().replace("\n", "\n\n"),
    "truth values": text(label=lambda v: "TRUE" if v else "FALSE"),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_label_table__says_the_same_in_every_form(store, form):
    path = store / "patches.csv"
    path.write_text(FORMS[form], encoding="utf-8", newline="")
    table = read_labels([path])
    assert table.classes == ("dots", "stripes")
    assert table.labels.tolist() == [list(pair) for pair in LABELS]
    assert [source.index for source in table.sources] == list(range(N))


def test_cells_that_excel_drops__are_empty_cells(store):
    path = store / "patches.csv"
    lines = text(head=[*HEADER, "note"]).splitlines()
    lines[3] = lines[3].rpartition(",")[0]  # the last class of one row is not judged either
    path.write_text("\n".join(lines))
    labels = read_labels([path]).labels.tolist()
    assert labels[2] == [1, -1]
    assert labels[:2] == [[1, 0], [0, 1]]


def test_more_cells_than_columns__are_told_by_row(store):
    path = store / "patches.csv"
    path.write_text(text(first="sep=,\n").replace("s.zarr,4,", "s.zarr,4,,5,6,"))
    with pytest.raises(LabelError, match=r"patches\.csv:7: has 11 cells; expected 8"):
        read_labels([path])


@pytest.mark.parametrize(
    "name", ["patient", "Patient", "PATIENT_ID", "patient id", "case_id", "CaseID", "Donor", "group"]
)
def test_a_patient__is_a_group_under_any_name(store, name):
    patients = [f"p{i % 4}" for i in range(N)]
    path = store / "patches.csv"
    path.write_text(text(head=[*HEADER, name], patients=patients))
    assert read_labels([path]).groups == tuple(patients)


@pytest.mark.parametrize("bad", ["14.5", "-1", "twelve", "12", "²", "1e9", ""])
def test_an_index_that_is_none__is_told_by_row(store, bad):
    path = store / "patches.csv"
    path.write_text(text().replace("s.zarr,3,", f"s.zarr,{bad},"))
    with pytest.raises(LabelError, match=r"patches\.csv:5: index is"):
        read_labels([path])


def test_image_tables__take_the_same_forms(tmp_path):
    path = write_patches(tmp_path, ("dots", "stripes"), LABELS, side=16)
    expected = read_labels([path])
    original = path.read_text()
    for delimiter, mark in itertools.product(";\t", ("", "\ufeff")):
        path.write_text(mark + original.replace(",", delimiter), encoding="utf-8")
        assert read_labels([path]).labels.tolist() == expected.labels.tolist()


# --- tables of scales ---------------------------------------------------------------------------------------------

SLIDES = ["scans/a.svs", "scans/0012.ndpi", "B 7.tif"]


@pytest.mark.parametrize(
    ("stated", "slide"),
    [
        ("a.svs", 0), ("a", 0), ("scans/a.svs", 0), ("D:\\scans\\a.svs", 0), ("\\\\server\\share\\A.SVS", 0), ("A", 0),
        ("/other/place/a.svs", 0), ("a.tiff", 0), ("0012", 1), ("12", 1), ("12.0", 1), ("0012.ndpi", 1),
        ("b 7.TIF", 2), ("B 7", 2),
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", ["slide,mpp\n{},0.37\n", "Slide;MPP\n{};0,37\n", "sep=;\nfile;mpp\n{};0,37\n"])
def test_a_row__is_found_however_it_names_its_slide(tmp_path, stated, slide, form):
    path = tmp_path / "mpp.csv"
    path.write_text(form.format(stated))
    assert slide_mpps(path, SLIDES) == {SLIDES[slide]: 0.37}


def test_rows_and_slides_that_fit_nothing__are_told(tmp_path, caplog):
    path = tmp_path / "mpp.csv"
    path.write_text("slide,mpp\nD:\\scans\\other.svs,0.25\na.svs,0.5\n")
    with caplog.at_level(logging.WARNING):
        assert slide_mpps(path, SLIDES) == {SLIDES[0]: 0.5}
    assert "1 of 2 rows fit none of these slides, such as line 2 (D:\\scans\\other.svs)" in caplog.text
    assert "states no scale for 2 of the slides, such as 0012.ndpi" in caplog.text


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("slide,mpp\na,0.25\nA.svs,0.5\n", r"lines 2 and 3 state different scales for a\.svs"),
        ("slide,mpp\na,\x00.25\n", "line|mpp|valid"),
        ("slide,mpp\na,0.2.5\n", r"mpp\.csv:2: mpp is '0\.2\.5'"),
        ("slide,mpp\na,-1\n", r"mpp\.csv:2: mpp is '-1'"),
        ("slide,mpp\na,inf\n", r"mpp\.csv:2: mpp is 'inf'"),
        ("slide,mpp\n,0.5\n", r"mpp\.csv:2: names no slide"),
        ("name;scale\na;1\n", "expected a number such as 0.25, or a CSV file"),
        ("slide,mpp\na,0.5,7\n", r"mpp\.csv:2: has 3 cells; expected 2"),
        ("", "expected a number such as 0.25, or a CSV file"),
    ],
)
def test_a_table_that_says_two_things_or_nothing__is_refused(tmp_path, table, message):
    path = tmp_path / "mpp.csv"
    path.write_text(table)
    with pytest.raises(SlideError, match=message):
        slide_mpps(path, SLIDES)


def test_two_slides_of_one_number__are_not_guessed_between(tmp_path, caplog):
    path = tmp_path / "mpp.csv"
    path.write_text("slide,mpp\n12,0.25\n")
    with caplog.at_level(logging.WARNING):
        assert slide_mpps(path, ["0012.svs", "00012.svs"]) == {}
    assert "fit none of these slides" in caplog.text


def test_the_same_scale_twice__is_no_contradiction(tmp_path):
    path = tmp_path / "mpp.csv"
    path.write_text("slide,mpp\na,0.25\na.svs,0.250\n")
    assert slide_mpps(path, SLIDES) == {SLIDES[0]: 0.25}


def test_read_table__keeps_line_numbers_and_quoted_cells():
    table = read_table('sep=;\na;b\n"x;1\ny";2\n\n3;\n')
    assert table.header == ["a", "b"]
    assert table.rows == [(4, ["x;1\ny", "2"]), (6, ["3", ""])]
    with pytest.raises(CsvError, match="2: has 3 cells"):
        read_table("a,b\n1,2,3\n")
