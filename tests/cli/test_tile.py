"""`wsi-lpd tile` as a person runs it."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from wsi_lpd.stores.patches import PatchStore
from wsi_lpd_cli.main import app

SMALL = ["--patch-size", "48", "--set", "tile.tissue.preset=everything"]


def write_slide(path, *, width=700, height=500, mpp=0.25, seed=0):
    """A lossless Aperio slide in stain colours, no two places alike."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([185 - x / 20, 95 + y / 20, 165 + (x + y) / 40], axis=-1) + rng.normal(0, 6, (height, width, 3))
    stated = "" if mpp is None else f"|AppMag = 40|MPP = {mpp}"
    tifffile.imwrite(
        path,
        np.clip(pixels, 0, 255).astype(np.uint8),
        tile=(128, 128),
        photometric="rgb",
        compression="deflate",
        description=f"Aperio Image Library v11\n{width}x{height} [0,0 {width}x{height}] (128x128) none{stated}",
        metadata=None,
    )
    return path


@pytest.fixture
def tile(tmp_path):
    """Runs `wsi-lpd tile ... --out <tmp>/out` in this process."""

    def run(*arguments, code=0, out="out"):
        result = CliRunner().invoke(app, ["tile", *map(str, arguments), "--out", str(tmp_path / out)])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return result

    return run


def table(path):
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_tile__leaves_a_store_a_preview_and_a_label_file(tmp_path, tile):
    slide = write_slide(tmp_path / "S 1.svs")
    result = tile(slide, *SMALL, "--classes", "Tumor,Stroma")
    out = tmp_path / "out"
    assert {p.name for p in out.iterdir()} == {"S 1.zarr", "S 1.preview.png", "patches.csv"}
    rows = table(out / "patches.csv")
    store = PatchStore.open(out / "S 1.zarr")
    assert len(rows) == len(store) == 7 * 5
    assert list(rows[0]) == ["store", "index", "slide", "x", "y", "tissue", "Tumor", "Stroma"]
    assert (rows[9]["store"], rows[9]["slide"], rows[9]["Tumor"]) == ("S 1.zarr", "S 1", "")
    assert [int(rows[9]["x"]), int(rows[9]["y"])] == store.coords[9].tolist()
    picture = cv2.imread(str(out / "S 1.preview.png"))
    assert picture.shape == (500, 700, 3)
    assert (picture[96 * 2 - 1, 300] == (200, 80, 0)).all()  # the lower frame of the second row of patches (BGR)
    assert "35 patches" in result.stderr
    assert result.stdout == ""


def test_tile__again_does_nothing_and_says_so(tmp_path, tile):
    slide = write_slide(tmp_path / "s.svs")
    tile(slide, *SMALL)
    stamps = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*")}
    result = tile(slide, *SMALL)
    assert "already finished" in result.stderr
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*")} == stamps


def test_tile__other_settings_name_overwrite_and_hand_labels_are_guarded(tmp_path, tile):
    slide, labels = write_slide(tmp_path / "s.svs"), tmp_path / "out" / "patches.csv"
    tile(slide, *SMALL, "--classes", "Tumor")
    labels.write_text(labels.read_text().replace(",192,96,1.0000,", ",192,96,1.0000,1"))
    filled = labels.read_text()
    result = tile(slide, *SMALL, "--min-tissue", "0.25", code=1)
    assert "tile.min_tissue: 0.5, not 0.25" in result.stderr
    assert "--overwrite" in result.stderr
    # The same places at a finer scale are other pictures: a label must not move to them.
    result = tile(slide, *SMALL, "--mpp", "0.25", "--overwrite", code=1)
    assert "is labelled, but s.zarr will have no such patch at x = 192, y = 96" in result.stderr
    assert labels.read_text() == filled
    assert PatchStore.open(tmp_path / "out/s.zarr").meta.mpp == 0.5
    tile(slide, *SMALL, "--stride", "24", "--overwrite")
    kept = [(row["x"], row["y"]) for row in table(labels) if row["Tumor"] == "1"]
    assert kept == [("192", "96")]
    assert len(table(labels)) == 13 * 9


