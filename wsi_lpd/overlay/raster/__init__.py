"""Label maps as rasters: OME-TIFF masks, pictures, sieving, rasterisation."""
