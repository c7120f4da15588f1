"""`wsi-lpd synth`."""

from __future__ import annotations

import json

import openslide
import pytest
from typer.testing import CliRunner

from wsi_lpd_cli.main import app


def run(*arguments):
    return CliRunner().invoke(app, ["synth", *map(str, arguments)])


SMALL = ("--size", "900x600", "--slide-mpp", 1.0, "--seed", 4)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synth")
    return folder, run("--out", folder, *SMALL, "--slides", 2, "--json")


def test_synth__writes_slides_and_truth(made):
    folder, result = made
    assert result.exit_code == 0, result.stderr
    summary = json.loads(result.stdout)
    assert [slide["seed"] for slide in summary["slides"]] == [4, 5]
    assert all(slide["made"] and slide["size_px"] == [900, 600] for slide in summary["slides"])
    assert sorted(path.name for path in folder.iterdir()) == [
        f"synth-{seed}.{suffix}" for seed in (4, 5) for suffix in ("svs", "truth.geojson", "truth.tif")
    ]
    with openslide.OpenSlide(folder / "synth-5.svs") as slide:
        assert slide.dimensions == (900, 600)


def test_synth__again_does_nothing_and_says_so(made):
    folder, _ = made
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    result = run("--out", folder, *SMALL)
    assert result.exit_code == 0
    assert "already finished" in result.stderr
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_synth__other_parameters_are_refused_unless_overwriting(made):
    folder, _ = made
    result = run("--out", folder, "--size", "600x900", "--slide-mpp", 1.0, "--seed", 5)
    assert result.exit_code == 1
    assert "--overwrite" in result.stderr
    assert run("--out", folder, "--size", "600x900", "--slide-mpp", 1.0, "--seed", 5, "--overwrite").exit_code == 0
    with openslide.OpenSlide(folder / "synth-5.svs") as slide:
        assert slide.dimensions == (600, 900)


def test_synth__polygons_can_be_left_out_and_added_later(tmp_path):
    result = run("--out", tmp_path, *SMALL, "--no-geojson")
    assert result.exit_code == 0
    assert "no polygons" in result.stderr
    assert not (tmp_path / "synth-4.truth.geojson").exists()
    before = (tmp_path / "synth-4.svs").stat().st_mtime_ns
    assert run("--out", tmp_path, *SMALL).exit_code == 0
    assert (tmp_path / "synth-4.truth.geojson").exists()
    assert (tmp_path / "synth-4.svs").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "arguments",
    [
        ("--size", "big"),
        ("--size", "0"),
        ("--size", "100x9000"),
        ("--size", "4096x4096x3"),
        ("--size", "-5"),
        ("--slide-mpp", "7"),
        ("--slide-mpp", "nan"),
        ("--slides", "0"),
        ("--seed", "-1"),
    ],
)
def test_synth__wrong_values_are_usage_errors(tmp_path, arguments):
    result = run("--out", tmp_path / "x", *arguments)
    assert result.exit_code == 2
    assert arguments[0] in result.stderr
    assert not (tmp_path / "x").exists()
