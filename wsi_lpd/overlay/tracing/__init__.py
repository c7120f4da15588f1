"""Label map to exact polygons that share their borders."""
