"""Opens slides and reads their pixels; independent of any neural network."""

from wsi_lpd.slide.slide import Slide, open_slide, slide_name
from wsi_lpd.slide.tissue.mask import NotBrightFieldError, TissueMask, find_tissue

__all__ = ["NotBrightFieldError", "Slide", "TissueMask", "find_tissue", "open_slide", "slide_name"]
