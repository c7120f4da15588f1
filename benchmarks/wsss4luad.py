"""Real tissue: cut patches from half of the WSSS4LUAD images, learn from image-level labels, score on the other half.

    python benchmarks/wsss4luad.py --data FOLDER/wsss4luad/3.testing --out runs-wsss4luad [--seed 0] [--set key=value]

The labels of the training patches come from their masks (a class that covers at least 5 % of a patch); the masks of
the other half are looked at only by `wsi-lpd evaluate`. Images are split by number of the seed, so no image is on both
sides. Everything is done through the commands a user would type.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

CLASSES = ("Tumor", "Stroma", "Normal")
MPP = 1.0
"""The set is at 10x, about 1 um per pixel."""
PATCH_PX = 224
STRIDE_PX = 112
LEAST_SHARE = 0.05


def main() -> None:
    """Prepares, trains, segments and scores."""
    options = _options()
    images = sorted((options.data / "img").glob("*.png"))
    order = np.random.default_rng(options.seed).permutation(len(images))
    halves = [images[i] for i in order[: len(images) // 2]], [images[i] for i in order[len(images) // 2 :]]
    labels = cut_patches(halves[0], options.out / "patches")
    settings = [word for setting in options.set for word in ("--set", setting)]
    run = options.out / "run"
    wsi_lpd("train", "--labels", labels, "--out", run, "--set", f"train.seed={options.seed}", *settings)
    predictions, truth = options.out / "predictions", options.out / "truth"
    for image in halves[1]:
        wsi_lpd(
            "segment", image, "--model", run, "--mpp", MPP, "--allow-upsampling", *settings,
            "--set", "segment.tissue.preset=everything", "--set", "segment.min_area_um2=0",
            "--out", predictions / f"{image.stem}.geojson", "--mask", predictions / f"{image.stem}.png", "--overwrite",
        )  # fmt: skip
        truth.mkdir(parents=True, exist_ok=True)
        (truth / image.name).write_bytes((image.parent.parent / "mask" / image.name).read_bytes())
    scores = wsi_lpd("evaluate", predictions, "--truth", truth, "--coding", "wsss4luad", "--protocol", "A", "--json")
    print(json.dumps(json.loads(scores), indent=1))


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


def wsi_lpd(*words: object) -> str:
    """Runs one command; what it prints on stderr is shown, what it prints on stdout is returned."""
    done = subprocess.run(
        [str(Path(sys.executable).parent / "wsi-lpd"), *map(str, words)], check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


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
