"""From a slide and a model to a label map, without any label."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsi_lpd.lazy import lazy_names

if TYPE_CHECKING:
    from wsi_lpd.segmentation.cluster import SegmentTask, segment_slides
    from wsi_lpd.segmentation.job import SegmentJob
    from wsi_lpd.segmentation.outputs import Outputs, output_paths
    from wsi_lpd.segmentation.summary import SegmentSummary
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "cluster": ["SegmentTask", "segment_slides"],
            "job": ["SegmentJob"],
            "outputs": ["Outputs", "output_paths"],
            "summary": ["SegmentSummary"],
        },
    )

__all__ = ["Outputs", "SegmentJob", "SegmentSummary", "SegmentTask", "output_paths", "segment_slides"]
