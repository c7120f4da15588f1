"""A model looks at one image of tissue, such as a patch of a data set: maps come out, and no label goes in."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

from wsi_lpd.config import SegmentConfig
from wsi_lpd.prediction.batches import predict_batch
from wsi_lpd.prediction.passes import windows_per_pass
from wsi_lpd.prediction.predictor import Predictor
from wsi_lpd.prediction.stitch import stitched
from wsi_lpd.prediction.windows import Place, WindowGrid, in_batches, mirrored, stride_for
from wsi_lpd.types import Float32Array, UInt8Array


@dataclass(frozen=True)
class ImageMaps:
    """What a model says of an image, at the image's own pixels.

    Attributes:
        logits: (C + 1, H, W), the background's first.
        presence: (C, H, W), calibrated probability that the class occurs nearby.
    """

    logits: Float32Array
    presence: Float32Array

    @property
    def image_presence(self) -> Float32Array:
        """(C,) probability that a class occurs in the image: where it is likeliest."""
        highest: Float32Array = self.presence.max(axis=(1, 2))
        return highest


def predict_image(pixels: UInt8Array, predictor: Predictor, config: SegmentConfig) -> ImageMaps:
    """Looks at an image in overlapping windows and stitches what the network says.

    An image no larger than a training patch is looked at as one patch, a larger one in the windows that suit the
    model. Past its edges windows show the image mirrored, as `segment` does.

    Args:
        pixels: RGB (H, W, 3) at the model's mpp.
        predictor: The model.
        config: Overlap, windows per forward pass, views, refinement; and the window's side, if it is not to be chosen.
    """
    height, width = pixels.shape[:2]
    side = _window_px(height, width, predictor) if config.window_px is None else config.window_px
    step = stride_for(side, config.overlap, cell_px=predictor.cell_px)
    grid = WindowGrid(width_px=width, height_px=height, window_px=side, stride_px=step, scale=1.0)
    left, top = grid.columns[0], grid.rows[0]
    whole = _mirrored(pixels, grid)

    def cut(place: Place, into: UInt8Array) -> None:
        into[:] = whole[place.top - top :, place.left - left :][:side, :side]

    places = [Place(x, y) for y in grid.rows for x in grid.columns]
    size = windows_per_pass(config.batch_size, predictor.device, window_px=side)
    batches = in_batches(places, size, window_px=side, cut=cut)
    windows = chain.from_iterable(predict_batch(batch, predictor, config, stride=1) for batch in batches)
    n_classes = len(predictor.card.classes)
    (rows,) = stitched(windows, [(0, height)], n_classes=n_classes, width=width, side=side)
    return ImageMaps(rows.logits, rows.presence)


def _window_px(height: int, width: int, predictor: Predictor) -> int:
    patch_px: int = predictor.card.patch_px
    return patch_px if max(height, width) <= patch_px else predictor.window_px


def _mirrored(pixels: UInt8Array, grid: WindowGrid) -> UInt8Array:
    """The image, mirrored past its edges as far as windows reach."""
    rows = mirrored(grid.rows[0], grid.rows[-1] + grid.window_px - grid.rows[0], grid.height_px)
    columns = mirrored(grid.columns[0], grid.columns[-1] + grid.window_px - grid.columns[0], grid.width_px)
    return pixels[rows[:, None], columns[None]]
