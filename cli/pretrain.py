"""`wsi-lpd pretrain`: encoder weights from patches without labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._console import BarProgress, print_json, say, user_errors
from ._options import ConfigOption, DeviceOption, JsonOption, SetOption


def pretrain(
    patches: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATCHES",
            help="Stores made by `tile`, folders of them, patches.csv (labelled or not), or folders of images.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Folder for the weights.")],
    config: ConfigOption = None,
    settings: SetOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Pretrain the encoder on unlabelled patches.

    The method is VICReg; use the weights with `train --set model.weights=OUT`. Re-running resumes.
    """
    with user_errors():
        from wsi_lpd.config import load_config
        from wsi_lpd.labels.unlabelled import read_unlabelled
        from wsi_lpd.pretraining.run import pretrain as pretrain_encoder

        resolved = load_config(config, settings if settings is not None else ())
        table = read_unlabelled(patches)
        say(f"{len(table)} patches of {len(set(table.groups))} slides or images, {resolved.model.encoder}")
        done = pretrain_encoder(table, resolved, out=out, device=device, progress=BarProgress())
        if done.was_finished:
            say(f"{done.path}: already finished; use another --out to pretrain again")
        else:
            metrics = ", ".join(f"{name} {value:.3f}" for name, value in done.metrics.items())
            say(f"{done.path}: {metrics}; use it with --set model.weights={done.path}")
        if as_json:
            print_json({"weights": str(done.path), "was_finished": done.was_finished, "metrics": done.metrics})
