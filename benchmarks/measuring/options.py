"""Values of command-line options that several benchmarks take."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection


def names_among(choices: Collection[str], what: str) -> Callable[[str], list[str]]:
    """Reads names separated by commas.

    Args:
        choices: The names there are.
        what: One of them, in the message: `row`, `curve`.
    """

    def read(text: str) -> list[str]:
        names = text.split(",")
        if unknown := [name for name in names if name not in choices]:
            raise argparse.ArgumentTypeError(f"no {what} {', '.join(unknown)}; choose from {', '.join(choices)}")
        return names

    return read


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """A parser whose help is a module's docstring as it is written, with the defaults of the options."""
    return argparse.ArgumentParser(description=description, formatter_class=_Formatter)


class _Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Keeps the line breaks of the description, and adds its default to the help of an option that has both."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        plain = action.default is None or action.default is False or action.default == []
        return action.help if plain else super()._get_help_string(action)
