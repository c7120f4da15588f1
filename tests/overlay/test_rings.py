from __future__ import annotations

import numpy as np
import pytest
import shapely

from wsi_lpd.overlay.tracing.rings import RegionRings, apart_at_touches, polygons_of


def ring(text: str) -> np.ndarray:
    return np.array([[int(c) for c in point] for point in text.split()], dtype=np.float64)


def as_texts(rings: list[np.ndarray]) -> set[str]:
    return {" ".join(f"{x:.0f}{y:.0f}" for x, y in each) for each in rings}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("00 50 54 04", {"00 50 54 04"}),
        ("00 50 54 22 32 31 21 22 04", {"00 50 54 22 04", "22 32 31 21"}),
        ("22 04 00 50 54 22 32 31 21", {"22 04 00 50 54", "22 32 31 21"}),
        # Two touches, one inside the other's part, and two beside each other.
        ("00 90 99 55 65 66 76 77 66 56 09", {"00 90 99 55 65 66 56 09", "66 76 77"}),
        ("00 90 22 32 33 22 44 54 55 44 09", {"00 90 22 44 09", "22 32 33", "44 54 55"}),
        ("00 90 22 32 44 54 55 44 33 22 09", {"00 90 22 09", "22 32 44 33", "44 54 55"}),
    ],
)
def test_apart_at_touches__no_part_passes_a_point_twice(given, expected):
    assert as_texts(apart_at_touches(ring(given))) == expected


def test_polygons_of__the_largest_ring_is_the_shell():
    shell, holes = ring("00 60 64 04"), [ring("11 12 22 21"), ring("43 53 52 42")[::-1]]
    other = ring("70 90 92 72")
    first, second = polygons_of([RegionRings([holes[0], shell], [holes[1]]), RegionRings([other])])
    assert first.is_valid
    assert first.area == 22
    assert len(first.interiors) == 2
    assert first.exterior.equals(shapely.LinearRing([(0, 0), (6, 0), (6, 4), (0, 4)]))
    assert second.equals(shapely.box(7, 0, 9, 2))


def test_polygons_of__a_ring_that_meets_itself_is_a_shell_with_a_hole():
    #  111
    #  1.1   The hole and the outside meet at the corner (2, 2).
    #  11.
    (polygon,) = polygons_of([RegionRings([ring("00 30 32 22 21 11 12 22 23 03")])])
    assert polygon.is_valid
    assert polygon.area == 7
    assert len(polygon.interiors) == 1


def test_polygons_of__nothing():
    assert len(polygons_of([])) == 0
