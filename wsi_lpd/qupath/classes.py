"""What the class of an annotation means, by QuPath's conventions.

| class | meaning |
|---|---|
| `Tumor`, `Tumor: Positive` | tissue class Tumor: a sub-class is one of its first part |
| none, `Region*` | an outline that names no tissue: it counts as tissue, and says nothing of classes |
| `Ignore*`, any other name that ends in `*` | not to be judged: neither tissue nor any class, whatever lies below it |
"""

from __future__ import annotations

from typing import Literal

Kind = Literal["class", "outline", "ignored"]

SEPARATOR = ":"
"""Between a class and its sub-classes in QuPath's names."""


def base_class(name: str) -> str:
    """The class that a sub-class belongs to: `Tumor` of `Tumor: Positive`."""
    return name.split(SEPARATOR, 1)[0].strip()


def kind_of(name: str | None) -> Kind:
    """What an annotation of that class says; None is an annotation without a class."""
    if name is None:
        return "outline"
    base = base_class(name).lower()
    if base.startswith("region") and base.endswith("*"):
        return "outline"
    return "ignored" if base.endswith("*") or base == "ignore" else "class"


def name_problem(name: str) -> str | None:
    """What QuPath would not take in a class name, or would take for something else; None if it is good."""
    if not name.strip():
        return "name is blank"
    if SEPARATOR in name:
        return f"name {name!r} has a colon, at which QuPath splits it into a class and a sub-class; choose another"
    return f"name {name!r} has a line break" if len(name.splitlines()) > 1 else None
