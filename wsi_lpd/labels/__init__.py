"""The label table: CSV files, folders of images and QuPath annotations, read into one table of patches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsi_lpd.lazy import lazy_names

if TYPE_CHECKING:
    from wsi_lpd.labels.annotations import find_annotations, label_patches
    from wsi_lpd.labels.patches_csv import CsvReport, StoreRows, write_patches_csv
    from wsi_lpd.labels.sources import class_balance, read_labels, read_patches, read_truth_masks
    from wsi_lpd.labels.table import LabelTable, MaskSource, PatchSource
    from wsi_lpd.labels.unlabelled import read_unlabelled
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "annotations": ["find_annotations", "label_patches"],
            "patches_csv": ["CsvReport", "StoreRows", "write_patches_csv"],
            "sources": ["class_balance", "read_labels", "read_patches", "read_truth_masks"],
            "table": ["LabelTable", "MaskSource", "PatchSource"],
            "unlabelled": ["read_unlabelled"],
        },
    )

__all__ = [
    "CsvReport",
    "LabelTable",
    "MaskSource",
    "PatchSource",
    "StoreRows",
    "class_balance",
    "find_annotations",
    "label_patches",
    "read_labels",
    "read_patches",
    "read_truth_masks",
    "read_unlabelled",
    "write_patches_csv",
]
