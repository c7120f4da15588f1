"""TIAToolbox's export of a label map to QuPath JSON, in its own environment.

python -m benchmarks.peers.map_tiatoolbox MAP.npy OUT.json
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
from tiatoolbox.utils.misc import dict_to_store_semantic_segmentor


def main() -> None:
    """Prints one line of JSON."""
    labels = np.load(sys.argv[1])
    names = {label: f"Class {label}" for label in range(int(labels.max()) + 1)}
    started = time.perf_counter()
    dict_to_store_semantic_segmentor(
        patch_output={"predictions": labels},
        scale_factor=(1.0, 1.0),
        output_type="qupath",
        class_dict=names,
        save_path=Path(sys.argv[2]),
        ignore_index=0,
        verbose=False,
    )
    print(json.dumps({"loop_s": time.perf_counter() - started}))


if __name__ == "__main__":
    main()
