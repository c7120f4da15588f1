"""What every command shares on the terminal: the log, the bars, the one-line errors, the exit status."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from typing import Any, Final

import typer
from typer.core import TyperCommand

from wsi_lpd.api.batch import collect, file_error
from wsi_lpd.api.batch import each as ended
from wsi_lpd.errors import OptionError, PeerError, WsiLpdError
from wsi_lpd.progress import Advance, Progress

UsageError: Final = typer.BadParameter.__mro__[1]
"""Click's, from wherever this version of Typer has Click."""

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


def say(text: str) -> None:
    """A line for the person: on stderr, so that stdout stays clean for `--json` and pipes."""
    typer.echo(text, err=True)


def print_json(summary: dict[str, Any]) -> None:
    """The machine-readable summary, one object on stdout."""
    typer.echo(json.dumps(summary, ensure_ascii=False, allow_nan=False))


def set_up_logging(*, verbose: bool) -> None:
    """Warnings of the library go to stderr as single lines; `--verbose` shows its other messages as well."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s", stream=sys.stderr, force=True)
    logging.getLogger("wsi_lpd").setLevel(logging.DEBUG if verbose else logging.INFO)


def expect_no_matrices() -> None:
    """For commands that multiply no matrices, to be called before NumPy is imported.

    NumPy and OpenCV each bring an OpenBLAS, whose threads busy-wait at first: a tenth of a second of one core.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def is_first_process() -> bool:
    """Whether this is the only process of a training, or the first of those that torchrun has started."""
    return os.environ.get("RANK", "0") == "0"


def log_errors_only() -> None:
    """For all processes of a training but the first, which warns on behalf of all."""
    logging.getLogger("wsi_lpd").setLevel(logging.ERROR)


@contextmanager
def user_errors() -> Iterator[None]:
    """Turns our errors into one line and status 1 (2 for usage), and Ctrl-C into 130; bugs keep their traceback."""
    try:
        yield
    except PeerError as err:
        raise typer.Exit(EXIT_FAILED) from err
    except OptionError as err:
        raise UsageError(str(err)) from err
    except WsiLpdError as err:
        say(f"error: {err}")
        raise typer.Exit(EXIT_FAILED) from err
    except OSError as err:
        say(f"error: {file_error(err)}")
        raise typer.Exit(EXIT_FAILED) from err
    except KeyboardInterrupt:
        say("interrupted; run the same command again to resume")
        raise typer.Exit(EXIT_INTERRUPTED) from None


def given(values: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a command as keywords of the function of the API that bears its name.

    Args:
        values: `locals()` at the start of the command.
    """
    plain = {name: value.value if isinstance(value, Enum) else value for name, value in values.items()}
    plain.pop("as_json")
    return {**plain, "settings": plain["settings"] or ()}


def fail_if(failed: object) -> None:
    """Ends with status 1 if there are failures; they have been printed."""
    if failed:
        raise typer.Exit(EXIT_FAILED)


def each(items: Sequence[Any], name: Callable[[Any], str], work: Callable[[Any], object]) -> dict[str, WsiLpdError]:
    """Does `work` for every item; an error is printed at once and does not stop the others.

    Returns:
        The error of each item that failed, by its name.
    """
    return collect(ended(items, work, name=name), len(items), say)


class RenamingCommand(TyperCommand):
    """A command that names the new option where an old one is given."""

    renamed: dict[str, str] = {}  # noqa: RUF012 - replaced by subclasses, never changed

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuses old names in one line, and parses the others."""
        for word in args:
            if word == "--":
                break
            old = word.partition("=")[0]
            if old in self.renamed:
                say(f"error: {old} is now {self.renamed[old]}")
                ctx.exit(EXIT_USAGE)
        return super().parse_args(ctx, args)


def renaming(**renamed: str) -> type[RenamingCommand]:
    """A command class for old option names, without dashes, and what to use now."""
    names = {f"--{old.replace('_', '-')}": new for old, new in renamed.items()}
    return type("Renaming", (RenamingCommand,), {"renamed": names})


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
