"""`wsi-lpd demo`: the whole job on synthetic slides."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._console import BarProgress, print_json, say, user_errors
from ._options import DeviceOption, JsonOption, SetOption


def demo(
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FOLDER", help="Folder for everything the demo makes.")
    ] = Path("demo"),
    quick: Annotated[
        bool, typer.Option("--quick", help="Small slides and little training: shows that it works, not how well.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, metavar="N", help="Seed of the slides and the training.")] = 0,
    settings: SetOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Run the whole job on synthetic slides.

    Patches, training, the map of an unseen slide and its mIoU. Re-running resumes.
    """
    with user_errors():
        from wsi_lpd.demo import FULL, QUICK, run_demo

        size = QUICK if quick else FULL
        result = run_demo(
            out,
            size,
            seed=seed,
            settings=settings if settings is not None else (),
            device=device,
            progress=BarProgress(),
            tell=say,
        )
        per_class = ", ".join(f"{name} {iou:.3f}" for name, iou in result.metrics["per_class_iou"].items())
        say(f"mIoU of the four tissue classes on the held-out slide: {result.metrics['miou']:.4f} ({per_class})")
        say(f"picture: {result.picture}")
        say(f"To see it in QuPath, open {result.slide} and drag {result.overlay} onto the image.")
        if as_json:
            print_json(result.metrics)
