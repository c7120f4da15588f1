"""GeoJSON as QuPath reads and writes it: one reader, one rule for classes, one for the frame, whoever asks.

Labels, tissue masks, evaluation and the Python interface all read files through here.
"""

__all__: list[str] = []
