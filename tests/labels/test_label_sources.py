"""The label sources: one grammar, one table, all problems at once."""

from __future__ import annotations

import logging
import pickle

import numpy as np
import pytest
from PIL import Image

from wsi_lpd.errors import LabelError
from wsi_lpd.labels.folders import group_of, label_text
from wsi_lpd.labels.sources import class_balance, read_labels, read_patches, read_truth_masks, split_folder
from wsi_lpd.stores import sizes as shard_module
from wsi_lpd.stores.patches_writer import StoreWriter

ROWS = [(1, 0, 1, 0), (0, 1, 0, 0), (1, 1, 0, 1), (0, 0, 0, 0)]
NAMES = ("TUM", "STR", "LYM", "NEC")


def write_image(path, *, seed=0, side=24, size=None):
    width, height = size if size is not None else (side, side)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


@pytest.fixture
def make_folder(tmp_path):
    def make(name, separator, rows=ROWS, stem="TCGA-A1-A0SK-DX1_xmin45749_ymin25055_MPP-0.2500+{i}"):
        for i, row in enumerate(rows):
            write_image(tmp_path / name / f"{stem.format(i=i)}[{separator.join(map(str, row))}].png", seed=i)
        return tmp_path / name

    return make


@pytest.fixture
def make_store(tmp_path, make_meta, monkeypatch):
    monkeypatch.setattr(shard_module, "SHARD_BYTES", 4 * 20 * 20 * 3)

    def make(name, n=6, *, seed=0, **changes):
        coords = np.stack([np.arange(n) * 40, np.arange(n) * 80 + 3], axis=1).astype(np.int64)
        writer = StoreWriter(tmp_path / name, meta=make_meta(**changes), coords=coords, tissue=np.ones(n, np.float32))
        patches = np.random.default_rng(seed).integers(0, 256, (n, 20, 20, 3), dtype=np.uint8)
        writer.append(patches)
        writer.finish()
        return patches

    return make


def test_labels__three_spellings_a_csv_and_a_root_are_one_table(tmp_path, make_folder):
    folders = [make_folder(name, sep) for name, sep in (("a", ""), ("b", " "), ("c", ", "), ("root/training", ""))]
    lines = [f"a/{p.name},{','.join(map(str, row))}" for p, row in zip(sorted(folders[0].iterdir()), ROWS, strict=True)]
    quoted = ["image,TUM,STR,LYM,NEC", *lines]
    (tmp_path / "labels.csv").write_text("\n".join(quoted))
    sources = [*folders[:3], tmp_path / "root", tmp_path / "labels.csv"]
    for source in sources:
        table = read_labels([source], classes=NAMES)
        assert table.classes == NAMES
        # (0, 0, 0, 0) is a label too: none of the classes.
        np.testing.assert_array_equal(table.labels, np.array(ROWS))
        assert table.labels.dtype == np.int8
        assert table.patch_px == 24


def test_labels__the_form_tells_the_data_set_and_its_class_order(make_folder):
    bcss = read_labels([make_folder("bcss", "")])
    luad = read_labels([make_folder("luad", " ", stem="1031280-2300-279{i}-")])
    wsss = read_labels([make_folder("wsss", ", ", rows=[(1, 0, 1), (0, 1, 0)], stem="436219-93{i}-56427-")])
    assert (bcss.classes, bcss.mpp) == (("TUM", "STR", "LYM", "NEC"), 0.25)
    assert (luad.classes, luad.mpp) == (("TE", "NEC", "LYM", "TAS"), 1.0)
    assert (wsss.classes, wsss.mpp) == (("tumor", "stroma", "normal"), 1.0)
    assert set(bcss.groups) == {"TCGA-A1-A0SK"}
    assert set(luad.groups) == {"1031280"}


