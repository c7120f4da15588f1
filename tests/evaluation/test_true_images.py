from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image
from random_run import image_folder

from wsi_lpd.errors import LabelError
from wsi_lpd.evaluation.groups import grouping
from wsi_lpd.evaluation.true_images import held_classes, label_of_mask, open_true_folder

MODEL = ("Stroma", "Tumor", "Fat")
DATA = ("TUM", "STR", "Fat")


def opened(folder, **options):
    return open_true_folder(folder, **{"classes": MODEL, "model_mpp": 0.5, "named": DATA, **options})


def stored(folder, kind, stem):
    return np.asarray(Image.open(folder / kind / f"{stem}.png"))


def test_images__come_with_masks_in_the_models_order(tmp_path):
    folder = opened(image_folder(tmp_path / "t"))
    assert len(folder) == 3
    images = list(folder)
    assert [i.name for i in images] == ["patient0_x0_y0", "patient0_x10_y7", "patient1_x20_y14"]
    assert [i.group for i in images] == ["patient0", "patient0", "patient1"]
    for image in images:
        np.testing.assert_array_equal(image.pixels, stored(tmp_path / "t", "img", image.name))
        values = stored(tmp_path / "t", "mask", image.name)
        expected = np.zeros_like(values)
        for theirs, ours in ((1, 2), (2, 1), (3, 3), (255, 255)):
            expected[values == theirs] = ours
        np.testing.assert_array_equal(image.truth, expected)


@pytest.mark.parametrize(("there", "asked"), [("valid", "val"), ("val", "valid"), ("testing", "test"), ("val", "")])
def test_a_split__is_found_in_any_spelling(tmp_path, there, asked):
    image_folder(tmp_path / "set" / there)
    (tmp_path / "set" / "train").mkdir()
    assert len(opened(tmp_path / "set" / asked)) == 3


def test_two_splits__are_not_chosen_between(tmp_path):
    for split in ("valid", "test"):
        image_folder(tmp_path / split)
    with pytest.raises(LabelError, match="found valid and test; name one"):
        opened(tmp_path)


def test_the_images__may_lie_elsewhere(tmp_path):
    folder = image_folder(tmp_path / "t")
    (folder / "img").rename(tmp_path / "pictures")
    with pytest.raises(LabelError, match="--images"):
        opened(folder)
    extra = Image.fromarray(np.zeros((5, 6, 3), np.uint8))
    extra.save(tmp_path / "pictures" / "more.png")
    found = opened(folder, images=tmp_path / "pictures")
    assert len(list(found)) == 3
    assert any("1 image(s) have no mask" in warning for warning in found.warnings)
    (tmp_path / "pictures" / "patient0_x0_y0.png").unlink()
    with pytest.raises(LabelError, match="no image for 1 of 3 masks, such as patient0_x0_y0"):
        opened(folder, images=tmp_path / "pictures")
    with pytest.raises(LabelError, match="no such folder"):
        opened(folder, images=tmp_path / "none")
    with pytest.raises(LabelError, match="no such folder"):
        opened(tmp_path / "none")


def test_classes__must_be_the_models(tmp_path):
    folder = image_folder(tmp_path / "t")
    with pytest.raises(
        LabelError, match=r"found the classes Tumor, Stroma, expected the model's in any order: Stroma, Tumor, Fat"
    ):
        opened(folder, named=("Tumor", "Stroma"))
    with pytest.raises(LabelError, match="found the classes Tumor, Stroma, Immune cells, Necrosis"):
        opened(folder, named=None, coding="bcss-wsss")
    with pytest.raises(LabelError, match="found no class names; give --classes"):
        list(opened(folder, named=None))


def test_a_model_of_label_folders__is_scored_under_the_coding_of_its_data_set(tmp_path):
    """Labels in file names of WSSS4LUAD give the class `normal`, the data set's masks hold `Normal`."""
    folder = image_folder(tmp_path / "t")
    found = opened(folder, classes=("tumor", "stroma", "normal"), named=None, coding="wsss4luad")
    assert found.names == found.classes == ("Tumor", "Stroma", "normal")


