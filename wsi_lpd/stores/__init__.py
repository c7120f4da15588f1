"""The zarr stores on disk: patches, pseudo masks, cached feature maps."""