def test_labels__unknown_form_asks_for_the_classes(make_folder):
    folder = make_folder("five", "", rows=[(1, 0, 1, 0, 1)])
    with pytest.raises(
        LabelError, match=r"has labels such as \[10101\]; expected those of a known data set.*--classes"
    ):
        read_labels([folder])
    assert read_labels([folder], classes="ABCDE").labels.tolist() == [[1, 0, 1, 0, 1]]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x[1010].png", "1010"),
        ("x[a][0 1].png", "0 1"),
        ("1 [1, 0, 1, 0].png", "1, 0, 1, 0"),
        ("[1,0].png", "1,0"),
        ("x[1][2].png", None),
        ("x[].png", None),
        ("x1010.png", None),
        ("x[10 10].png", None),
        ("x1010].png", None),
        ("x[1 0, 1].png", None),
    ],
)
def test_label_text__last_bracket_of_the_base_name(name, text):
    assert label_text(name) == text


def test_labels__brackets_in_the_folder_name_mean_nothing(tmp_path):
    write_image(tmp_path / "set [1010]" / "x[0100].png")
    assert read_labels([tmp_path / "set [1010]"]).labels.tolist() == [[0, 1, 0, 0]]


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("TCGA-A1-A0SK-DX1_xmin45749_ymin25055_MPP-0.2500+0[1101].png", "TCGA-A1-A0SK"),
        ("1031280-2300-27920-[1 0 0 1].png", "1031280"),
        ("roi7+12[1000].png", "roi7"),
        ("slide_x120_y340.png", "slide"),
        ("one[10].png", "one"),
    ],
)
def test_group_of__patient_before_slide_before_image(name, group):
    assert group_of(name) == group


def test_labels__all_bad_names_are_reported_at_once(make_folder):
    folder = make_folder("bad", "")
    write_image(folder / "zz[110].png")
    write_image(folder / "zy.png")
    with pytest.raises(LabelError, match=r"zy\.png: has no label in its name"):
        read_labels([folder])
    (folder / "zy.png").unlink()
    (folder / "z[1111].png").write_bytes(b"no image")
    with pytest.raises(LabelError, match=r"(?s)2 problems.*has 3 digits; expected one each for TUM.*is no image"):
        read_labels([folder])


def test_labels__val_folders_get_labels_and_masks(tmp_path):
    root = tmp_path / "BCSS"
    write_image(root / "valid/img/a.png", seed=1, side=20)
    values = np.full((20, 20), 4, np.uint8)
    values[:4] = 3
    values[4:6, :3] = 0  # 6 of 400 pixels: below the share that makes a label
    mask = Image.fromarray(values, mode="P")
    mask.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 153, 0, 255, 255, 255, 255])
    (root / "valid/mask").mkdir()
    mask.save(root / "valid/mask/a.png")
    assert split_folder(root, "val") == root / "valid"
    assert split_folder(root, "test") is None
    for given in (root / "valid", root / "valid/img"):
        table = read_labels([given], classes=NAMES)
        assert table.labels.tolist() == [[0, 0, 0, 1]]
        label_map = read_truth_masks(table, [0])[0]
        assert (label_map[:4] == 4).all()
        assert (label_map[4:6, :3] == 1).all()
        assert (label_map[6:] == 255).all()
    with pytest.raises(LabelError, match="name the class of each mask value"):
        read_labels([root / "valid"])


def test_labels__several_sources_are_put_in_one_class_order(tmp_path, make_folder, monkeypatch):
    bcss = make_folder("bcss", "")
    table = tmp_path / "t.csv"
    write_image(tmp_path / "p.png", seed=9)
    table.write_text("image,Necrosis,Stroma,Tumor,Immune cells\np.png,1,0,,1\n")
    joined = read_labels([bcss, table])
    assert joined.classes == NAMES
    assert joined.labels[-1].tolist() == [-1, 0, 1, 1]
    other = tmp_path / "u.csv"
    other.write_text("image,Tumor,Fat\np.png,1,0\n")
    with pytest.raises(
        LabelError, match=r"has the classes Tumor, Fat, but .* expected the same classes in all label sources"
    ):
        read_labels([bcss, other])
    with pytest.raises(LabelError, match=r"p\.png: is labelled twice"):
        read_labels([table, table])


