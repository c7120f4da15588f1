"""What a folder of pseudo masks says about itself: its attributes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from wsi_lpd.errors import StoreError
from wsi_lpd.stores.arrays import Group
from wsi_lpd.stores.sizes import METADATA

FORMAT_VERSION: Final = 1
ANEW: Final = "make the masks again with `wsi-lpd pseudo-mask --overwrite`"

_FORMAT: Final = "wsi-lpd masks"


class MasksMeta(BaseModel):
    """The attributes of a folder of masks.

    Attributes:
        classes: As the label file names them.
        patch_px: Side of a patch.
        weights: Weight of each of the M masks in the loss.
        layers: Names of the M + 1 layers.
        model: Name of the run that they were made with.
        model_sha256: Of its weights.
        method: Its method.
        settings: What decides of the section `masks` of the configuration.
        patches: Hash of labels and places of the patches.
        versions: Of what decided the bits.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["wsi-lpd masks"] = _FORMAT
    format_version: Literal[1] = FORMAT_VERSION
    classes: tuple[str, ...]
    patch_px: int = Field(gt=0)
    weights: tuple[float, ...] = Field(min_length=1)
    layers: tuple[str, ...]
    model: str
    model_sha256: str
    method: str
    settings: dict[str, Any]
    patches: str
    versions: dict[str, str]

    @model_validator(mode="after")
    def _a_name_per_layer(self) -> MasksMeta:
        if len(self.layers) != len(self.weights) + 1:
            raise ValueError(f"layers has {len(self.layers)} names for {len(self.weights)} masks and their confidence")
        return self

    def differences(self, other: MasksMeta) -> list[str]:
        """`key: this one's value, not the other's` of all that differs."""
        mine, theirs = self.model_dump(mode="json"), other.model_dump(mode="json")
        return [f"{key}: {mine[key]}, not {theirs[key]}" for key in mine if mine[key] != theirs[key]]


def read_masks_meta(path: Path) -> MasksMeta:
    """The attributes of masks, finished or not.

    Raises:
        StoreError: If there are none, or of a version that this program does not read.
    """
    if not (path / METADATA).is_file():
        raise StoreError(f"{path}: holds no masks ({METADATA} is missing); make them with `wsi-lpd pseudo-mask`")
    try:
        attributes = Group(path).attributes
        version = attributes["format_version"] if attributes["format"] == _FORMAT else None
    except (StoreError, KeyError):
        version = None
    if version is None:
        raise StoreError(f"{path}: is no folder of masks of wsi-lpd; make one with `wsi-lpd pseudo-mask`")
    if version != FORMAT_VERSION:
        raise StoreError(f"{path}: has format version {version}, this program reads {FORMAT_VERSION}; {ANEW}")
    try:
        return MasksMeta.model_validate(attributes)
    except ValidationError as err:
        keys = ", ".join(".".join(map(str, problem["loc"])) or str(problem["msg"]) for problem in err.errors())
        raise StoreError(f"{path}: its attributes are damaged ({keys}); {ANEW}") from err
