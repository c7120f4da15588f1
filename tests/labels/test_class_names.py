"""Names that fail at the end of the work are refused at its beginning, by every command."""

import pytest
from dots_and_stripes import write_patches
from typer.testing import CliRunner

from wsi_lpd.errors import LabelError
from wsi_lpd.labels.class_names import check_class_names
from wsi_lpd.labels.sources import read_labels
from wsi_lpd.tiling.slide_task import LabelSource
from wsi_lpd_cli.main import app

BAD = ["store", "Slide", "PATIENT", "image", "Tumor: Positive", "Ignore*", "Region*", "Pen*", "two\nlines", " "]


@pytest.mark.parametrize("name", BAD)
def test_bad_names__are_refused_by_tile_and_train(name, tmp_path):
    for use in (lambda: check_class_names(["Tumor", name], where="x"), lambda: LabelSource(("Tumor", name))):
        with pytest.raises(LabelError, match=r"class name .*"):
            use()
    labels = write_patches(tmp_path, ("dots", "stripes"), [(1, 0), (0, 1)], side=16)
    with pytest.raises(LabelError, match=r"--classes: class name"):
        read_labels([labels], classes=["dots", name])


def test_a_column_that_segment_could_not_write__is_refused_by_train_before_anything(tmp_path):
    labels = write_patches(tmp_path, ("dots", "Tumor: Positive"), [(1, 0), (0, 1)], side=16)
    result = CliRunner().invoke(app, ["train", "--labels", str(labels), "--out", str(tmp_path / "run")])
    assert result.exit_code == 1
    assert "class name 'Tumor: Positive' has a colon" in result.output
    assert not (tmp_path / "run").exists()


def test_the_same_name_twice__is_refused():
    with pytest.raises(LabelError, match="'tumor' is there twice"):
        check_class_names(["Tumor", "tumor"], where="x")


def test_ordinary_names__are_fine():
    check_class_names(["Tumor", "Immune cells", "Fett ä", "Slides", "patient tissue", "C++", "a*b"], where="x")
