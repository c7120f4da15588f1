"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Sequence


def row(cells: Sequence[object]) -> str:
    """One line; cells as `str` gives them, None as an empty cell."""
    return f"| {' | '.join('' if cell is None else str(cell) for cell in cells)} |"


def heading(columns: Sequence[object]) -> str:
    """The first two lines of a table."""
    return f"{row(columns)}\n{row(['---'] * len(columns))}"


def table(columns: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    """A whole table."""
    return "\n".join([heading(columns), *map(row, rows)])
