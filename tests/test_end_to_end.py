"""The commands a user types, one after another, on generated slides and on a real one."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import shapely
from qupath_rules import check_overlay_file
from typer.testing import CliRunner

from wsi_lpd.models.engine import OpenVinoEncoder
from wsi_lpd.overlay.raster.mask import read_mask
from wsi_lpd.overlay.raster.rasterize import rasterize
from wsi_lpd.qupath.read import load_overlay
from wsi_lpd.segmentation.strip_store import StripStore
from wsi_lpd.synthetic import SYNTHETIC_CLASSES, write_synthetic_slide
from wsi_lpd.types import Size
from wsi_lpd_cli.main import app

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
SMOKE = ["--config", str(CONFIGS / "smoke.yaml")]


def run(*words, status=0):
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == status, f"{result.output}\n{result.exception!r}"
    return result


def summary(*words, status=0):
    return json.loads(run(*words, "--json", status=status).stdout)


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with a slide, its patches labelled from its truth, and a trained run."""
    folder = tmp_path_factory.mktemp("work")
    slide = write_synthetic_slide(folder / "slides" / "one.svs", size_px=Size(2304, 1792), seed=4)
    run("tile", slide.path, "--out", folder, "--annotations", slide.truth_geojson, *SMOKE,
        "--classes", ",".join(SYNTHETIC_CLASSES))  # fmt: skip
    run("train", "--labels", folder / "patches.csv", "--out", folder / "run", *SMOKE, "--device", "cpu")
    return folder


def segment(work, out, *options, status=0):
    return summary(
        "segment", work / "slides" / "one.svs", "--model", work / "run", "--out", out, *SMOKE, *options, status=status
    )


def test_the_three_commands__end_in_an_overlay_that_qupath_takes(work, tmp_path):
    out = tmp_path / "mask.geojson"
    told = segment(work, out, "--mask", tmp_path / "m.ome.tif", "--picture", tmp_path / "o.png")
    assert check_overlay_file(out) == []
    overlay = load_overlay(out)
    assert told["slides"][0]["n_regions"] == len(overlay.annotations) > 0
    assert {a.class_name for a in overlay.annotations} <= {"Tumor", "Stroma", "Immune cells", "Necrosis"}
    assert (tmp_path / "o.png").stat().st_size > 10_000
    scores = summary("evaluate", out, "--truth", work / "slides" / "one.truth.tif")
    assert 0 < scores["protocols"]["B"]["miou"] <= 1


def test_without_simplification__overlay_and_mask_are_the_same_map(work, tmp_path):
    out, mask_path = tmp_path / "mask.geojson.gz", tmp_path / "m.ome.tif"
    segment(work, out, "--mask", mask_path, "--simplify", 0)
    mask = read_mask(mask_path)
    names = {c.name: i for i, c in enumerate(mask.classes, start=1)}
    overlay = load_overlay(out)
    drawn = rasterize(
        [a.geometry for a in overlay.annotations],
        [names[a.class_name] for a in overlay.annotations],
        mask.label_map.shape,
        frame=mask.frame,
    )
    np.testing.assert_array_equal(drawn, mask.label_map)


def test_a_limit_of_vertices__is_kept_and_told(work, tmp_path):
    def n_vertices(name):
        return sum(len(shapely.get_coordinates(a.geometry)) for a in load_overlay(tmp_path / name).annotations)

    fine = ["--simplify", 0.4, "--min-area", 0]
    segment(work, tmp_path / "free.geojson", *fine)
    most = n_vertices("free.geojson") * 3 // 4
    segment(work, tmp_path / "few.geojson", *fine, "--max-vertices", most)
    assert 0 < n_vertices("few.geojson") <= most
    told = json.loads((tmp_path / "few.geojson").read_text())["metadata"]
    assert told["max_vertices"] == str(most)
    assert float(told["outline_tolerance_px"]) > 0.4
    assert check_overlay_file(tmp_path / "few.geojson") == []


def test_merged__there_is_one_object_per_class_of_the_same_area(work, tmp_path):
    segment(work, tmp_path / "a.geojson")
    segment(work, tmp_path / "b.geojson", "--merge")
    area = {}
    for name in ("a", "b"):
        area[name] = {}
        for annotation in load_overlay(tmp_path / f"{name}.geojson").annotations:
            area[name][annotation.class_name] = area[name].get(annotation.class_name, 0) + annotation.geometry.area
    assert area["a"] == pytest.approx(area["b"])
    merged = load_overlay(tmp_path / "b.geojson").annotations
    assert len(merged) == len({a.class_name for a in merged})
    assert check_overlay_file(tmp_path / "b.geojson") == []


def test_the_same_command_again__does_nothing_and_overwrite_gives_the_same_bytes(work, tmp_path):
    out = tmp_path / "mask.geojson"
    segment(work, out)
    before = out.read_bytes()
    out.touch()
    stamp = out.stat().st_mtime_ns
    assert segment(work, out)["slides"][0]["was_finished"]
    assert out.stat().st_mtime_ns == stamp
    segment(work, out, "--overwrite")
    assert out.read_bytes() == before


