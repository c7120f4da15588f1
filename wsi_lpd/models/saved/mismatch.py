"""Whether a table of weights fits a network, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class _Shaped(Protocol):
    @property
    def shape(self) -> Sequence[int]: ...


def weights_mismatch(
    expected: Mapping[str, _Shaped], found: Mapping[str, _Shaped], *, optional: Sequence[str] = ()
) -> str | None:
    """The first reason why `found` does not fill `expected`, naming keys and shapes; None if it does.

    Args:
        expected: The network's own tensors by name.
        found: The tensors offered.
        optional: Names that may be missing.
    """
    missing = [key for key in expected if key not in found and key not in optional]
    # Sorted because safetensors gives its keys in another order each time.
    unexpected = sorted(key for key in found if key not in expected)
    if missing or unexpected:
        return f"of {len(expected)} keys {_listed(missing)} missing, {_listed(unexpected)} unexpected"
    wrong = [key for key in expected if key in found and tuple(found[key].shape) != tuple(expected[key].shape)]
    if wrong:
        shapes = "; ".join(f"{key} is {_size(found[key])}, expected {_size(expected[key])}" for key in wrong[:3])
        return f"{len(wrong)} of {len(expected)} tensors have another shape: {shapes}"
    return None


def _listed(keys: Sequence[str]) -> str:
    if not keys:
        return "none are"
    return f"{len(keys)} are ({', '.join(keys[:3])}{' ...' if len(keys) > 3 else ''})"


def _size(tensor: _Shaped) -> str:
    return "x".join(map(str, tensor.shape)) or "a single number"
