"""Formats coordinates as text, thousands at a time; formatting takes most of the time of writing GeoJSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from wsi_lpd.overlay.tracing.flat_rings import FlatRings
from wsi_lpd.types import AnyArray

DECIMALS: Final = 2
"""Decimal places of non-integer coordinates."""


def geometry_texts(rings: FlatRings) -> list[bytes]:
    """GeoJSON geometry objects of Polygons and MultiPolygons; a MultiPolygon with one part is written as a Polygon."""
    is_last = np.append(rings.ring_of[1:] != rings.ring_of[:-1], True)[: len(rings.ring_of)]
    ring_texts = _position_text(rings, is_last).split(b"\n")[:-1]
    part_texts = [
        b"[[" + b"],[".join(group) + b"]]" for group in _grouped(ring_texts, rings.part_of, len(rings.geometry_of))
    ]
    return [
        b'{"type":"Polygon","coordinates":' + group[0] + b"}"
        if len(group) == 1
        else b'{"type":"MultiPolygon","coordinates":[' + b",".join(group) + b"]}"
        for group in _grouped(part_texts, rings.geometry_of, rings.n_geometries)
    ]


def _grouped(texts: list[bytes], owner: AnyArray, n_owners: int) -> Iterator[list[bytes]]:
    ends = np.cumsum(np.bincount(owner, minlength=n_owners)).tolist()
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        yield texts[start:end]


def _position_text(rings: FlatRings, is_last: AnyArray) -> bytes:
    """`[x,y],[x,y]...` of all rings, one ring per line.

    All positions are written at once into a table of fixed-width characters whose unused cells are zero bytes; removing
    these is several times as fast as formatting number by number.
    """
    xy, decimals = rings.xy, 0 if rings.are_whole else DECIMALS
    table = [_constant(len(xy), "["), *_characters(xy[:, 0], decimals), _constant(len(xy), ",")]
    table += [*_characters(xy[:, 1], decimals), _constant(len(xy), "]")]
    table += [np.where(is_last, ord("\n"), ord(",")).astype(np.uint8)]
    return np.stack(table, axis=1).tobytes().translate(None, b"\0")


def _constant(n: int, character: str) -> AnyArray:
    return np.full(n, ord(character), dtype=np.uint8)


def _characters(values: AnyArray, decimals: int) -> list[AnyArray]:
    """Character columns of decimal numbers: sign, digits, point; integers have no decimal point."""
    scaled = np.rint(values * 10**decimals).astype(np.int64)
    rest = np.abs(scaled)
    is_whole = rest % 10**decimals == 0
    columns = []
    for place in range(max(len(str(int(rest.max(initial=0)))), decimals + 1)):
        digit = (rest % 10 + ord("0")).astype(np.uint8)
        if place < decimals:
            digit[is_whole] = 0
        elif place > decimals:
            digit[rest == 0] = 0  # no leading zeros
        if decimals and place == decimals:
            columns.append(np.where(is_whole, 0, ord(".")).astype(np.uint8))
        columns.append(digit)
        rest = rest // 10
    columns.append(np.where(scaled < 0, ord("-"), 0).astype(np.uint8))
    return columns[::-1]
