"""The program `wsi-lpd`: one command per module of this folder."""

from __future__ import annotations

import gc
import os
from typing import Annotated, Final

import typer

from wsi_lpd import __version__

from ._console import renaming, set_up_logging
from .demo import demo
from .encoders import encoders
from .evaluate import evaluate
from .info import info
from .pretrain import pretrain
from .prototypes import prototypes
from .pseudo_mask import pseudo_mask
from .segment import segment
from .synth import synth
from .tile import tile
from .train import train

# Torch's C++ side logs advice for programmers (unused parameters of a warm-up) unless this is set before its import.
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")

app = typer.Typer(
    help="From image-level patch labels to whole-slide tissue maps that load in QuPath: tile, train, segment.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Print more about what is going on.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    set_up_logging(verbose=verbose)


_MPP: Final = {"mpp": "--slide-mpp"}

app.command("demo")(demo)
app.command("encoders")(encoders)
app.command("evaluate", cls=renaming(**_MPP))(evaluate)
app.command("info", cls=renaming(**_MPP))(info)
app.command("pretrain")(pretrain)
app.command("prototypes")(prototypes)
app.command("pseudo-mask")(pseudo_mask)
app.command("segment", cls=renaming(**_MPP, overlay="--picture"))(segment)
app.command("synth", cls=renaming(**_MPP))(synth)
app.command("tile")(tile)
app.command("train")(train)


def run() -> None:
    """Entry point of the console script."""
    try:
        app()
    finally:
        gc.freeze()  # else Python searches all modules for garbage before it exits, a tenth of a second.
