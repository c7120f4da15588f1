"""Label maps as pixels: OME-TIFF masks, pictures, sieving, rasterisation."""
