"""Many slides in one call: one that fails does not stop the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, TypeVar

from wsi_lpd.errors import BatchError, FileError, WsiLpdError

Item = TypeVar("Item")
Tell = Callable[[str], None]
"""Takes one line for a person."""

OnError = Literal["raise", "collect"]
Ended = Iterable[tuple[str, WsiLpdError | None]]
"""Name of each item as it ends, and its error."""


def silent(line: str) -> None:
    """Where no lines are wanted."""


@contextmanager
def own_errors() -> Iterator[None]:
    """Turns what the operating system raises into one of our errors, with the file in its message."""
    try:
        yield
    except OSError as err:
        raise file_error(err) from err


def file_error(err: OSError) -> FileError:
    """The error as one line: file, and reason."""
    name = f"{err.filename}: " if err.filename else ""
    return FileError(f"{name}{err.strerror or err}")


def each(items: Sequence[Item], work: Callable[[Item], object], *, name: Callable[[Item], str] = str) -> Ended:
    """Does `work` for every item, and yields how it ended."""
    for item in items:
        try:
            with own_errors():
                work(item)
            yield name(item), None
        except WsiLpdError as err:
            yield name(item), err


def collect(ended: Ended, n_items: int, tell: Tell) -> dict[str, WsiLpdError]:
    """Tells every failure at once, and all of them together after the last of several items.

    Returns:
        The error of each item that failed, by its name.
    """
    failed = {}
    for item, error in ended:
        if error is not None:
            failed[item] = error
            tell(f"error: {error}")
    if failed and n_items > 1:
        tell(f"{len(failed)} of {n_items} failed:")
        for item, error in failed.items():
            tell(f"  {_named(item, error)}")
    return failed


def raise_failures(failed: dict[str, WsiLpdError], n_items: int, result: object) -> None:
    """Raises the error of the only item as it is, and those of several items as one `BatchError`; or nothing."""
    if not failed:
        return
    if n_items == 1:
        raise next(iter(failed.values()))
    lines = "; ".join(_named(item, error) for item, error in failed.items())
    messages = {item: str(error) for item, error in failed.items()}
    raise BatchError(f"{len(failed)} of {n_items} failed: {lines}", failed=messages, result=result)


def _named(item: str, error: WsiLpdError) -> str:
    message = str(error)
    return message if item in message else f"{item}: {message}"


def failures_json(failed: dict[str, WsiLpdError]) -> list[dict[str, str]]:
    """Plain values for `--json`."""
    return [{"slide": item, "error": str(error)} for item, error in failed.items()]
