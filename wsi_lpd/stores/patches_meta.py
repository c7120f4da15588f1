"""What a patch store says about itself: its attributes."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

from wsi_lpd.types import Box, Size

FORMAT_VERSION: Final = 1
FRAME = "level-0 pixels, (x, y) of the upper left corner, y down"

_LABEL_KEYS = ("label_fraction", "annotated_fraction")
"""Keys of the configuration that shape the label columns and leave the pixels alone."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SlideIdentity(_Part):
    """Which slide the patches come from; no patient identifiers."""

    name: str
    fingerprint: str
    size_px: Size
    vendor: str | None
    bounds: Box | None
    mpp: float


class StoreMeta(_Part):
    """The attributes of a patch store.

    Attributes:
        mpp: Micrometres per pixel of the patches.
        mpp_source: Where the slide's own mpp came from.
        patch_px: Side of a patch in its own pixels.
        patch_level0_px: Side of a patch in level-0 px: the field at `coords`.
        stride_px: Distance of two patches, in patch pixels.
        level: The pyramid level that was read.
        config: The whole resolved `tile` section.
        tissue_mask: Fingerprint of the hand-made tissue mask, if one was used.
        versions: Of this package and of what decoded, scaled and stored the pixels.
    """

    format: Literal["wsi-lpd patches"] = "wsi-lpd patches"
    format_version: Literal[1] = FORMAT_VERSION
    slide: SlideIdentity
    mpp: float
    mpp_source: str
    patch_px: int
    patch_level0_px: int
    stride_px: int
    level: int
    frame: str = FRAME
    config: dict[str, Any]
    tissue_mask: str | None
    versions: dict[str, str]

    def same_patches(self, other: StoreMeta) -> bool:
        """Whether both describe the same patches: slide, scale and settings; versions may differ."""
        return self._what_matters() == other._what_matters()

    def same_fields(self, other: StoreMeta) -> bool:
        """Whether a patch at the same x, y shows the same field of the same slide in both."""
        mine, theirs = ((m.slide.fingerprint, m.patch_level0_px, m.patch_px, m.slide.mpp, m.mpp) for m in (self, other))
        return mine == theirs

    def differences(self, other: StoreMeta) -> list[str]:
        """One `key: this one's value, not the other's` per setting that differs."""
        mine, theirs = self._what_matters(), other._what_matters()
        return [f"{key}: {mine[key]}, not {theirs.get(key)}" for key in mine if mine[key] != theirs.get(key)]

    def _what_matters(self) -> dict[str, Any]:
        tree = self.model_dump(mode="json", exclude={"versions"})
        config = dict(tree.pop("config"))
        for key in _LABEL_KEYS:
            config.pop(key, None)
        # The mask counts by its content; its path may be written in several ways.
        tissue = dict(config.pop("tissue", {}))
        tissue.pop("mask", None)
        slide = tree.pop("slide")
        return {
            **{f"slide.{key}": value for key, value in slide.items()},
            **{f"tile.{key}": value for key, value in config.items()},
            **{f"tile.tissue.{key}": value for key, value in tissue.items()},
            **tree,
        }