def test_labels__masks_follow_the_class_order(tmp_path):
    for name, side in (("one", 20), ("two", 20)):
        write_image(tmp_path / name / "img/a.png", seed=side, side=side)
        (tmp_path / name / "mask").mkdir()
        Image.fromarray(np.tile(np.array([[0, 1]], np.uint8), (20, 10))).save(tmp_path / name / "mask/a.png")
    first = read_labels([tmp_path / "one"], classes=["A", "B"])
    second = read_labels([tmp_path / "two"], classes=["B", "A"])
    from wsi_lpd.labels.table import join

    joined = join([first, second], names=["one", "two"])
    assert read_truth_masks(joined, [0])[0, 0, :2].tolist() == [1, 2]
    assert read_truth_masks(joined, [1])[0, 0, :2].tolist() == [2, 1]


def test_labels__csv_over_stores(tmp_path, make_store):
    a, b = make_store("a.zarr"), make_store("b.zarr", seed=4)
    (tmp_path / "patches.csv").write_text(
        "store,index,slide,x,y,tissue,Tumor,Stroma\n"
        "a.zarr,0,S1,0,3,1.0,1,\n"
        "a.zarr,1,S1,40,83,1.0,,\n"
        "b.zarr,5,S2,200,403,1.0,0.0,1.0\n"
        "a.zarr,4,S1,160,323,1.0,0,0\n"
    )
    table = read_labels([tmp_path / "patches.csv"])
    assert (table.classes, table.mpp, table.patch_px) == (("Tumor", "Stroma"), 0.5, 20)
    assert table.labels.tolist() == [[1, -1], [0, 1], [0, 0]]
    assert table.groups == ("S1", "S2", "S1")
    got = read_patches(pickle.loads(pickle.dumps(table)), [2, 1, 0, 1])
    np.testing.assert_array_equal(got, np.stack([a[4], b[5], a[0], b[5]]))
    assert read_patches(table, []).shape == (0, 20, 20, 3)
    chosen = read_labels([tmp_path / "patches.csv"], classes=["STR", "TUM"])
    assert (chosen.classes, chosen.labels[1].tolist()) == (("STR", "TUM"), [1, 0])
    subset = table.subset([2, 0])
    assert (len(subset), subset.groups, subset.labels[1].tolist()) == (2, ("S1", "S1"), [1, -1])


def test_labels__csv_as_spreadsheets_write_it(tmp_path, make_store):
    make_store("a.zarr")
    text = "store;index;x;y;Tumor;notes\r\na.zarr;2;80;163;TRUE;a; b\r\n".replace("a; b", '"a; b"')
    (tmp_path / "p.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    table = read_labels([tmp_path / "p.csv"])
    assert (table.classes, table.labels.tolist(), table.sources[0].index) == (("Tumor",), [[1]], 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has the columns"),
        ("foo,bar\n1,2\n", "has the columns foo, bar; expected store and index"),
        ("store,index,x,y\na.zarr,0,0,3\n", "no class columns"),
        ("store,index,Tumor\na.zarr,0,\n", "none of its 1 patches has a label"),
        ("store,index,Tumor,Tumor\na.zarr,0,1,1\n", r"p.csv:1: has the column 'Tumor' more than once"),
        ("store,index,Tumor\na.zarr,0,2\n", r"p.csv:2: column 'Tumor' has '2'; expected 1, 0 or an empty cell"),
        ("store,index,Tumor\na.zarr,0,1\na.zarr,0,1,7\n", r"p.csv:3: has 4 cells; expected 3 as in the header"),
        ("store,index,Tumor\na.zarr,99,1\n", r"p.csv:2: index is '99'; expected 0 to 5, as in a.zarr"),
        ("store,index,Tumor\na.zarr,-1,1\n", r"p.csv:2: index is '-1'"),
        (
            "store,index,Tumor\na.zarr,\N{SUPERSCRIPT TWO},1\n",
            r"p.csv:2: index is '\N{SUPERSCRIPT TWO}'; expected 0 to 5",
        ),
        ("store,index,Tumor\n\nb.zarr,0,1\n", r"p.csv:3: .*b.zarr: is not a patch store"),
        ("store,index,x,Tumor\na.zarr,1,41,1\n", r"p.csv:2: patch 1 of a.zarr lies at x = 40, but the file has 41"),
        ("image,Tumor\nno.png,1\n", r"p.csv:2: .*no.png: no such image"),
        ("store,index,Tumor\na.zarr,0,1\na.zarr,0,1\n", "patch 0: is labelled twice"),
    ],
)
def test_labels__csv_problems_name_file_and_line(tmp_path, make_store, text, message):
    make_store("a.zarr")
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(LabelError, match=message):
        read_labels([tmp_path / "p.csv"])


