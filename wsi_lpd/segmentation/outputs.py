"""Which files `segment` writes for each slide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wsi_lpd.errors import OverlayError

_OVERLAY_ENDINGS = (".geojson", ".geojson.gz", ".json")


@dataclass(frozen=True)
class Outputs:
    """Files to write for one slide."""

    overlay: Path
    mask: Path | None = None
    picture: Path | None = None

    def all(self) -> list[Path]:
        """Every file that is asked for."""
        return [path for path in (self.overlay, self.mask, self.picture) if path is not None]

    @property
    def are_there(self) -> bool:
        """Whether all of them exist."""
        return all(path.exists() for path in self.all())

    @property
    def are_finished(self) -> bool:
        """Whether all of them exist and nobody has begun to make them anew."""
        return self.are_there and not self.working_folder.exists()

    @property
    def working_folder(self) -> Path:
        """Where finished strips are kept until the files are written."""
        return self.overlay.with_name(f"{self.overlay.name}.partial")


def output_paths(
    slides: Sequence[str], out: Path, *, mask: Path | None = None, picture: Path | None = None
) -> dict[str, Outputs]:
    """Which files each slide gets: `out` itself for one slide, `<slide>.geojson` in the folder `out` for several.

    Raises:
        OverlayError: If several slides would share a file, or a name has an ending that nobody reads.
    """
    is_file = out.name.lower().endswith(_OVERLAY_ENDINGS)
    if is_file and len(slides) > 1:
        raise OverlayError(f"--out {out}: is one file for {len(slides)} slides; name a folder")
    if not is_file and out.suffix and not out.is_dir():
        raise OverlayError(f"--out {out}: QuPath opens {', '.join(_OVERLAY_ENDINGS)}; name such a file, or a folder")
    if (mask is not None or picture is not None) and len(slides) > 1:
        raise OverlayError("--mask and --picture name one file each; give one slide at a time")
    if is_file:
        return {slides[0]: Outputs(out, mask, picture)}
    targets: dict[str, Outputs] = {}
    for slide in slides:
        overlay = out / f"{Path(slide).stem}.geojson"
        if any(overlay == other.overlay for other in targets.values()):
            raise OverlayError(
                f"{slide}: another slide of the call has the name {Path(slide).stem}; give one at a time"
            )
        targets[slide] = Outputs(overlay, mask, picture)
    return targets
