"""Label maps as OME-TIFF, which QuPath, Bio-Formats, napari and any TIFF reader can open."""

from __future__ import annotations

import struct
import uuid
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

import numpy as np
import tifffile

from wsi_lpd.classes import TissueClass
from wsi_lpd.errors import OverlayError
from wsi_lpd.files import replacing
from wsi_lpd.overlay.frame import GridFrame
from wsi_lpd.overlay.raster.label_strips import LabelStrips, every_nth, map_size, tiles
from wsi_lpd.types import UInt8Array

_TILE_PX: Final = 512
_FORMAT: Final = "wsi-lpd mask 1"


@dataclass(frozen=True)
class Mask:
    """A label map and its metadata; None where the file states none.

    Attributes:
        label_map: uint8 (H, W).
        classes: `classes[i]` has the value i + 1.
        mpp: Micrometres per label-map pixel.
        frame: Where the label map lies on the slide.
        metadata: Provenance, as given to `write_mask`.
    """

    label_map: UInt8Array
    classes: tuple[TissueClass, ...] | None
    mpp: float | None
    frame: GridFrame | None
    metadata: Mapping[str, str]


def write_mask(
    path: Path,
    strips: LabelStrips,
    classes: Sequence[TissueClass],
    *,
    mpp: float | None,
    frame: GridFrame,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes a label map as tiled, deflate-compressed OME-TIFF with a pyramid (nearest neighbour, no blending).

    Holds one row of tiles at a time; every level of the pyramid takes one pass over the map.

    Args:
        path: Should end in `.ome.tif` or `.ome.tiff`.
        strips: Strips of the label map, uint8 (H, W) in total.
        classes: `classes[i]` has the value i + 1; names and colours go into the OME-XML.
        mpp: Micrometres per label-map pixel (PhysicalSizeX and Y); None if unknown.
        frame: Where the label map lies on the slide.
        metadata: Provenance, kept in the OME-XML.

    Raises:
        OverlayError: If the file name does not end in `.tif` or `.tiff`.
    """
    if path.suffix.lower() not in (".tif", ".tiff"):
        raise OverlayError(f"{path}: expected the name of an OME-TIFF; name it {path.stem.split('.')[0]}.ome.tif")
    height, width = map_size(strips)
    n_levels = 1 + next(k for k in range(32) if max(height, width) <= _TILE_PX << k)
    first = {"subifds": n_levels - 1, "metadata": _ome_metadata(strips, classes, mpp, frame, metadata or {})}
    big = height * width > 2**31
    with replacing(path) as temporary, tifffile.TiffWriter(temporary, bigtiff=big, ome=True) as tiff:
        for k in range(n_levels):
            tiff.write(
                tiles(every_nth(strips, 2**k), _TILE_PX),
                shape=(-(-height // 2**k), -(-width // 2**k)),
                dtype=np.uint8,
                tile=(_TILE_PX, _TILE_PX),
                compression="zlib",
                photometric="minisblack",  # with a palette, some viewers would return colours instead of class values
                resolution=None if mpp is None else (1e4 / (mpp * 2**k),) * 2,
                resolutionunit="CENTIMETER",
                **(first if k == 0 else {"subfiletype": 1}),
            )


def _ome_metadata(
    strips: LabelStrips,
    classes: Sequence[TissueClass],
    mpp: float | None,
    frame: GridFrame,
    metadata: Mapping[str, str],
) -> dict[str, Any]:
    notes = {"format": _FORMAT, **_class_notes(classes), **_frame_notes(frame)}
    notes |= {f"metadata.{key}": str(value) for key, value in metadata.items()}
    # tifffile would write a random identifier; the same mask must give the same bytes.
    identity = uuid.uuid5(uuid.NAMESPACE_OID, f"{notes} {_checksum(strips)}")
    ome = {"axes": "YX", "UUID": str(identity), "MapAnnotation": {"Namespace": _FORMAT, **notes}}
    if mpp is None:
        return ome
    return ome | {"PhysicalSizeX": mpp, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": mpp, "PhysicalSizeYUnit": "µm"}


def read_mask(path: Path) -> Mask:
    """Reads a mask written by `write_mask`, or the first page of any other one-channel uint8 TIFF.

    Raises:
        OverlayError: If the file is not a TIFF, is damaged, or is anything but one uint8 channel.
    """
    try:
        with tifffile.TiffFile(path) as tiff:
            pixels = tiff.pages.first.asarray()
            notes, mpp = _read_notes(tiff.ome_metadata)
        classes, frame = _read_classes(notes), _read_frame(notes)
    except OSError as err:
        raise OverlayError(f"{path}: cannot be read ({err.strerror or err})") from err
    except (tifffile.TiffFileError, struct.error, zlib.error, ValueError, RuntimeError, IndexError, KeyError) as err:
        raise OverlayError(f"{path}: cannot be read as a TIFF mask ({err}); expected uint8 class indices") from err
    if pixels.ndim != 2 or pixels.dtype != np.uint8:
        raise OverlayError(
            f"{path}: has {pixels.dtype} of shape {pixels.shape}; expected uint8 class indices of shape (height, width)"
        )
    return Mask(
        label_map=pixels,
        classes=classes,
        mpp=mpp,
        frame=frame,
        metadata={k.removeprefix("metadata."): v for k, v in notes.items() if k.startswith("metadata.")},
    )


def _checksum(strips: LabelStrips) -> int:
    checksum = 0
    for strip in strips:
        checksum = zlib.crc32(strip.tobytes(), checksum)
    return checksum


def _class_notes(classes: Sequence[TissueClass]) -> dict[str, str]:
    notes = {}
    for value, (name, color) in enumerate(classes, start=1):
        notes[f"class.{value}"] = name
        notes[f"color.{value}"] = ",".join(str(channel) for channel in color)
    return notes


def _frame_notes(frame: GridFrame) -> dict[str, str]:
    return {
        "downsample_x": repr(float(frame.downsample_x)),
        "downsample_y": repr(float(frame.downsample_y)),
        "offset_x_px": str(frame.offset_x),
        "offset_y_px": str(frame.offset_y),
    }


def _read_notes(ome_xml: str | None) -> tuple[dict[str, str], float | None]:
    if not ome_xml:
        return {}, None
    try:
        root = ElementTree.fromstring(ome_xml)
    except ElementTree.ParseError:
        return {}, None  # the description only resembles OME-XML: a plain mask
    notes = {element.get("K", ""): element.text or "" for element in root.iter() if element.tag.endswith("}M")}
    pixels = next((element for element in root.iter() if element.tag.endswith("}Pixels")), None)
    size = None if pixels is None else pixels.get("PhysicalSizeX")
    in_um = pixels is not None and pixels.get("PhysicalSizeXUnit", "µm") in ("µm", "um")
    return notes, float(size) if size is not None and in_um else None


def _read_classes(notes: Mapping[str, str]) -> tuple[TissueClass, ...] | None:
    classes: list[TissueClass] = []
    while (name := notes.get(f"class.{len(classes) + 1}")) is not None:
        red, green, blue = (int(v) for v in notes.get(f"color.{len(classes) + 1}", "128,128,128").split(","))
        classes.append(TissueClass(name, (red, green, blue)))
    return tuple(classes) if classes else None


def _read_frame(notes: Mapping[str, str]) -> GridFrame | None:
    if "downsample_x" not in notes:
        return None
    return GridFrame(
        downsample_x=float(notes["downsample_x"]),
        downsample_y=float(notes["downsample_y"]),
        offset_x=int(notes["offset_x_px"]),
        offset_y=int(notes["offset_y_px"]),
    )
