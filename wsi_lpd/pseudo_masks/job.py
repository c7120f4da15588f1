"""The job of `pseudo-mask`: from labelled patches and a trained model to a folder of masks."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from wsi_lpd.classes import qupath_classes
from wsi_lpd.config import MasksConfig
from wsi_lpd.errors import LabelError, StoreError
from wsi_lpd.labels.sources import LabelTable, read_patches
from wsi_lpd.labels.surroundings import read_surrounded
from wsi_lpd.lock import locked
from wsi_lpd.memory import keep_freed_blocks
from wsi_lpd.models.device import choose_device
from wsi_lpd.progress import SILENT, Progress
from wsi_lpd.pseudo_masks.maker import MaskMaker
from wsi_lpd.pseudo_masks.picture import choose_examples, draw_masks, write_png
from wsi_lpd.stores.masks import ARRAY, PICTURE, MaskRow, MaskStore
from wsi_lpd.stores.masks_meta import MasksMeta, read_masks_meta
from wsi_lpd.stores.masks_writer import MaskWriter
from wsi_lpd.stores.patches_writer import recover
from wsi_lpd.stores.sizes import METADATA
from wsi_lpd.types import UInt8Array
from wsi_lpd.versions import versions_of

logger = logging.getLogger(__name__)

_VERSIONED = ("imagecodecs", "numpy", "timm", "torch")
_WITHOUT_CONSEQUENCE = {"batch_size"}
"""Changes masks only by rounding: after "out of memory", a run with smaller batches resumes the one with larger."""


@dataclass(frozen=True)
class MaskSummary:
    """What the masks hold.

    Attributes:
        path: Their folder.
        n_patches: Patches.
        judged: Share of all pixels that are not ignored.
        shares: Share of the judged pixels by class, and of `background`.
        judged_where_present: By class: share of pixels not ignored, over the patches that hold the class.
        was_finished: Whether the masks existed already.
    """

    path: Path
    n_patches: int
    judged: float
    shares: dict[str, float]
    judged_where_present: dict[str, float]
    was_finished: bool

    def describe(self) -> list[str]:
        """A line on all masks, and one per class, for the terminal."""
        first = f"{self.path}: {self.n_patches:,} patches, {self.judged:.1%} of their pixels judged, the rest ignored"
        width = max(map(len, self.shares))
        lines = [f"  {name:<{width}}  {share:6.1%} of the judged pixels" for name, share in self.shares.items()]
        return [first, *lines]


def make_masks(
    table: LabelTable,
    run: Path,
    out: Path,
    config: MasksConfig,
    *,
    device: str = "auto",
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> MaskSummary:
    """Makes the pseudo masks of labelled patches; the same call resumes after an interruption, with the same bytes.

    Args:
        table: Labelled patches, with the classes of the model in its order.
        run: The run folder of the model.
        out: The folder to write.
        config: Settings.
        device: Where the network runs.
        overwrite: Whether to replace existing masks.
        progress: Advances by patches.

    Raises:
        ModelError: If the model cannot be used.
        LabelError: If the patches are not of the size or scale of the model.
        StoreError: If `out` holds other masks, or something else.
        BusyError: If another process is writing them.
    """
    chosen = choose_device(device)
    if chosen.type == "cpu":
        keep_freed_blocks()
    maker = MaskMaker.load(run, config, chosen)
    _check_patches(table, maker)
    meta = _meta(table, maker, run, config)
    with locked(out) as renew:
        recover(out)
        if _is_there(out, meta, overwrite=overwrite):
            store = MaskStore.open(out)
            return _summary(out, store.rows, table, was_finished=True)
        writer = MaskWriter(out, meta, table.sources)
        if writer.resumed:
            logger.info("%s: resuming, %d shards are missing", out, len(writer.missing))
        with progress.stage("masks", len(table), "patches") as advance:
            advance(len(table) - sum(len(writer.patches_of(shard)) for shard in writer.missing))
            for shard in list(writer.missing):
                writer.write(shard, _masks_of(maker, table, writer.patches_of(shard)))
                advance(len(writer.patches_of(shard)))
                renew()
        rows = writer.write_table()
        _draw(writer.partial, table, maker)
        writer.finish()
        return _summary(out, rows, table, was_finished=False)


def _masks_of(maker: MaskMaker, table: LabelTable, rows: Sequence[int]) -> UInt8Array:
    assert table.patch_px is not None
    margin_px, count = maker.margin_px(table.patch_px), maker.patches_per_pass(table.patch_px)
    parts = []
    for start in range(0, len(rows), count):
        batch = list(rows[start : start + count])
        windows = read_surrounded(table, batch, margin_px)
        parts.append(maker.masks(windows, torch.from_numpy(table.labels[batch]), margin_px=margin_px))
    return np.concatenate(parts)


def _draw(folder: Path, table: LabelTable, maker: MaskMaker) -> None:
    chosen = choose_examples(table)
    picture = draw_masks(read_patches(table, chosen), _masks_of(maker, table, chosen), qupath_classes(table.classes))
    write_png(folder / PICTURE, picture)


def _check_patches(table: LabelTable, maker: MaskMaker) -> None:
    card = maker.card
    if table.patch_px is None:
        raise LabelError("the labels give no patch size; label the patches of a store, or images of one size")
    if table.mpp is not None and abs(table.mpp / card.mpp - 1) > 0.01:
        raise LabelError(
            f"the patches have {table.mpp:g} um per pixel, the model was trained at {card.mpp:g}; use the patches "
            "that it was trained on"
        )


def _meta(table: LabelTable, maker: MaskMaker, run: Path, config: MasksConfig) -> MasksMeta:
    card, weights = maker.card, maker.weights
    assert table.patch_px is not None
    names = ("mask",) if len(weights) == 1 else tuple(f"mask {i}" for i in range(1, len(weights) + 1))
    return MasksMeta(
        classes=table.classes,
        patch_px=table.patch_px,
        weights=weights,
        layers=(*names, "confidence"),
        model=run.resolve().name,
        model_sha256=str(card.weights_sha256),
        method=card.method,
        settings=config.model_dump(mode="json", exclude=_WITHOUT_CONSEQUENCE),
        patches=table.fingerprint,
        versions=versions_of(_VERSIONED),
    )


def _is_there(out: Path, meta: MasksMeta, *, overwrite: bool) -> bool:
    """Whether `out` holds these masks; False where it is empty, or where other masks are to be replaced."""
    if not out.exists():
        return False
    if not (out / ARRAY / METADATA).is_file():
        raise StoreError(f"{out}: exists and is not a folder of masks; move it, or choose another --out")
    if overwrite:
        return False
    found = read_masks_meta(out)
    differs = [line for line in meta.differences(found) if not line.startswith("versions")]
    if differs:
        raise StoreError(
            f"{out}: holds other masks ({differs[0]}{' and more' if len(differs) > 1 else ''}); choose another --out, "
            "or replace them with --overwrite"
        )
    return True


def _summary(out: Path, rows: Sequence[MaskRow], table: LabelTable, *, was_finished: bool) -> MaskSummary:
    shares = np.array([row.shares for row in rows])
    judged = np.array([row.judged for row in rows])
    total = max(shares.sum(), 1e-12)
    names = ("background", *table.classes)
    return MaskSummary(
        out,
        len(rows),
        float(judged.mean()),
        {name: float(share) for name, share in zip(names, shares.sum(axis=0) / total, strict=True)},
        {
            name: float(judged[table.labels[:, i] == 1].mean()) if (table.labels[:, i] == 1).any() else 0.0
            for i, name in enumerate(table.classes)
        },
        was_finished,
    )
