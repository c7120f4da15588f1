"""The program `wsi-lpd`: one sub-command per module of this folder."""

from __future__ import annotations

import gc
import os
from typing import Annotated

import typer

from wsi_lpd import __version__

from ._console import set_up_logging
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

# Torch's C++ side has advice for programmers (unused parameters of a warm-up); it reads this when it is imported.
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")

app = typer.Typer(
    help="Image-level patch labels in, a whole-slide tissue map that loads in QuPath out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more about what is done.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    set_up_logging(verbose=verbose)


app.command("demo")(demo)
app.command("encoders")(encoders)
app.command("evaluate")(evaluate)
app.command("info")(info)
app.command("pretrain")(pretrain)
app.command("prototypes")(prototypes)
app.command("pseudo-mask")(pseudo_mask)
app.command("segment")(segment)
app.command("synth")(synth)
app.command("tile")(tile)
app.command("train")(train)


def run() -> None:
    """Entry point of the console script."""
    try:
        app()
    finally:
        gc.freeze()  # Python would look for garbage in all that was imported, for a tenth of a second, and then end.
