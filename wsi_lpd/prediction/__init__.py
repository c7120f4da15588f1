"""The maps a model predicts for an image: windows, views, refinement, stitching."""
