"""TIAToolbox's SemanticSegmentor with our network, in its own environment (our package is on PYTHONPATH).

python -m benchmarks.peers.segment_tiatoolbox RUN SLIDE OUT STEP_PX BATCH zarr|qupath
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tiatoolbox.models.engine.io_config import IOSegmentorConfig
from tiatoolbox.models.engine.semantic_segmentor import SemanticSegmentor
from tiatoolbox.models.models_abc import ModelABC

from wsi_lpd.models.saved.load import load_network


class OurNetwork(ModelABC):  # type: ignore[misc]
    """The network of a run, with probabilities at the size of the window."""

    def __init__(self, run: Path) -> None:
        super().__init__()
        self.network, self.card = load_network(run)
        self.class_dict = dict(enumerate(["Background", *(c.name for c in self.card.classes)]))
        self.n_windows = 0

    def forward(self, images: Any) -> Any:
        """Probabilities (B, H, W, C + 1) of windows (B, 3, H, W) in [0, 1]."""
        output = self.network(images)
        logits = self.network.map_logits(output, torch.ones(len(images), len(self.card.classes)))
        large = torch.nn.functional.interpolate(logits, size=images.shape[-2:], mode="bilinear", align_corners=False)
        return large.softmax(dim=1).permute(0, 2, 3, 1)

    @staticmethod
    def postproc(image: Any) -> Any:
        """Labels (H, W) of a map of probabilities, as in TIAToolbox's own models."""
        return np.argmax(image, axis=-1)

    @staticmethod
    def infer_batch(model: Any, batch_data: Any, *, device: str) -> Any:
        """What the engine calls."""
        model.n_windows += len(batch_data)
        with torch.inference_mode():
            return model(batch_data.to(device).permute(0, 3, 1, 2).float() / 255).numpy()


def main() -> None:
    """Prints one line of JSON."""
    run, slide, out, step, batch, output = sys.argv[1:]
    model = OurNetwork(Path(run))
    model.eval()
    mpp, side = model.card.mpp, model.card.patch_px
    resolution = {"units": "mpp", "resolution": mpp}
    engine = SemanticSegmentor(model=model, batch_size=int(batch), num_workers=0, device="cpu", verbose=False)
    started = time.perf_counter()
    engine.run(
        images=[Path(slide)],
        patch_mode=False,
        ioconfig=IOSegmentorConfig(
            input_resolutions=[resolution],
            output_resolutions=[resolution],
            patch_input_shape=(side, side),
            patch_output_shape=(side, side),
            stride_shape=(int(step), int(step)),
            save_resolution=resolution,
        ),
        save_dir=Path(out),
        output_type=output,
        class_dict=model.class_dict,
        overwrite=True,
    )
    print(json.dumps({"loop_s": time.perf_counter() - started, "n": model.n_windows}))


if __name__ == "__main__":
    main()
