"""Ways to run the same training: to the bit the same every time, or compiled."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch

from wsi_lpd.errors import TrainingError

_WORKSPACE: Final = "CUBLAS_WORKSPACE_CONFIG"


@contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """Within the block torch takes only operations that give the same bits every time; nothing changes if not wanted.

    Raises:
        TrainingError: If an operation that is used has no such form on this device.
    """
    if not wanted:
        yield
        return
    workspace = os.environ.get(_WORKSPACE)
    mode = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    cudnn = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    os.environ.setdefault(_WORKSPACE, ":4096:8")  # read when cuBLAS makes its first handle
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    try:
        yield
    except RuntimeError as err:
        if "deterministic" not in str(err):
            raise
        raise TrainingError(f"train.deterministic: {str(err).splitlines()[0]}; set train.deterministic=false") from err
    finally:
        torch.use_deterministic_algorithms(mode[0], warn_only=mode[1])
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = cudnn
        if workspace is None:
            os.environ.pop(_WORKSPACE, None)


def compiled(function: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
    """`torch.compile`, after a trial on one addition that says at once if there is no compiler.

    Raises:
        TrainingError: If nothing can be compiled for this device.
    """
    try:
        torch.compile(lambda x: x + 1)(torch.zeros(2, device=device))
    except Exception as err:  # the compilers of every device raise their own types
        reason = next((line for line in str(err).splitlines() if line.strip()), type(err).__name__)
        raise TrainingError(
            f"train.compile: nothing can be compiled for {device} here ({reason}); install a C++ compiler (on a GPU "
            "also triton), or set train.compile=false"
        ) from err
    return torch.compile(function)
