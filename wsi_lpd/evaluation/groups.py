"""Which images were cut from the same slide, according to their names."""

from __future__ import annotations

import re
from collections.abc import Callable

from wsi_lpd.errors import LabelError
from wsi_lpd.labels.folders import group_of


def grouping(rule: str) -> Callable[[str], str]:
    """A function from the name of an image file to its group.

    Args:
        rule: `source` (patient, slide or region by the naming of the data sets, see `labels.folders.group_of`; else the
            image itself), `image` (every image on its own), or a regular expression with one capturing group, such as
            `(.+?)_tile`.

    Raises:
        LabelError: If it is none of these; the returned function raises it for a name that the expression does not
            match.
    """
    if rule == "source":
        return group_of
    if rule == "image":
        return lambda name: name
    try:
        pattern = re.compile(rule)
    except re.error as err:
        raise LabelError(
            f"--group-by {rule}: is not a regular expression ({err}); give source, image, or one such as (.+?)_tile"
        ) from err
    if pattern.groups != 1:
        raise LabelError(
            f"--group-by {rule}: expected source, image, or a regular expression with one group, such as (.+?)_tile"
        )

    def group(name: str) -> str:
        match = pattern.match(name)
        if match is None:
            raise LabelError(f"--group-by {rule}: does not match the name {name}")
        return match.group(1)

    return group
