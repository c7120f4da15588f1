"""What the prototypes of a model have learnt, as numbers and pictures; nothing here trains."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsi_lpd.lazy import lazy_names

if TYPE_CHECKING:
    from wsi_lpd.prototypes.findings import ClassFindings, Findings
    from wsi_lpd.prototypes.report import find_prototypes, write_findings
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "findings": ["ClassFindings", "Findings"],
            "report": ["find_prototypes", "write_findings"],
        },
    )

__all__ = ["ClassFindings", "Findings", "find_prototypes", "write_findings"]
