"""Real tissue: cut patches from half of the WSSS4LUAD images, learn from image-level labels, score on the other half.

    python benchmarks/wsss4luad.py --data FOLDER/wsss4luad/3.testing --out runs-wsss4luad [--seed 0] [--set key=value]

The labels of the training patches come from their masks (a class that covers at least 5 % of a patch); the masks of
the other half are read only to score. Images are split at random, evenly by the classes they hold, and none is on
both sides.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from wsi_lpd.config import load_config
from wsi_lpd.evaluate.evaluation import evaluate_files
from wsi_lpd.segment.job import Outputs, SegmentJob
from wsi_lpd.train.run import load_training_data, train

CLASSES = ("Tumor", "Stroma", "Normal")
MPP = 1.0
"""The set is at 10x, about 1 um per pixel."""
PATCH_PX = 112
STRIDE_PX = 56
LEAST_SHARE = 0.05
SEGMENT = ("segment.tissue.preset=everything", "segment.min_area_um2=0", "segment.output_stride=1")
"""Small images of tissue: no detection, and a map at the resolution of the masks."""


def main() -> None:
    """Prepares, trains, segments and scores."""
    options = _options()
    images = sorted((options.data / "img").glob("*.png"))
    halves = split_in_halves(images, options.seed)
    labels = cut_patches(halves[0], options.out / "patches")
    settings = (f"tile.mpp={MPP}", f"tile.patch_px={PATCH_PX}", f"train.seed={options.seed}", *SEGMENT, *options.set)
    config = load_config(None, settings)
    data = load_training_data([labels], [], config)
    run = train(data, config, runs_dir=options.out, out=options.out / "run")
    predictions, truth = options.out / "predictions", options.out / "truth"
    truth.mkdir(parents=True, exist_ok=True)
    job = SegmentJob.prepare(run.path, config.segment)
    for image in halves[1]:
        outputs = Outputs(options.out / "overlays" / f"{image.stem}.geojson", predictions / f"{image.stem}.tif")
        job.run(str(image), outputs, slide_mpp=MPP, overwrite=True)
        shutil.copyfile(image.parent.parent / "mask" / image.name, truth / image.name)
    report = evaluate_files(predictions, truth, coding="wsss4luad", prediction_coding="index")
    print(json.dumps({"n_patches": len(data.training), "val": run.metrics, **report.to_json()}, indent=1))


def split_in_halves(images: list[Path], seed: int) -> tuple[list[Path], list[Path]]:
    """Splits at random, and evenly among images that hold the same classes: normal tissue is in few of them."""
    shuffled = [images[i] for i in np.random.default_rng(seed).permutation(len(images))]
    masks = {path: np.asarray(Image.open(path.parent.parent / "mask" / path.name)) for path in images}
    ordered = sorted(shuffled, key=lambda path: [int((masks[path] == c).any()) for c in range(len(CLASSES))])
    return ordered[::2], ordered[1::2]


def cut_patches(images: list[Path], out: Path) -> Path:
    """Writes the patches of `images` and their image-level labels; small images are mirrored to one patch."""
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for path in images:
        pixels = np.asarray(Image.open(path).convert("RGB"))
        mask = np.asarray(Image.open(path.parent.parent / "mask" / path.name))
        pixels, mask = _at_least_a_patch(pixels, mask)
        for y in range(0, mask.shape[0] - PATCH_PX + 1, STRIDE_PX):
            for x in range(0, mask.shape[1] - PATCH_PX + 1, STRIDE_PX):
                part = mask[y : y + PATCH_PX, x : x + PATCH_PX]
                present = [int((part == c).mean() >= LEAST_SHARE) for c in range(len(CLASSES))]
                if not any(present):
                    continue
                name = f"{path.stem}-{x}-{y}.png"
                Image.fromarray(pixels[y : y + PATCH_PX, x : x + PATCH_PX]).save(out / name)
                rows.append([name, path.stem, *present])
    table = out / "patches.csv"
    with table.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([["image", "slide", *CLASSES], *rows])
    return table


def _at_least_a_patch(pixels: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    bottom, right = (max(0, PATCH_PX - side) for side in mask.shape)
    border = {"top": 0, "bottom": bottom, "left": 0, "right": right, "borderType": cv2.BORDER_REFLECT}
    return cv2.copyMakeBorder(pixels, **border), cv2.copyMakeBorder(mask, **border)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with img/ and mask/")
    parser.add_argument("--out", type=Path, default=Path("runs-wsss4luad"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], help="passed on to train and segment")
    return parser.parse_args()


if __name__ == "__main__":
    main()
