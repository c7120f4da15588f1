"""Writing a patch store: in a `.partial` folder beside its place, by one process or several, renamed when complete."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from wsi_lpd.errors import StoreError
from wsi_lpd.files import remove
from wsi_lpd.stores.arrays import Group, ShardWriter, create_group, create_items, write_array
from wsi_lpd.stores.patches import partial_path, read_meta
from wsi_lpd.stores.patches_meta import StoreMeta
from wsi_lpd.stores.sizes import METADATA, patches_per_shard
from wsi_lpd.types import Float32Array, Int64Array, UInt8Array


class StoreWriter:
    """Builds a store in its `.partial` folder, shard after shard, and puts it in place when complete.

    Shards that an interrupted run has left are kept wherever they lie. The caller, or whom it works for, holds the lock
    of the store.

    Args:
        path: Where the finished store will be.
        meta: Its attributes.
        coords: Corners of all its patches in level-0 px, (N, 2).
        tissue: Their tissue fractions, (N,).
        block: None for a writer that may begin anew and that finishes the store. Else the only shards to write: the
            `.partial` folder must have been begun, and others may be writing other shards into it.

    Attributes:
        missing: Shards that are not there yet, ascending.
        fresh: Why an unfinished store was thrown away, or None.

    Raises:
        StoreError: If there is a `block`, and what has been begun is not this store.
    """

    def __init__(
        self, path: Path, *, meta: StoreMeta, coords: Int64Array, tissue: Float32Array, block: range | None = None
    ) -> None:
        self.path = path
        self.partial = partial_path(path)
        self.n_patches = len(coords)
        self.shard_patches = patches_per_shard(meta.patch_px)
        self.fresh: str | None = None
        is_new = False
        if block is not None:
            different = _cannot_resume(self.partial, meta, coords, tissue)
            if different is not None:
                raise StoreError(self._cannot_join(different))
        else:
            if self.partial.exists():
                self.fresh = _cannot_resume(self.partial, meta, coords, tissue)
            is_new = self.fresh is not None or not self.partial.exists()
            if is_new:
                remove(self.partial)
                _create(self.partial, meta, coords, tissue)
        self._identity = self._found_identity()
        self._shards = ShardWriter(self.partial, "patches", is_ours=lambda: self._found_identity() == self._identity)
        shards = range(self.n_shards) if block is None else block
        self.missing = [i for i in shards if is_new or not self._shards.is_there(i)]
        if block is None and not is_new:
            self._shards.keep_only(sorted(set(shards).difference(self.missing)))
            _remove_temporary(self.partial)
        self._next = self.missing[0] if self.missing else self.n_shards
        self._buffer: list[UInt8Array] = []

    @property
    def n_shards(self) -> int:
        """Shards of the complete store."""
        return -(-self.n_patches // self.shard_patches)

    @property
    def n_done(self) -> int:
        """Patches of all shards but those that are missing."""
        return self.n_patches - sum(len(self.patches_of(range(i, i + 1))) for i in self.missing)

    def patches_of(self, shards: range) -> range:
        """The patches in consecutive shards."""
        return range(shards.start * self.shard_patches, min(shards.stop * self.shard_patches, self.n_patches))

    def go_to(self, shard: int) -> None:
        """The first patch of this shard is the next to append; at first it is that of the first missing one."""
        self._next = shard
        self._buffer.clear()

    def append(self, patches: UInt8Array) -> None:
        """Adds the next patches, (n, S, S, 3); every full shard is written at once.

        Raises:
            StoreError: If another run has begun another store in its place.
        """
        for patch in patches:
            self._buffer.append(patch)
            if len(self._buffer) == len(self.patches_of(range(self._next, self._next + 1))):
                self._write_shard()

    def finish(self) -> None:
        """Puts the complete store in place; an old one there stays until this moment."""
        if self.missing:
            raise StoreError(f"{self.partial}: {self.n_done} of {self.n_patches} patches are written; not complete")
        put_in_place(self.partial, self.path)
        _remove_temporary(self.path)  # of a task that nobody waits for; behind the rename none can come any more

    def _write_shard(self) -> None:
        try:
            self._shards.write(self._next, np.stack(self._buffer))
        except StoreError as err:
            raise StoreError(self._cannot_join("another run has started it over")) from err
        self.missing = [i for i in self.missing if i != self._next]
        self.go_to(self._next + 1)

    def _found_identity(self) -> bytes | None:
        """The bytes that tell the store from any other, or None where there is none."""
        try:
            return (self.partial / METADATA).read_bytes()
        except OSError:
            return None

    def _cannot_join(self, reason: str) -> str:
        return (
            f"{self.partial}: is not the store that is to be written ({reason}); a second run is at it, or the workers "
            "are not of one kind. Run the command again"
        )


def _create(path: Path, meta: StoreMeta, coords: Int64Array, tissue: Float32Array) -> None:
    """Writes a store without a single patch; its attributes come last."""
    write_array(path, "coords", coords, dimension_names=("patch", "xy"))
    write_array(path, "tissue", tissue, dimension_names=("patch",))
    create_items(
        path,
        "patches",
        (len(coords), meta.patch_px, meta.patch_px, 3),
        "uint8",
        per_shard=patches_per_shard(meta.patch_px),
        fill_value=255,
        dimension_names=("patch", "y", "x", "rgb"),
    )
    create_group(path, meta.model_dump(mode="json"))


def put_in_place(partial: Path, path: Path) -> None:
    """Renames a complete store to its place. The old one is set aside first and removed last."""
    old = _old_path(path)
    remove(old)
    if path.exists():
        path.rename(old)
    partial.rename(path)
    remove(old)


def refuse_foreign(path: Path) -> None:
    """Keeps `--overwrite` from removing what is no patch store: a damaged one may be replaced, data of others not.

    Raises:
        StoreError: If `path` is something else.
    """
    try:
        read_meta(path)
    except StoreError as err:
        if not (path / "patches" / METADATA).is_file():
            raise StoreError(f"{path}: exists and is not a patch store; move it, or choose another --out") from err


def recover(path: Path) -> None:
    """Mends what a kill inside `put_in_place` leaves: puts a set-aside store back, or removes it."""
    old = _old_path(path)
    if old.exists() and not path.exists():
        old.rename(path)
    remove(old)


def _old_path(path: Path) -> Path:
    return path.with_name(path.name + ".old")


def _cannot_resume(partial: Path, meta: StoreMeta, coords: Int64Array, tissue: Float32Array) -> str | None:
    """Why the unfinished store does not fit this run, or None if it does."""
    try:
        found = read_meta(partial)
        group = Group(partial)
        arrays = [group.items(name).read_all() for name in ("coords", "tissue")]
    except StoreError:
        return "it is incomplete from its first step"
    if found != meta:
        return "; ".join(found.differences(meta)) or "it was started by other versions of the software"
    if not np.array_equal(arrays[0], coords) or not np.array_equal(arrays[1], tissue):
        return "it holds other patches"
    return None


def _remove_temporary(folder: Path) -> None:
    for leftover in folder.glob(".*"):
        remove(leftover)
