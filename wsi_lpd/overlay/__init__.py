"""From a label map to polygons, QuPath GeoJSON, masks and pictures, and back."""
