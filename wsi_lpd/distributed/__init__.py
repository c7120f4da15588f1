"""Many slides on many processes or machines, through Dask; nothing here knows what is done with a slide."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsi_lpd.lazy import lazy_names

if TYPE_CHECKING:
    from wsi_lpd.distributed.blocks import BlockWork, outcomes_in_blocks
    from wsi_lpd.distributed.cluster import ClusterChoice, connected
    from wsi_lpd.distributed.slides import SlideItem
    from wsi_lpd.distributed.tasks import Outcome
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "blocks": ["BlockWork", "outcomes_in_blocks"],
            "cluster": ["ClusterChoice", "connected"],
            "slides": ["SlideItem"],
            "tasks": ["Outcome"],
        },
    )

__all__ = ["BlockWork", "ClusterChoice", "Outcome", "SlideItem", "connected", "outcomes_in_blocks"]