def test_tile__annotations_become_labels(tmp_path, tile):
    slide = write_slide(tmp_path / "s.svs")
    ring = [[0, 0], [336, 0], [336, 240], [0, 240], [0, 0]]
    feature = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"classification": {"name": "Tumor", "color": [200, 0, 0]}},
    }
    (tmp_path / "s.geojson").write_text(json.dumps([feature]))
    tile(slide, *SMALL, "--annotations", tmp_path)
    labels = {(int(r["x"]) // 96, int(r["y"]) // 96): r["Tumor"] for r in table(tmp_path / "out/patches.csv")}
    positive = {(x, y) for x in range(4) for y in range(3)}  # 3.5 by 2.5 patches
    assert {place for place, label in labels.items() if label == "1"} == positive
    assert set(labels.values()) == {"1", ""}
    tile(slide, *SMALL, "--annotations", tmp_path / "s.geojson", "--annotations-complete", "--classes", "Tumor,Fat")
    rows = table(tmp_path / "out/patches.csv")
    assert {r["Tumor"] for r in rows} == {"1", "0"}
    assert {r["Fat"] for r in rows} == {"0"}


def test_tile__one_broken_slide_does_not_stop_the_others(tmp_path, tile):
    folder = tmp_path / "slides"
    folder.mkdir()
    write_slide(folder / "a.svs", seed=1)
    (folder / "b.svs").write_bytes(b"no slide at all")
    write_slide(folder / "c.svs", seed=2)
    (folder / "readme.md").write_text("not a slide")
    result = tile(folder, *SMALL, "--json", code=1)
    summary = json.loads(result.stdout)
    assert [entry["n_patches"] for entry in summary["slides"]] == [35, 35]
    assert [failed["slide"] for failed in summary["failed"]] == [str(folder / "b.svs")]
    assert "1 of 3 failed" in result.stderr
    assert {row["store"] for row in table(tmp_path / "out/patches.csv")} == {"a.zarr", "c.zarr"}


def test_tile__two_slides_of_one_name_do_not_share_a_store(tmp_path, tile):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_slide(tmp_path / name / "s.svs", seed=len(name))
    result = tile(tmp_path / "one/s.svs", tmp_path / "two/s.svs", *SMALL, code=1)
    assert "its store s.zarr would replace that of" in result.stderr


def test_tile__lists_and_mpp_tables(tmp_path, tile):
    write_slide(tmp_path / "a.svs", mpp=None)
    write_slide(tmp_path / "b.svs", seed=1)
    (tmp_path / "list.txt").write_text("# two slides\na.svs\n\nb.svs\n")
    result = tile(tmp_path / "list.txt", *SMALL, code=1)
    assert "pass --slide-mpp" in result.stderr
    (tmp_path / "mpp.csv").write_text("slide,mpp\na,0.4\n")
    tile(tmp_path / "list.txt", *SMALL, "--slide-mpp", tmp_path / "mpp.csv")
    metas = [PatchStore.open(tmp_path / f"out/{name}.zarr").meta for name in "ab"]
    assert [(m.slide.mpp, m.mpp_source == "user") for m in metas] == [(0.4, True), (0.25, False)]
    (tmp_path / "mpp.csv").write_text("slide,mpp\na,x\n")
    assert "mpp.csv:2: mpp is 'x'" in tile(tmp_path / "a.svs", "--slide-mpp", tmp_path / "mpp.csv", code=1).stderr
    assert "expected a number" in tile(tmp_path / "a.svs", "--slide-mpp", "fine", code=1).stderr


def test_tile__dry_run_predicts_and_writes_nothing(tmp_path, tile):
    slide = write_slide(tmp_path / "s.svs")
    result = tile(slide, *SMALL, "--dry-run", "--json")
    assert not (tmp_path / "out").exists()
    (seen,) = json.loads(result.stdout)["forecast"]
    tile(slide, *SMALL)
    n_bytes = sum(p.stat().st_size for p in (tmp_path / "out/s.zarr/patches").rglob("0") if p.is_file())
    assert seen["n_patches"] == 35
    assert seen["n_bytes"] == pytest.approx(n_bytes, rel=0.25)
    assert seen["seconds"] > 0


def test_tile__no_tissue_is_a_warning_not_an_error(tmp_path, tile):
    slide = tmp_path / "s.svs"
    write_slide(slide)
    pixels = np.full((500, 700, 3), 244, np.uint8)
    with tifffile.TiffFile(slide) as tif:
        description = tif.pages[0].description
    tifffile.imwrite(slide, pixels, tile=(128, 128), photometric="rgb", description=description, metadata=None)
    result = tile(slide, "--patch-size", "48", "--dry-run", "--json")
    assert json.loads(result.stdout)["forecast"][0]["n_patches"] == 0
    tile(slide, "--patch-size", "48")
    assert len(PatchStore.open(tmp_path / "out/s.zarr")) == 0
    assert table(tmp_path / "out/patches.csv") == []


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--classes", "A,,B"], 2, "empty or given twice"),
        (["--classes", "A,A"], 2, "empty or given twice"),
        (["--workers", "0"], 2, "--workers"),
        (["--origin", "centre"], 2, "expected auto, level0 or bounds"),
        (["--mpp", "-1"], 1, "tile.mpp"),
        (["--set", "tile.patch=3"], 1, "tile.patch: unknown key"),
        (["--mpp", "0.1"], 1, "coarser than the requested 0.1 um/px"),
        (["--annotations", "none.geojson"], 1, "no such annotation file"),
    ],
)
def test_tile__wrong_use_says_what_is_wrong(tmp_path, tile, arguments, code, message):
    slide = write_slide(tmp_path / "s.svs")
    assert message in tile(slide, *arguments, code=code).stderr.replace("\n", " ").replace("│ ", "")
    assert not list(tmp_path.glob("out/*.zarr*"))


