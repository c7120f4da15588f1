"""From a label map to what a person looks at: exact polygons, QuPath GeoJSON, masks, previews.

Import from the modules: `trace`, `frame`, `sieve`, `simplify`, `measure`, `geojson`, `check`, `read`, `rasterize`,
`mask`, `draw`. The room needs numpy, scipy and shapely; only `mask` and `draw` need image libraries.
"""