def test_the_scale__comes_from_option_names_or_data_set(tmp_path):
    plain = opened(image_folder(tmp_path / "t"))
    assert plain.image_mpp is None
    assert "um per pixel unknown" in plain.warnings[0]
    assert opened(tmp_path / "t", image_mpp=0.25).warnings == ()
    for kind in ("img", "mask"):
        for path in (tmp_path / "t" / kind).iterdir():
            path.rename(path.with_stem(f"{path.stem}_MPP-0.2500"))
    assert opened(tmp_path / "t").image_mpp == 0.25
    assert opened(tmp_path / "t", image_mpp=1.0).image_mpp == 1.0
    bcss = {"classes": ("Tumor", "Stroma", "Immune cells", "Necrosis"), "named": None}
    assert opened(image_folder(tmp_path / "b"), coding="bcss-wsss", **bcss).image_mpp == 0.25


def test_images_of_another_scale__are_brought_to_the_models(tmp_path):
    folder = image_folder(tmp_path / "t", shape=(40, 56))
    image = next(iter(opened(folder, image_mpp=0.25)))
    assert image.pixels.shape == (20, 28, 3)
    assert image.truth.shape == (20, 28)
    pixels = stored(folder, "img", image.name)
    np.testing.assert_array_equal(image.pixels, cv2.resize(pixels, (28, 20), interpolation=cv2.INTER_AREA))
    assert set(np.unique(image.truth)) <= {0, 1, 2, 3, 255}, "labels are not blended"
    enlarged = opened(folder, image_mpp=1.0)
    assert next(iter(enlarged)).truth.shape == (80, 112)
    assert "adds no detail" in enlarged.warnings[0]


def test_a_mask_of_another_size_or_value__is_named(tmp_path):
    folder = image_folder(tmp_path / "t")
    path = folder / "mask" / "patient0_x10_y7.png"
    Image.fromarray(np.full((40, 56), 9, np.uint8)).save(path)
    with pytest.raises(LabelError, match=r"patient0_x10_y7\.png: found the value 9, expected 0 to 3 or 255"):
        list(opened(folder))
    Image.fromarray(np.ones((56, 40), np.uint8)).save(path)
    with pytest.raises(LabelError, match=r"patient0_x10_y7\.png: is 40 x 56 pixels, its image .* 56 x 40"):
        list(opened(folder))
    (folder / "img" / "patient0_x0_y0.png").write_text("no image")
    with pytest.raises(LabelError, match=r"patient0_x0_y0\.png: cannot be read"):
        list(opened(folder))


def test_labels_of_a_mask__need_a_share_but_the_oracle_any_pixel():
    truth = np.ones((10, 11), np.uint8)
    truth[0, :4] = 2
    truth[0, 4] = 3
    truth[5:] = 255
    assert held_classes(truth, 4).tolist() == [True, True, True, False]
    assert label_of_mask(truth, 4).tolist() == [1, 1, 0, 0]  # 4 of 55 judged pixels are enough, 1 is not
    assert label_of_mask(np.full((3, 4), 255, np.uint8), 2).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("rule", "name", "group"),
    [
        ("source", "TCGA-A1-A0SK-DX1_xmin45749_ymin25055_MPP-0.2500+0.png", "TCGA-A1-A0SK"),
        ("source", "1031280-2300-27920-.png", "1031280"),
        ("source", "roi7+12.png", "roi7"),
        ("source", "alone.png", "alone"),
        ("image", "roi7+12.png", "roi7+12.png"),
        ("(.+?)_tile", "case4_tile9_tile.png", "case4"),
    ],
)
def test_groups__follow_the_rule(rule, name, group):
    assert grouping(rule)(name) == group


def test_groups__rules_that_are_none_are_refused():
    with pytest.raises(LabelError, match="is not a regular expression"):
        grouping("(.+")
    with pytest.raises(LabelError, match="with one group"):
        grouping("slide")
    with pytest.raises(LabelError, match=r"does not match the name a\.png"):
        grouping("(x+)")("a.png")
