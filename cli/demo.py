"""`wsi-lpd demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._console import BarProgress, print_json, say, user_errors
from ._options import JsonOption, SetOption


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for everything the demo makes.")] = Path("demo"),
    quick: Annotated[
        bool, typer.Option("--quick", help="Less of everything: shows that all works, not how well.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the slides and of the training.")] = 0,
    settings: SetOption = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    as_json: JsonOption = False,
) -> None:
    """Do the whole job on generated slides: patches, training, the map of an unseen slide, its mIoU."""
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
        say(f"mIoU over the four tissue classes of the held-out slide: {result.metrics['miou']:.4f} ({per_class})")
        say(f"picture: {result.picture}")
        say(f"To see it in QuPath: open {result.slide}, then drag {result.overlay} onto the image.")
        if as_json:
            print_json(result.metrics)
