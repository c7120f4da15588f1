"""Options that several commands share, and the lists of slides they take."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from wsi_lpd.errors import SlideError

if TYPE_CHECKING:
    from wsi_lpd.distributed.cluster import ClusterChoice

SlidesArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="SLIDE...",
        help="Whole-slide images, folders of them, or lists (.txt: one per line; .csv: column slide). URLs too.",
    ),
]
ConfigOption = Annotated[Path | None, typer.Option("--config", "-c", help="YAML configuration.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any configuration key; may be repeated.")
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Redo what is there already.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON summary on stdout.")]

WorkersOption = Annotated[
    int | None, typer.Option("--workers", min=1, help="Processes of this machine that do slides, or parts of a slide.")
]
SchedulerOption = Annotated[
    str | None, typer.Option("--scheduler", metavar="ADDRESS", help="A running Dask cluster: tcp://host:8786.")
]
SchedulerFileOption = Annotated[
    Path | None, typer.Option("--scheduler-file", help="A running Dask cluster: the file its scheduler has written.")
]

SLIDE_SUFFIXES: Final = (
    ".svs", ".tif", ".tiff", ".btf", ".ndpi", ".vms", ".vmu", ".scn", ".mrxs", ".svslide", ".bif", ".czi", ".avs",
)  # fmt: skip
"""What is taken from a folder. DICOM is not: a series is many files and is named by one of them."""

_SLIDE_COLUMNS: Final = ("slide", "wsi", "path", "file", "filename", "image")


def expand_slides(given: Sequence[str]) -> list[str]:
    """The slides that were named: folders and lists opened up, each slide once, in order.

    Raises:
        SlideError: If a folder or list holds none, or a list cannot be read.
    """
    slides: list[str] = []
    for text in given:
        path = Path(text)
        if path.is_dir():
            slides.extend(_in_folder(path))
        elif path.suffix.lower() in (".txt", ".csv"):
            slides.extend(_in_list(path))
        else:
            slides.append(text)
    return list(dict.fromkeys(slides))


def slide_mpps(text: str | None, slides: Sequence[str]) -> dict[str, float]:
    """Reads `--slide-mpp`: one number for all slides, or a CSV file with the columns slide and mpp.

    A slide is found in the file by its path, its file name, or its name without extension; one that is not in it
    keeps what it says itself.

    Raises:
        SlideError: If it is neither, or a number in it is none.
    """
    if text is None:
        return {}
    try:
        return dict.fromkeys(slides, float(text))
    except ValueError:
        pass
    path = Path(text)
    rows = _rows(path) if path.is_file() else []
    column = _slide_column(rows[0]) if rows else None
    if column is None or "mpp" not in rows[0]:
        raise SlideError(
            f"--slide-mpp {text}: expected a number such as 0.25, or a CSV file with the columns slide,mpp"
        )
    stated = {}
    for number, row in enumerate(rows, start=2):
        try:
            stated[row[column]] = float(row["mpp"])
        except ValueError as err:
            raise SlideError(f"{path}:{number}: mpp is {row['mpp']!r}, expected a number such as 0.25") from err
    found = {}
    for slide in slides:
        names = [name for name in (slide, Path(slide).name, Path(slide).stem) if name in stated]
        if names:
            found[slide] = stated[names[0]]
    return found


def cluster_choice(workers: int | None, scheduler: str | None, scheduler_file: Path | None) -> ClusterChoice | None:
    """Where the slides go; None does them here, one after another."""
    given = [value for value in (workers, scheduler, scheduler_file) if value is not None]
    if not given:
        return None
    if len(given) > 1:
        raise typer.BadParameter("--workers, --scheduler and --scheduler-file name three clusters; give one of them")
    from wsi_lpd.distributed.cluster import ClusterChoice

    return ClusterChoice(workers, scheduler, scheduler_file)


def class_names(text: str | None) -> tuple[str, ...] | None:
    """The names in `--classes A,B,C`."""
    if text is None:
        return None
    names = tuple(name.strip() for name in text.split(","))
    if "" in names or len(set(names)) < len(names):
        raise typer.BadParameter(f"{text!r} has an empty or a double name; expected such as Tumor,Stroma,Necrosis")
    return names


def _in_folder(folder: Path) -> list[str]:
    found = sorted(
        str(p)
        for p in folder.iterdir()
        if p.suffix.lower() in SLIDE_SUFFIXES and not p.name.startswith(".") and not p.name.endswith(".truth.tif")
    )
    if not found:
        raise SlideError(
            f"{folder}: holds no slides ({', '.join(SLIDE_SUFFIXES)}); of a DICOM series name one .dcm file"
        )
    return found


def _in_list(path: Path) -> list[str]:
    if path.suffix.lower() == ".csv":
        rows = _rows(path)
        column = _slide_column(rows[0]) if rows else None
        if column is None:
            raise SlideError(f"{path}: expected a CSV file with the column slide")
        names = [row[column] for row in rows]
    else:
        names = [line.strip() for line in _text(path).splitlines()]
    named = [name for name in names if name and not name.startswith("#")]
    if not named:
        raise SlideError(f"{path}: lists no slides")
    # A list names its slides as seen from where it lies, or from here.
    return [str(path.parent / name) if (path.parent / name).exists() else name for name in named]


def _slide_column(row: dict[str, str]) -> str | None:
    return next((name for name in _SLIDE_COLUMNS if name in row), None)


def _rows(path: Path) -> list[dict[str, str]]:
    reader = csv.DictReader(io.StringIO(_text(path), newline=""), restval="")
    return [{(k or "").strip().lower(): (v or "").strip() for k, v in row.items() if k is not None} for row in reader]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as err:
        raise SlideError(f"{path}: cannot be read ({err.strerror})") from err
    except UnicodeDecodeError as err:
        raise SlideError(f"{path}: is not UTF-8 text") from err
