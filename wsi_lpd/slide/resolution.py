"""Micrometres per pixel (mpp) of a slide: the sources that state it, and the choice among them.

The order of precedence is: the user, the scanner's own property, OME metadata, the TIFF resolution. An implausible
value (72 dpi, say) is rejected with a reason; every value found is kept for `wsi-lpd info`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from wsi_lpd.errors import SlideError

PLAUSIBLE_MPP: Final = (0.02, 50.0)
"""No light microscope reaches below 0.02; above 50 no tissue structure is visible (a 1 cm section would be 200 pixels
wide)."""

PRINT_DPI: Final = (72, 75, 90, 96, 100, 120, 150, 180, 200, 240, 300, 360, 400, 600, 720, 1200)
"""Defaults that image programs write when no resolution is set: 72 dpi is 352.8 um/px."""

_COARSER: Final = 1.1
"""A slide this much coarser than what is wanted still counts as the same scale: 20x scanners state 0.46 to 0.55."""

_SAME: Final = 0.01
"""Values that differ by less than one per cent count as equal, since files round (0.2527, 0.253)."""
_SQUARE: Final = 0.10
"""Pixels whose sides differ by more than this are rejected as not square: all later steps assume square pixels."""
_POWER_FACTOR: Final = 1.6
"""An objective of power p gives about 10/p um/px (40x: 0.25), up to this factor for the camera (20x: 0.32-0.8)."""

_UM_PER_UNIT: Final = {
    "nm": 1e-3,
    "µm": 1.0,
    "μm": 1.0,
    "um": 1.0,
    "micron": 1.0,
    "mm": 1e3,
    "cm": 1e4,
    "inch": 25_400.0,
}


@dataclass(frozen=True)
class Resolution:
    """The micrometres per pixel in use, their source, and warnings about them."""

    mpp: float
    source: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class MppCandidate:
    """One value of the micrometres per pixel that was found.

    Attributes:
        source: The property or option that states it.
        mpp_x: Micrometres per pixel along x.
        mpp_y: The same along y.
        verdict: `used`, `not used: ...` or `rejected: ...`, with the reason.
        believable: Whether it is plausible.
    """

    source: str
    mpp_x: float
    mpp_y: float
    verdict: str = ""
    believable: bool = True

    @property
    def mpp(self) -> float:
        """One number for both axes: the geometric mean, which keeps areas right."""
        return math.sqrt(self.mpp_x * self.mpp_y)


def resolve_mpp(
    properties: Mapping[str, str], *, explicit: float | None = None, location: str
) -> tuple[Resolution | None, tuple[MppCandidate, ...]]:
    """Chooses among all stated values.

    Args:
        properties: All properties of the file, under OpenSlide's or TiffSlide's names.
        explicit: The user's value, in micrometres per pixel.
        location: The slide's name in errors.

    Returns:
        The value in use (None if none is plausible), and every candidate in order of precedence with its verdict.

    Raises:
        SlideError: If `explicit` is not a positive number.
    """
    if explicit is not None and not (math.isfinite(explicit) and explicit > 0):
        raise SlideError(
            f"{location}: --slide-mpp is {explicit:g}; expected micrometres per pixel above 0, such as 0.25"
        )
    judged = [_judge(candidate) for candidate in _candidates(properties, explicit)]
    chosen = next((candidate for candidate in judged if candidate.believable), None)
    if chosen is None:
        return None, tuple(judged)
    warnings = tuple(_inconsistencies(chosen, judged, objective_power(properties)))
    verdicts = [_with_verdict(candidate, chosen) for candidate in judged]
    return Resolution(chosen.mpp, chosen.source, warnings), tuple(verdicts)


def is_too_coarse(slide_mpp: float, wanted_mpp: float) -> bool:
    """Whether a slide would have to be enlarged to show it at `wanted_mpp`, by more than scanners differ."""
    return slide_mpp > wanted_mpp * _COARSER


def objective_power(properties: Mapping[str, str]) -> float | None:
    """The magnification of the objective, such as 20; None if none is stated."""
    for key in ("openslide.objective-power", "tiffslide.objective-power", "aperio.AppMag", "hamamatsu.SourceLens"):
        power = _positive(properties.get(key))
        if power is not None:
            return power
    return None


def missing_mpp_message(location: str, properties: Mapping[str, str], candidates: tuple[MppCandidate, ...]) -> str:
    """An error message: no mpp; what was found instead; what to do."""
    found = "; ".join(f"{c.source} says {c.mpp:.4g}, {c.verdict}" for c in candidates)
    power = objective_power(properties)
    guess = 0.25 if power is None else 10 / power
    hint = "" if power is None else f" (its {power:g}x objective suggests about {guess:g})"
    looked = found or "searched openslide.mpp-x, OME PhysicalSizeX, tiff.XResolution"
    return (
        f"{location}: does not state its micrometres per pixel ({looked}). "
        f"If you know them, pass --slide-mpp, e.g. --slide-mpp {guess:g}{hint}"
    )


def _candidates(properties: Mapping[str, str], explicit: float | None) -> Iterator[MppCandidate]:
    if explicit is not None:
        yield MppCandidate("--slide-mpp", explicit, explicit)
    tiff = _tiff_resolution(properties)
    vendor = properties.get("openslide.vendor") or properties.get("tiffslide.vendor")
    for prefix in ("openslide", "tiffslide"):
        stated = _pair(properties.get(f"{prefix}.mpp-x"), properties.get(f"{prefix}.mpp-y"))
        # For a TIFF without a vendor both libraries copy the TIFF resolution; it must not pass for a scanner's value.
        copied = vendor in (None, "generic-tiff") and "tiff.XResolution" in properties
        if stated is not None and not copied:
            yield MppCandidate(f"{prefix}.mpp-x", *stated)
    ome = _ome(properties.get("tiff.ImageDescription", ""))
    if ome is not None:
        yield MppCandidate("OME PhysicalSizeX", *ome)
    if tiff is not None:
        yield MppCandidate("tiff.XResolution", *tiff)


def _judge(candidate: MppCandidate) -> MppCandidate:
    """Marks an implausible candidate as rejected; the user's own value is never rejected, only warned about."""
    low, high = PLAUSIBLE_MPP
    reason = None
    if candidate.source == "--slide-mpp":
        return candidate
    if candidate.source == "tiff.XResolution" and (dpi := _print_dpi(candidate.mpp_x)) is not None:
        reason = f"{dpi} dots per inch is a default of image programs, not a scanner's resolution"
    elif not low <= candidate.mpp <= high:
        reason = f"outside {low:g} to {high:g} um/px, the range of slides"
    elif _ratio(candidate.mpp_x, candidate.mpp_y) > 1 + _SQUARE:
        reason = f"pixels of {candidate.mpp_x:.4g} by {candidate.mpp_y:.4g} um are not square"
    return candidate if reason is None else replace(candidate, verdict=f"rejected: {reason}", believable=False)


