"""From a label map to its outputs: exact polygons, QuPath GeoJSON, masks, pictures.

Import from the modules. A map that comes in strips: `strips`, `label_strips`, `sieve`, `stream` (the whole way to the
file), `outlines`, `budget`; `trace` traces each strip, `joined` joins its regions to those above (with `seam` and
`rings`). A map at hand: `trace`, `frame`, `simplify` (with `outline_rings` and `visvalingam`), `measure`, `geojson`.
And `check`, `read`, `rasterize`, `mask`, `draw`.
The room needs numpy, scipy and shapely; only `mask` and `draw` need image libraries.
"""
