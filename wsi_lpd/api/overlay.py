"""Overlays for Python: the areas of a QuPath GeoJSON file as shapely, geojson or geopandas objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsi_lpd.api.batch import own_errors
from wsi_lpd.api.options import PathLike
from wsi_lpd.errors import OptionError

if TYPE_CHECKING:
    from wsi_lpd.qupath.read import OverlayFile


@dataclass(frozen=True)
class Overlay:
    """The areas of an overlay, an annotation file or a true map.

    Coordinates are level-0 pixels, (x, y), y down, as QuPath shows the slide: with its bounds cut away where the slide
    states them.

    Attributes:
        path: The file.
        file: What it holds, as `wsi_lpd.qupath.read.load_overlay` reads it.
    """

    path: Path
    file: OverlayFile

    def __len__(self) -> int:
        """Number of areas."""
        return len(self.file.annotations)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order in which they first occur."""
        return tuple(dict.fromkeys(a.class_name for a in self.file.annotations if a.class_name is not None))

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the file says of itself: tool, slide, model, scale; empty for files of other programs."""
        return self.file.metadata

    @property
    def colors(self) -> Mapping[str, tuple[int, int, int]]:
        """RGB colour of each class that states one."""
        return self.file.colors

    def to_shapely(self) -> list[tuple[str | None, Any]]:
        """(class or None, shapely Polygon or MultiPolygon) of each area, in file order."""
        return [(a.class_name, a.geometry) for a in self.file.annotations]

    def to_geojson(self) -> Any:
        """A `geojson.FeatureCollection` (a dict) with the properties that QuPath reads: classification, name."""
        import geojson
        import shapely

        features = [
            geojson.Feature(
                geometry=geojson.GeoJSON.to_instance(shapely.geometry.mapping(a.geometry)),
                properties=self._properties(a.class_name, a.name),
            )
            for a in self.file.annotations
        ]
        return geojson.FeatureCollection(features)

    def to_geopandas(self) -> Any:
        """A GeoDataFrame with the columns `class_name`, `name` and `geometry`, and no coordinate reference system.

        Raises:
            OptionError: If geopandas is not installed.
        """
        try:
            import geopandas
        except ImportError as err:
            raise OptionError("geopandas is not installed; `pip install geopandas`, or use to_shapely()") from err
        annotations = self.file.annotations
        columns = {"class_name": [a.class_name for a in annotations], "name": [a.name for a in annotations]}
        return geopandas.GeoDataFrame(columns, geometry=[a.geometry for a in annotations])

    def _properties(self, class_name: str | None, name: str | None) -> dict[str, Any]:
        properties: dict[str, Any] = {"objectType": "annotation"}
        if class_name is not None:
            color = self.colors.get(class_name)
            properties["classification"] = {"name": class_name} | ({} if color is None else {"color": list(color)})
        return properties if name is None else {**properties, "name": name}


def read_overlay(path: PathLike) -> Overlay:
    """Reads an overlay, or any GeoJSON that QuPath exports; plain or gzip-compressed.

    Raises:
        OverlayError: If the file is no such GeoJSON; the message names the file and the feature.
    """
    from wsi_lpd.qupath.read import load_overlay

    with own_errors():
        return Overlay(Path(path), load_overlay(Path(path)))
