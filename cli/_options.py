"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def optional(*names: str, help: str, default: str, **others: Any) -> Any:  # noqa: A002 - Typer's own word
    """An option whose value, left out, depends on something else; `--help` prints `default` for it."""
    return typer.Option(*names, help=f"{help}  [default: {default}]", show_default=False, **others)


def configured(*names: str, help: str, default: str, **others: Any) -> Any:  # noqa: A002 - Typer's own word
    """An option that sets a configuration key; `default` is the key's, as a test checks."""
    return optional(*names, help=help, default=f"from configuration, {default}", **others)


SlidesArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="SLIDE",
        help="Whole-slide images (paths or URLs), folders of them, or lists (.txt: one per line; .csv: column slide).",
    ),
]
SlideMppOption = Annotated[
    str | None,
    optional(
        "--slide-mpp",
        metavar="MPP|CSV",
        help="Micrometres per pixel of the slides themselves, for slides that state none or a wrong value: a number, "
        "or a CSV file with the columns slide,mpp.",
        default="what each slide states",
    ),
]
ModelOption = Annotated[
    Path | None,
    optional(
        "--model",
        metavar="RUN",
        help="Run folder of the model.",
        default="$WSI_LPD_MODEL, else the newest run in runs/",
    ),
]
DeviceOption = Annotated[str, typer.Option("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1 or mps.")]
ConfigOption = Annotated[
    Path | None,
    optional("--config", "-c", metavar="FILE", help="YAML configuration.", default="built-in defaults"),
]
SetOption = Annotated[
    list[str] | None,
    optional(
        "--set",
        metavar="KEY=VALUE",
        help="Set any configuration key; may be repeated.",
        default="none",
    ),
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Start over instead of resuming or skipping.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print a summary as one JSON object on stdout.")]

WorkersOption = Annotated[
    int | None,
    optional(
        "--workers",
        min=1,
        metavar="N",
        help="Share the slides, or parts of one slide, among N processes of this machine.",
        default="no other processes",
    ),
]
SchedulerOption = Annotated[
    str | None,
    optional("--scheduler", metavar="ADDRESS", help="Use a running Dask cluster: tcp://host:8786.", default="none"),
]
SchedulerFileOption = Annotated[
    Path | None,
    optional(
        "--scheduler-file",
        metavar="FILE",
        help="Use a running Dask cluster, named by its scheduler's file.",
        default="none",
    ),
]
LabelsOption = Annotated[
    list[Path],
    typer.Option(
        "--labels",
        metavar="PATH",
        help="patches.csv, a CSV of images, or a folder of patches with labels in their names; may be repeated.",
    ),
]