def test_tile__a_foreign_patches_csv_is_told_of_before_any_work(tmp_path, tile):
    slide = write_slide(tmp_path / "s.svs")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/patches.csv").write_text("image,Tumor\na.png,1\n")
    result = tile(slide, *SMALL, code=1)
    assert "expected a label file written by tile" in result.stderr
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["patches.csv"]


@pytest.mark.slow
def test_tile__kill_9_and_the_same_command_again(tmp_path):
    slide = write_slide(tmp_path / "s.svs", width=2600, height=1900)
    command = [sys.executable, "-m", "wsi_lpd_cli.main", "tile", slide, "--mpp", "0.25", "--patch-size", "64"]
    command = [*command, "--stride", "16", "--set", "tile.tissue.preset=everything", "--classes", "A", "--out"]
    command[1:3] = ["-c", "from wsi_lpd_cli.main import run; run()"]
    subprocess.run([*map(str, command), str(tmp_path / "whole")], check=True, capture_output=True)
    for n_shards in (1, 3):
        process = subprocess.Popen([*map(str, command), str(tmp_path / "killed")], stderr=subprocess.PIPE)
        chunks = tmp_path / "killed/s.zarr.partial/patches/c"
        while process.poll() is None and len(list(chunks.glob("*/0/0/0"))) < n_shards:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert not (tmp_path / "killed/s.zarr").exists()
    done = subprocess.run([*map(str, command), str(tmp_path / "killed")], check=True, capture_output=True, text=True)
    assert "(resumed)" in done.stderr
    trees = [
        {str(p.relative_to(tmp_path / name)): p.read_bytes() for p in (tmp_path / name).rglob("*") if p.is_file()}
        for name in ("whole", "killed")
    ]
    assert trees[0] == trees[1]


def test_tile__help_imports_nothing_heavy():
    code = "import sys; from wsi_lpd_cli.main import app; import typer.main; typer.main.get_command(app); "
    code += "print([m for m in ('torch', 'zarr', 'numpy', 'cv2', 'openslide') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.realdata
def test_tile__the_real_svs(real_data, tile, tmp_path):
    tile(real_data / "wsi" / "aperio_CMU-1-Small-Region.svs")
    store = PatchStore.open(tmp_path / "out/aperio_CMU-1-Small-Region.zarr")
    assert 30 <= len(store) <= 60
    # Skin in haematoxylin and eosin: more red and blue than green, and no empty patch.
    means = store.read(range(len(store))).reshape(len(store), -1, 3).mean(axis=1)
    assert (means[:, 1] < means[:, 0]).all()
    assert means[:, 1].max() < 225


def test_a_broken_slide__does_not_stand_in_the_way_of_another_of_its_name(tile, tmp_path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "s.svs").write_bytes(b"no slide")
    result = tile(tmp_path / "broken" / "s.svs", write_slide(tmp_path / "s.svs"), *SMALL, code=1)
    assert "would replace" not in result.output
    assert len(PatchStore.open(tmp_path / "out" / "s.zarr")) > 0