def test_labels__many_problems_are_reported_together_and_capped(tmp_path, make_store):
    make_store("a.zarr")
    lines = [f"a.zarr,{i},x" for i in range(50)]
    (tmp_path / "p.csv").write_text("\n".join(["store,index,Tumor", "a.zarr,0,1", *lines]))
    with pytest.raises(LabelError, match=r"(?s)50 problems in the labels:.*p.csv:3: .*and 30 more"):
        read_labels([tmp_path / "p.csv"])


def test_labels__stores_of_different_kinds_do_not_mix(tmp_path, make_store):
    make_store("a.zarr")
    make_store("b.zarr", mpp=0.25)
    (tmp_path / "p.csv").write_text("store,index,Tumor\na.zarr,0,1\nb.zarr,0,1\n")
    with pytest.raises(LabelError, match=r"20 px at 0.5 um/px \(a.zarr\), 20 px at 0.25"):
        read_labels([tmp_path / "p.csv"])
    for name in "ab":
        (tmp_path / f"{name}.csv").write_text(f"store,index,Tumor\n{name}.zarr,0,1\n")
    with pytest.raises(LabelError, match="differ in mpp"):
        read_labels([tmp_path / "a.csv", tmp_path / "b.csv"])


def test_labels__nothing_there(tmp_path, make_store):
    with pytest.raises(LabelError, match="no such file or folder"):
        read_labels([tmp_path / "x.csv"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(LabelError, match="has no images"):
        read_labels([tmp_path / "empty"])
    make_store("a.zarr")
    with pytest.raises(LabelError, match=r"is a patch store.*patches\.csv"):
        read_labels([tmp_path / "a.zarr"])


def test_labels__images_of_mixed_sizes_are_scaled_with_a_warning(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    write_image(tmp_path / "w/1-2-3-[1, 0, 0].png", size=(174, 248))
    write_image(tmp_path / "w/1-2-4-[0, 1, 0].png", size=(280, 224))
    table = read_labels([tmp_path / "w"])
    assert table.patch_px == 224
    assert read_patches(table, [1, 0]).shape == (2, 224, 224, 3)
    assert "174x248 to 280x224" in caplog.text
    assert "labels read as tumor, stroma, normal (WSSS4LUAD)" in caplog.text


def test_read_patches__images_are_rgb(tmp_path):
    pixels = write_image(tmp_path / "i/a[10].png", seed=3)
    table = read_labels([tmp_path / "i"], classes=["A", "B"])
    np.testing.assert_array_equal(read_patches(table, [0])[0], pixels)


def test_class_balance__counts_present_absent_and_unknown(tmp_path, make_store):
    make_store("a.zarr")
    (tmp_path / "p.csv").write_text(
        "store,index,slide,Tumor,Fat\na.zarr,0,S,1,\na.zarr,1,S,1,1\na.zarr,2,T,,0\na.zarr,3,T,1,0\n"
    )
    lines = class_balance(read_labels([tmp_path / "p.csv"]))
    assert lines[0] == "4 labelled patches of 2 slides or images"
    assert lines[2].split() == ["Tumor", "3", "(75%)", "0", "1", "2"]
    assert lines[3].split() == ["Fat", "1", "(25%)", "2", "1", "0"]


@pytest.mark.realdata
def test_labels__wsss4luad_as_published(real_data):
    folder = real_data / "labelled" / "wsss4luad" / "1.training_examples"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    table = read_labels([folder])
    assert (table.classes, len(table)) == (("tumor", "stroma", "normal"), 4)
    assert sorted(map(tuple, table.labels.tolist())) == [(0, 0, 1), (0, 1, 0), (1, 0, 0), (1, 1, 0)]
