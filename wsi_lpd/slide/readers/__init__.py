"""How the bytes of a slide become pixels: one reader per kind of file, and the choice between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsi_lpd.lazy import lazy_names

if TYPE_CHECKING:
    from wsi_lpd.slide.readers.choose import make_reader
    from wsi_lpd.slide.readers.reader import Level, SlideReader
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "choose": ["make_reader"],
            "reader": ["Level", "SlideReader"],
        },
    )

__all__ = ["Level", "SlideReader", "make_reader"]
