"""Who is believed about micrometres per pixel."""

from __future__ import annotations

import pytest

from wsi_lpd.errors import SlideError
from wsi_lpd.slide.resolution import MppCandidate, Resolution, missing_mpp_message, resolve_mpp

APERIO = {"openslide.vendor": "aperio", "openslide.mpp-x": "0.2527", "openslide.mpp-y": "0.2527"}
CENTIMETRE = {"tiff.ResolutionUnit": "centimeter"}


def resolve(
    properties: dict[str, str], explicit: float | None = None
) -> tuple[Resolution | None, tuple[MppCandidate, ...]]:
    return resolve_mpp(properties, explicit=explicit, location="a.svs")


def test_precedence__user_then_scanner_then_tiff() -> None:
    tiff = {"tiff.XResolution": "20000", "tiff.YResolution": "20000", **CENTIMETRE}
    assert resolve({**APERIO, **tiff}, 0.3)[0].source == "--slide-mpp"
    found, candidates = resolve({**APERIO, **tiff})
    assert (found.mpp, found.source) == (pytest.approx(0.2527), "openslide.mpp-x")
    assert [c.source for c in candidates] == ["openslide.mpp-x", "tiff.XResolution"]
    assert "differs" in candidates[1].verdict
    assert any("0.5" in warning for warning in found.warnings)
    assert resolve(tiff)[0].mpp == pytest.approx(0.5)


@pytest.mark.parametrize("dpi", [72, 96, 300])
def test_tiff_resolution__of_a_printer_is_no_mpp(dpi: int) -> None:
    found, (candidate,) = resolve(
        # OpenSlide copies the TIFF resolution of a TIFF without vendor into its own property.
        {
            "openslide.vendor": "generic-tiff",
            "openslide.mpp-x": str(25400 / dpi),
            "tiff.XResolution": str(dpi / 2.54),
            "tiff.YResolution": str(dpi / 2.54),
            **CENTIMETRE,
        }
    )
    assert found is None
    assert candidate.verdict.startswith(f"rejected: {dpi} dots per inch")


def test_tiff_resolution__of_a_millimetre_per_pixel_is_no_mpp() -> None:
    found, (candidate,) = resolve({"tiff.XResolution": "10", "tiff.YResolution": "10", **CENTIMETRE})
    assert found is None
    assert "outside 0.02 to 50" in candidate.verdict


@pytest.mark.parametrize("text", ["", "nan", "0", "-1", "abc", "inf"])
def test_scanner__nonsense_is_not_a_number(text: str) -> None:
    assert resolve({"openslide.vendor": "aperio", "openslide.mpp-x": text}) == (None, ())


def test_axes__that_differ_a_little_are_averaged_and_reported() -> None:
    found, _ = resolve({**APERIO, "openslide.mpp-y": "0.2627"})
    assert found.mpp == pytest.approx((0.2527 * 0.2627) ** 0.5)
    assert "0.2627 along y" in found.warnings[0]


def test_axes__that_differ_much_are_not_used() -> None:
    found, (candidate,) = resolve({**APERIO, "openslide.mpp-y": "0.5"})
    assert found is None
    assert "not square" in candidate.verdict


@pytest.mark.parametrize(("power", "n_warnings"), [("40", 0), ("20", 1), ("5", 1)])
def test_objective__that_does_not_fit_is_reported(power: str, n_warnings: int) -> None:
    found, _ = resolve({**APERIO, "openslide.objective-power": power})
    assert len(found.warnings) == n_warnings
    assert all(f"{power}x objective" in warning for warning in found.warnings)


@pytest.mark.parametrize("explicit", [0.0, -0.5, float("nan"), float("inf")])
def test_explicit__must_be_a_positive_number(explicit: float) -> None:
    with pytest.raises(SlideError, match="--slide-mpp"):
        resolve(APERIO, explicit)


def test_explicit__is_obeyed_though_odd_and_reported() -> None:
    found, _ = resolve(APERIO, 250.0)  # nanometres, most likely
    assert found.mpp == 250.0
    assert any("slides have 0.02 to 50" in warning for warning in found.warnings)


@pytest.mark.parametrize(("unit", "expected"), [("", 0.4), ('PhysicalSizeXUnit="nm" PhysicalSizeYUnit="nm"', 4e-4)])
def test_ome__physical_size_with_its_unit(unit: str, expected: float) -> None:
    description = f'<OME><Pixels PhysicalSizeX="0.4" PhysicalSizeY="0.4" {unit}/></OME>'
    _, (candidate,) = resolve({"tiff.ImageDescription": description})
    assert candidate.mpp == pytest.approx(expected)


def test_imagej__unit_in_the_description() -> None:
    found, _ = resolve(
        {
            "tiff.ImageDescription": "ImageJ=1.53\nunit=micron\n",
            "tiff.XResolution": "4",
            "tiff.YResolution": "4",
            "tiff.ResolutionUnit": "none",
        }
    )
    assert found.mpp == pytest.approx(0.25)


def test_missing__names_the_flag_what_was_found_and_a_guess() -> None:
    properties = {"tiff.XResolution": "72", "tiff.YResolution": "72", "openslide.objective-power": "20"}
    text = missing_mpp_message("b.tif", properties, resolve(properties)[1])
    assert text.startswith("b.tif: ")
    for part in ("352.8", "72 dots per inch", "--slide-mpp 0.5", "20x objective"):
        assert part in text
