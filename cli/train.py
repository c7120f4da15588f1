"""`wsi-lpd train`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from ._console import BarProgress, log_errors_only, print_json, say, user_errors
from ._options import ConfigOption, JsonOption, SetOption, class_names


def train(
    labels: Annotated[
        list[Path],
        typer.Option(
            "--labels",
            help="patches.csv, a CSV of images, or a folder of patches with labels in their names; may be repeated.",
        ),
    ],
    val: Annotated[
        list[Path] | None,
        typer.Option("--val", help="Labels of held-out patches, same forms; without it whole slides are held out."),
    ] = None,
    classes: Annotated[
        str | None, typer.Option(help="Class names, comma-separated, where the labels do not state them.")
    ] = None,
    masks: Annotated[
        Path | None, typer.Option(help="Pseudo masks made by `pseudo-mask`, for --set method=decoder.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Run folder; without it runs/<time>-<name>.")] = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    resume: Annotated[
        bool | None,
        typer.Option(
            "--resume/--no-resume",
            help="Go on with an unfinished run, or never do; by default an unfinished run of the same "
            "configuration and data is gone on with.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Train a model from image-level patch labels."""
    names = class_names(classes)
    if os.environ.get("WORLD_SIZE", "1") != "1":  # torch else tells every process's user about its inner life
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    with user_errors():
        from wsi_lpd.config import load_config
        from wsi_lpd.labels.sources import class_balance
        from wsi_lpd.training.processes import joined
        from wsi_lpd.training.run.job import load_training_data
        from wsi_lpd.training.run.job import train as train_run

        with joined(device) as processes:
            if not processes.is_first:
                log_errors_only()
            tell = say if processes.is_first else _nobody
            resolved = load_config(config, settings if settings is not None else ())
            data = load_training_data(labels, val if val is not None else (), resolved, classes=names, masks=masks)
            for line in class_balance(data.training):
                tell(line)
            if resolved.model.weights == "none":
                tell(
                    f"{resolved.model.encoder} starts from random weights; for published ones: "
                    "--set model.weights=timm (downloads them), or a local file"
                )
            run = train_run(data, resolved, out=out, resume=resume, device=device, progress=BarProgress())
            if run.was_finished:
                tell(f"{run.path}: was finished already; another --out or --no-resume trains again")
            else:
                tell(f"{run.path}: {', '.join(f'{name} {value:.3f}' for name, value in run.metrics.items())}")
            if as_json and processes.is_first:
                print_json({"run": str(run.path), "was_finished": run.was_finished, "metrics": run.metrics})


def _nobody(text: str) -> None:
    """What the other processes of one training tell: the first speaks for all."""
