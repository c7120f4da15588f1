"""What became of a slide that was segmented."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from wsi_lpd.segmentation.outputs import Outputs


@dataclass(frozen=True)
class SegmentSummary:
    """What became of one slide."""

    slide: str
    overlay: str
    n_regions: int
    area_mm2: dict[str, float]
    """Area of each class on the label map."""
    n_windows: int
    seconds: dict[str, float]
    was_finished: bool = False

    def text(self) -> str:
        """One line for people."""
        if self.was_finished:
            return f"{self.overlay}: is there already; --overwrite redoes it"
        areas = ", ".join(f"{name} {area:.2f}" for name, area in self.area_mm2.items())
        return f"{self.overlay}: {self.n_regions} regions in {sum(self.seconds.values()):.1f} s; mm2: {areas}"

    def as_dict(self) -> dict[str, object]:
        """The summary as plain values for JSON."""
        return asdict(self)


def finished_before(location: str, outputs: Outputs) -> SegmentSummary:
    """Of a slide whose files were there."""
    return SegmentSummary(location, str(outputs.overlay), 0, {}, 0, {}, was_finished=True)