def _with_verdict(candidate: MppCandidate, chosen: MppCandidate) -> MppCandidate:
    if candidate is chosen:
        return replace(candidate, verdict="used")
    if not candidate.believable:
        return candidate
    agreement = "agrees with" if _ratio(candidate.mpp, chosen.mpp) <= 1 + _SAME else "differs from"
    return replace(candidate, verdict=f"not used: {agreement} {chosen.source}, which takes precedence")


def _inconsistencies(chosen: MppCandidate, judged: list[MppCandidate], power: float | None) -> Iterator[str]:
    low, high = PLAUSIBLE_MPP
    if not low <= chosen.mpp <= high:
        yield f"{chosen.source} says {chosen.mpp:g} um/px; slides have {low:g} to {high:g} um/px"
    if _ratio(chosen.mpp_x, chosen.mpp_y) > 1 + _SAME:
        yield f"{chosen.source} says {chosen.mpp_x:.4g} um along x but {chosen.mpp_y:.4g} along y; the mean is used"
    for other in judged:
        if other is not chosen and other.believable and _ratio(other.mpp, chosen.mpp) > 1 + _SAME:
            yield f"{chosen.source} says {chosen.mpp:.4g} um/px, {other.source} says {other.mpp:.4g}"
    if power is not None and _ratio(chosen.mpp, 10 / power) > _POWER_FACTOR:
        yield (
            f"{chosen.source} says {chosen.mpp:.4g} um/px, but a {power:g}x objective usually gives about "
            f"{10 / power:.4g} um/px; if {chosen.source} is wrong, pass --slide-mpp"
        )


def _tiff_resolution(properties: Mapping[str, str]) -> tuple[float, float] | None:
    per_unit = _pair(properties.get("tiff.XResolution"), properties.get("tiff.YResolution"))
    unit = properties.get("tiff.ResolutionUnit", "inch").lower()
    description = properties.get("tiff.ImageDescription", "")
    um_per_unit = {"inch": 25_400.0, "centimeter": 10_000.0, "2": 25_400.0, "3": 10_000.0}.get(unit)
    if um_per_unit is None and description.startswith("ImageJ="):  # ImageJ writes its unit into the description
        named = re.search(r"^unit=(\S+)$", description, re.MULTILINE)
        um_per_unit = _UM_PER_UNIT.get(named.group(1).replace("\\u00B5", "µ")) if named else None
    if per_unit is None or um_per_unit is None:
        return None
    return um_per_unit / per_unit[0], um_per_unit / per_unit[1]


def _ome(description: str) -> tuple[float, float] | None:
    """PhysicalSizeX and Y of the first image of OME-XML, in um (its default unit)."""
    if "<OME" not in description:
        return None
    sizes = []
    for axis in "XY":
        size = re.search(rf'\bPhysicalSize{axis}="([^"]+)"', description)
        unit = re.search(rf'\bPhysicalSize{axis}Unit="([^"]+)"', description)
        factor = _UM_PER_UNIT.get(unit.group(1)) if unit else 1.0
        value = _positive(size.group(1)) if size else None
        if value is None or factor is None:
            return None
        sizes.append(value * factor)
    return sizes[0], sizes[1]


def _pair(x: str | None, y: str | None) -> tuple[float, float] | None:
    """Both numbers; a missing y is taken to be x."""
    first = _positive(x)
    second = _positive(y)
    return None if first is None else (first, first if second is None else second)


def _positive(text: str | None) -> float | None:
    try:
        number = float("nan") if text is None else float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and number > 0 else None


def _print_dpi(mpp: float) -> int | None:
    # TIFF writers round 28.346 pixels per centimetre to 28.34 or 28, hence the tolerance of 1.5 per cent.
    return next((dpi for dpi in PRINT_DPI if _ratio(mpp, 25_400 / dpi) < 1.015), None)


def _ratio(a: float, b: float) -> float:
    return max(a, b) / min(a, b)
