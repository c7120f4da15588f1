"""What the samples of a picture mean, and the RGB they stand for: one rule for slides, patches and masks.

Source: TIFF 6.0 (PhotometricInterpretation, ExtraSamples, ColorMap). Depth is brought to 8 bits as libtiff does, so
that a file looks the same whichever reader opens it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from wsi_lpd.errors import ImageError
from wsi_lpd.types import AnyArray, UInt8Array, UInt16Array

MIN_IS_WHITE: Final = 0
MIN_IS_BLACK: Final = 1
RGB: Final = 2
PALETTE: Final = 3
YCBCR: Final = 6
_SUPPORTED: Final = (MIN_IS_WHITE, MIN_IS_BLACK, RGB, PALETTE, YCBCR)
_REFUSED: Final = {
    4: "a transparency mask", 5: "CMYK inks (separated)", 8: "CIELAB", 9: "ICCLAB", 10: "ITULAB",
    32803: "a colour filter array", 32844: "LogL", 32845: "LogLuv", 34892: "linear raw", 51177: "depth",
}  # fmt: skip
_ALPHA: Final = (1, 2)
"""ExtraSamples: associated and unassociated alpha."""
_UNSPECIFIED: Final = 0
_DECODED_TO_RGB: Final = (6, 7, 33003, 33005, 34712, 34892, 50001, 50002, 52546)
"""Compressions whose decoders turn YCbCr into RGB: JPEG, JPEG 2000, WebP, JPEG XL."""
_ADVICE: Final = "export it as 8-bit RGB"


@dataclass(frozen=True)
class Coding:
    """How samples stand for colour.

    Attributes:
        photometric: TIFF's PhotometricInterpretation.
        has_alpha: Whether the last sample is opacity.
        colour_map: (3, n) of a palette, 16 bits, or None.
    """

    photometric: int
    has_alpha: bool = False
    colour_map: UInt16Array | None = None

    def rgb(self, pixels: AnyArray, *, background: tuple[int, int, int] = (255, 255, 255)) -> UInt8Array:
        """The picture as RGB (H, W, 3), composited on `background` where it is transparent.

        Args:
            pixels: (H, W) or (H, W, samples), of 1, 8 or 16 bits.
            background: RGB.
        """
        planes = pixels.reshape(*pixels.shape[:2], -1)
        if self.photometric == PALETTE and self.colour_map is not None:
            entries = np.minimum(planes[..., 0], self.colour_map.shape[1] - 1)
            colour = eight_bits(self.colour_map).T[entries]
        else:
            colour = eight_bits(planes)
            colour = colour[..., :3] if colour.shape[2] >= 3 else np.repeat(colour[..., :1], 3, axis=2)
        if self.photometric == MIN_IS_WHITE:
            colour = 255 - colour
        if not self.has_alpha:
            return np.array(colour, order="C")
        return composited(colour, eight_bits(planes[..., -1]), background)


def eight_bits(samples: AnyArray) -> UInt8Array:
    """Samples of 1, 8 or 16 bits over their whole range as 8 bits, rounded."""
    if samples.dtype == np.uint8:
        return samples.astype(np.uint8, copy=False)
    if samples.dtype == np.bool_:
        return samples.astype(np.uint8) * np.uint8(255)
    return ((samples.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)


def composited(colour: UInt8Array, alpha: UInt8Array, background: tuple[int, int, int]) -> UInt8Array:
    """Colours (H, W, 3) of opacity `alpha` (H, W) on a background."""
    share = alpha[..., None].astype(np.float32) / 255
    return np.rint(colour * share + np.array(background, np.float32) * (1 - share)).astype(np.uint8)


def coding_of(page: Any) -> Coding:
    """The coding of a TIFF page.

    Args:
        page: A tifffile.TiffPage.

    Raises:
        ImageError: If it is none of grey, palette, RGB or YCbCr with 1, 8 or 16 bits per sample; the message names
            what it is.
    """
    photometric, samples = int(page.photometric), int(page.samplesperpixel)
    if photometric not in _SUPPORTED:
        name = _REFUSED.get(photometric, f"photometric interpretation {photometric}")
        raise ImageError(f"holds {name}, expected RGB, grey or a palette; {_ADVICE}")
    if photometric == YCBCR and int(page.compression) not in _DECODED_TO_RGB:
        raise ImageError(f"holds YCbCr samples without JPEG compression, expected RGB; {_ADVICE}")
    _check_depth(page)
    extra = tuple(int(kind) for kind in page.extrasamples)
    n_colours = 3 if photometric in (RGB, YCBCR) else 1
    if samples not in (n_colours, n_colours + 1):
        raise _too_many(samples)
    # libtiff takes a fourth sample of RGB that says nothing for opacity, and so does everybody.
    is_alpha = extra[-1:] and (extra[-1] in _ALPHA or (n_colours == 3 and extra[-1] == _UNSPECIFIED))
    if samples > n_colours and not is_alpha:
        raise _too_many(samples)
    colour_map = page.colormap if photometric == PALETTE else None
    if photometric == PALETTE and colour_map is None:
        raise ImageError(f"has a palette without colours, expected a ColorMap; {_ADVICE}")
    return Coding(photometric, samples > n_colours, colour_map)


def _too_many(channels: int) -> ImageError:
    return ImageError(f"holds {channels} channels, expected RGB or grey; export the bright-field picture as 8-bit RGB")


def _check_depth(page: Any) -> None:
    kind, bits = np.dtype(page.dtype).kind if page.dtype is not None else "?", page.bitspersample
    if kind not in "ub" or bits not in (1, 8, 16):
        name = {"f": "floating-point", "i": "signed", "c": "complex"}.get(kind, "unsigned")
        raise ImageError(f"holds {name} samples of {bits} bits, expected 8 or 16 unsigned bits; {_ADVICE}")