def test_the_engine__changes_no_label_but_ties(work, tmp_path, monkeypatch):
    forward, calls, maps = OpenVinoEncoder.forward, [], []
    monkeypatch.setattr(OpenVinoEncoder, "forward", lambda *args: calls.append(1) or forward(*args))
    for engine in ("torch", "openvino"):
        mask_path = tmp_path / f"{engine}.ome.tif"
        segment(work, tmp_path / f"{engine}.geojson", "--mask", mask_path, "--set", f"segment.engine={engine}")
        assert bool(calls) == (engine == "openvino")
        maps.append(read_mask(mask_path).label_map)
    assert len(np.unique(maps[0])) > 1
    assert np.count_nonzero(maps[0] != maps[1]) <= 1e-4 * maps[0].size


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_a_run_that_was_interrupted__goes_on_and_writes_the_same_bytes(work, tmp_path, monkeypatch, engine):
    finely = ("--set", "segment.output_stride=1", "--set", f"segment.engine={engine}")  # several strips
    segment(work, tmp_path / "whole.geojson", "--mask", tmp_path / "whole.ome.tif", *finely)
    write = StripStore.write

    def one_and_no_more(store, index, strip):
        if index == 1:
            raise KeyboardInterrupt
        write(store, index, strip)

    words = ("segment", work / "slides" / "one.svs", "--model", work / "run", "--out", tmp_path / "m.geojson", *SMOKE)
    words = (*words, "--mask", tmp_path / "m.ome.tif", *finely)
    with monkeypatch.context() as context:
        context.setattr(StripStore, "write", one_and_no_more)
        assert "run the same command again" in run(*words, status=130).stderr
    assert [p.name for p in (tmp_path / "m.geojson.partial").glob("*.strip")] == ["000000.strip"]
    run(*words)
    for ending in (".geojson", ".ome.tif"):
        assert (tmp_path / f"m{ending}").read_bytes() == (tmp_path / f"whole{ending}").read_bytes()
    assert len(list(tmp_path.iterdir())) == 4


def test_two_workers__write_the_overlays_of_one_process(work, tmp_path):
    other = write_synthetic_slide(tmp_path / "two.svs", size_px=Size(1536, 1280), seed=9).path
    broken = tmp_path / "broken.svs"
    broken.write_bytes(b"no slide")
    words = [work / "slides" / "one.svs", broken, other, "--model", work / "run", *SMOKE, "--device", "cpu"]
    here = summary("segment", *words, "--out", tmp_path / "here", status=1)
    there = summary("segment", *words, "--out", tmp_path / "there", "--workers", 2, status=1)
    for name in ("one.geojson", "two.geojson"):
        assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()
    assert [failure["slide"] for failure in there["failed"]] == [str(broken)]
    assert there["failed"] == here["failed"]
    assert {told["n_regions"] for told in there["slides"]} == {told["n_regions"] for told in here["slides"]}


def test_a_broken_slide__fails_alone_and_by_name(work, tmp_path):
    broken = tmp_path / "broken.svs"
    broken.write_bytes((work / "slides" / "one.svs").read_bytes()[:5000])
    good = shutil.copy(work / "slides" / "one.svs", tmp_path / "good.svs")
    told = summary("segment", broken, good, "--model", work / "run", "--out", tmp_path / "maps", *SMOKE, status=1)
    assert [Path(f["slide"]).name for f in told["failed"]] == ["broken.svs"]
    assert sorted(p.name for p in (tmp_path / "maps").iterdir()) == ["good.geojson"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--model", "nowhere"], "there is no nowhere"),
        (["--out", "map.shp"], "QuPath opens"),
        (["--gate", "oracle"], "segment.gate"),
        (["--slide-mpp", "-1"], "--slide-mpp is -1"),
        (["--device", "abacus"], "not available here"),
    ],
)
def test_wrong_input__is_one_clear_line_and_status_1(work, tmp_path, monkeypatch, options, told):
    monkeypatch.chdir(tmp_path)
    words = {"--model": str(work / "run"), "--out": "mask.geojson"} | dict([options])
    result = run("segment", work / "slides" / "one.svs", *[w for pair in words.items() for w in pair], status=1)
    assert told in result.stderr
    assert not list(tmp_path.iterdir()), "nothing may be left behind"


def test_the_newest_run__is_used_when_none_is_named(work, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    run("segment", work / "slides" / "one.svs", "--out", "m.geojson", *SMOKE, status=1)
    monkeypatch.setenv("WSI_LPD_MODEL", str(work / "run"))
    run("segment", work / "slides" / "one.svs", "--out", "m.geojson", *SMOKE)
    assert (tmp_path / "m.geojson").is_file()


def test_a_slide_without_tissue__gives_an_empty_overlay(work, tmp_path, write_slide):
    glass = np.full((900, 1300, 3), 244, np.uint8)
    glass[::7, ::5] = 241
    out = tmp_path / "m.geojson"
    told = summary("segment", write_slide(glass), "--model", work / "run", "--out", out, *SMOKE)
    assert told["slides"][0]["n_regions"] == 0
    assert check_overlay_file(out) == []
    assert load_overlay(out).annotations == []


@pytest.mark.realdata
def test_a_real_aperio_slide__goes_through_all_three_commands(real_data, work, tmp_path):
    slide = real_data / "wsi" / "aperio_CMU-1-Small-Region.svs"
    run("tile", slide, "--out", tmp_path, "--classes", "Tumor,Stroma", *SMOKE)
    lines = (tmp_path / "patches.csv").read_text().splitlines()
    filled = [lines[0], *(f"{line.rstrip(',')},{i % 2},{(i // 2) % 2}" for i, line in enumerate(lines[1:]))]
    (tmp_path / "patches.csv").write_text("\n".join(filled) + "\n")
    run("train", "--labels", tmp_path / "patches.csv", "--out", tmp_path / "run", *SMOKE, "--device", "cpu")
    out = tmp_path / "mask.geojson"
    summary("segment", slide, "--model", tmp_path / "run", "--out", out, *SMOKE)
    assert check_overlay_file(out) == []
    for annotation in load_overlay(out).annotations:
        x0, y0, x1, y1 = annotation.geometry.bounds
        assert x0 >= 0
        assert y0 >= 0
        assert x1 <= 2220 + 8
        assert y1 <= 2967 + 8
