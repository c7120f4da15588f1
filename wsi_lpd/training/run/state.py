"""Taking over what a training left behind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor

from wsi_lpd.errors import TrainingError, one_line
from wsi_lpd.models.saved.mismatch import weights_mismatch


@contextmanager
def restoring(what: str) -> Iterator[None]:
    """Tells in one line what torch says of a state that lacks something or does not fit.

    Args:
        what: What the state should be, as in "is no ...".

    Raises:
        TrainingError: In place of torch's errors.
    """
    try:
        yield
    except KeyError as err:
        raise TrainingError(f"is no {what}: it has no {err}") from err
    except (AttributeError, RuntimeError, TypeError, ValueError) as err:
        raise TrainingError(f"does not fit this configuration ({one_line(err)})") from err


def check_network(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """Raises TrainingError if the tensors are those of another network."""
    problem = weights_mismatch(expected, found)
    if problem is not None:
        raise TrainingError(f"is the state of another network: {problem}")
