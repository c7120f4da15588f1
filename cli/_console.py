"""What every command shares on the terminal: the log, the bars, the one-line errors, the exit status."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import typer

from wsi_lpd.errors import PeerError, WsiLpdError
from wsi_lpd.progress import Advance, Progress

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130


def say(text: str) -> None:
    """A line for the person: on stderr, so that stdout stays clean for `--json` and pipes."""
    typer.echo(text, err=True)


def print_json(summary: dict[str, Any]) -> None:
    """The machine-readable summary, one object on stdout."""
    typer.echo(json.dumps(summary, ensure_ascii=False, allow_nan=False))


def set_up_logging(*, verbose: bool) -> None:
    """Warnings of the library go to stderr as single lines; `--verbose` shows what it does as well."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s", stream=sys.stderr, force=True)
    logging.getLogger("wsi_lpd").setLevel(logging.DEBUG if verbose else logging.INFO)


def expect_no_matrices() -> None:
    """For commands that multiply no matrices, to be called before NumPy is imported.

    NumPy and OpenCV bring an OpenBLAS each, whose threads wait actively at first: a tenth of a second of one core.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def log_errors_only() -> None:
    """For all processes of one training but the first, which warns for all."""
    logging.getLogger("wsi_lpd").setLevel(logging.ERROR)


@contextmanager
def user_errors() -> Iterator[None]:
    """Turns our errors into one message and exit status 1, and Ctrl-C into 130; a bug keeps its traceback."""
    try:
        yield
    except PeerError as err:
        raise typer.Exit(EXIT_FAILED) from err
    except WsiLpdError as err:
        say(f"error: {err}")
        raise typer.Exit(EXIT_FAILED) from err
    except OSError as err:
        name = f"{err.filename}: " if err.filename else ""
        say(f"error: {name}{err.strerror or err}")
        raise typer.Exit(EXIT_FAILED) from err
    except KeyboardInterrupt:
        say("interrupted; run the same command again to go on")
        raise typer.Exit(EXIT_INTERRUPTED) from None


class BarProgress(Progress):
    """A bar with rate and time left on a terminal; nothing where stderr is a file or a pipe."""

    @contextmanager
    def stage(self, name: str, total: int, unit: str) -> Iterator[Advance]:
        """Draws one bar for the stage."""
        if not sys.stderr.isatty():
            yield lambda n: None
            return
        with _bar(unit) as bar:
            task = bar.add_task(name, total=total)
            yield lambda n: bar.advance(task, n)


def _bar(unit: str) -> Any:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as RichProgress
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:,.1f} {unit}/s" if task.speed else f"- {unit}/s")

    return RichProgress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


def each(items: list[Any], name: Callable[[Any], str], work: Callable[[Any], None]) -> list[tuple[str, str]]:
    """Does `work` for every item; one that fails is told at once and does not stop the others.

    Returns:
        (name, message) of each failure, also told together at the end when there are several items.
    """

    def ended() -> Iterator[tuple[str, str | None]]:
        for item in items:
            try:
                work(item)
                yield name(item), None
            except (WsiLpdError, OSError) as err:
                yield name(item), str(err)

    return print_failures(ended(), len(items))


def print_failures(ended: Iterable[tuple[str, str | None]], n_items: int) -> list[tuple[str, str]]:
    """Tells every failure at once, and all of them together when the last of several items has ended.

    Args:
        ended: (name, error message or None) of each item as it ends.
        n_items: How many there are.
    """
    failures = []
    for item, message in ended:
        if message is not None:
            failures.append((item, message))
            say(f"error: {message}")
    if failures and n_items > 1:
        say(f"{len(failures)} of {n_items} failed:")
        for failed, message in failures:
            say(f"  {message if failed in message else f'{failed}: {message}'}")
    return failures
