"""`wsi-lpd info`: all that is known, one clear line per failing slide."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from far_files import in_memory
from typer.testing import CliRunner

from wsi_lpd_cli.main import app

APERIO = "Aperio Image Library v11\n640x420 (64x64)|AppMag = 20|MPP = 0.499|User = jane doe|Date = 01/02/24"


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    image = np.full((420, 640, 3), 243, np.uint8)
    image[100:300, 50:450] = (210, 120, 170)
    tifffile.imwrite(
        tmp_path / "a slide.svs", image, tile=(64, 64), photometric="rgb", description=APERIO, metadata=None
    )
    return tmp_path / "a slide.svs"


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["info", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def test_text__tells_what_is_used_and_why(slide: Path) -> None:
    status, out, _ = run(str(slide))
    assert status == 0
    for part in ("640 x 420 px", "aperio", "openslide (", "0.499 um/px, from openslide.mpp-x", "20x", "of the slide"):
        assert part in out
    assert "doe" not in out
    assert "01/02/24" not in out


def test_json__is_one_object(slide: Path) -> None:
    status, out, _ = run(str(slide), "--json")
    (facts,) = json.loads(out)["slides"]
    assert status == 0
    assert (facts["width_px"], facts["height_px"], facts["mpp"], facts["mpp_source"]) == (
        640,
        420,
        0.499,
        "openslide.mpp-x",
    )
    assert facts["tissue_share"] == pytest.approx(200 * 400 / (420 * 640), rel=0.25)  # of 40 x 26 pixels
    assert facts["tissue_mm2"] == pytest.approx(200 * 400 * 0.499**2 / 1e6, rel=0.25)


def test_mpp__given_wins_and_the_difference_is_told(slide: Path) -> None:
    _, out, _ = run(str(slide), "--slide-mpp", "0.25")
    assert "0.25 um/px, from --slide-mpp" in out
    assert "openslide.mpp-x: 0.499 um/px, not used: differs from --slide-mpp" in out
    assert "warning" in out


def test_failures__do_not_stop_the_others(slide: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.svs").write_text("no slide")
    status, out, err = run(str(tmp_path / "bad.svs"), str(tmp_path / "gone.svs"), str(slide))
    assert status == 1
    assert "640 x 420 px" in out
    assert "2 of 3 failed" in err
    status, out, _ = run(str(tmp_path / "bad.svs"), str(slide), "--json")
    summary = json.loads(out)
    assert status == 1
    assert [len(summary["slides"]), len(summary["failed"])] == [1, 1]
    assert "bad.svs" in summary["failed"][0]["error"]


def test_one_failure__is_one_line(tmp_path: Path) -> None:
    (tmp_path / "bad.svs").write_text("no slide")
    status, out, err = run(str(tmp_path / "bad.svs"))
    assert (status, out) == (1, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1


def test_dark_slides__are_shown_and_called_so(tmp_path: Path) -> None:
    dark = np.zeros((420, 640, 3), np.uint8)
    dark[100:140, 50:90, 2] = 190
    tifffile.imwrite(tmp_path / "dapi.tif", dark, tile=(64, 64), photometric="rgb")
    status, out, _ = run(str(tmp_path / "dapi.tif"))
    assert status == 0
    assert "not bright-field" in out
    assert "pass --slide-mpp" in out


@pytest.mark.parametrize(
    ("compression", "told"),
    [
        ("jpeg", "native (the slide is remote; JPEG tiles are read by byte ranges and decoded directly)"),
        ("zlib", "tiffslide (the slide is remote; its full resolution is not a regular grid of JPEG tiles)"),
    ],
)
def test_a_slide_at_a_url__is_shown_with_how_it_is_read(tmp_path: Path, compression: str, told: str) -> None:
    image = np.full((420, 640, 3), 243, np.uint8)
    image[100:300, 50:450] = (210, 120, 170)
    layout = {"tile": (64, 64), "photometric": "rgb", "description": APERIO, "metadata": None}
    tifffile.imwrite(tmp_path / "x.svs", image, compression=compression, **layout)
    with in_memory((tmp_path / "x.svs").read_bytes(), "a slide.svs") as file:
        status, out, _ = run(file.url)
        failed, _, err = run(f"{file.url}.gone")
    assert status == 0
    for part in ("memory://slides/a slide.svs", "640 x 420 px", told, "0.499 um/px, from tiffslide.mpp-x", "20x"):
        assert part in out
    assert (failed, err) == (1, "error: memory://slides/a slide.svs.gone: no such file; check the address\n")


@pytest.mark.realdata
def test_real_slides__all_succeed(real_data: Path) -> None:
    slides = [str(path) for path in sorted((real_data / "wsi").glob("*.*"))]
    status, out, _ = run(*slides, "--json")
    assert status == 0
    assert len(json.loads(out)["slides"]) == len(slides)
