"""Who runs an encoder on processors: torch, or OpenVINO, which takes little more than half of its time."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
import torch
from torch import Tensor, nn

from wsi_lpd.errors import ModelError
from wsi_lpd.types import Float32Array
from wsi_lpd.versions import versions_of

logger = logging.getLogger(__name__)

EngineName = Literal["auto", "torch", "openvino"]

_WORTH_IT_PX: Final = 16_000_000
"""Pixels of windows from which on OpenVINO gains more time than its start takes (one to two seconds)."""


def choose_engine(wanted: EngineName, device: torch.device, *, n_pixels: int) -> Literal["torch", "openvino"]:
    """The engine for so many pixels that an encoder will look at.

    Args:
        wanted: `auto` is OpenVINO on processors where it is installed, unless there is too little to do.
        device: Where the network runs.
        n_pixels: Of all windows together, in all views.

    Raises:
        ModelError: If OpenVINO is asked for and there is none, or the device is no processor.
    """
    is_there, is_processor = bool(openvino_version()), device.type == "cpu"
    if wanted == "openvino" and not (is_there and is_processor):
        found = f"the device is {device.type}" if is_there else "OpenVINO is not installed"
        raise ModelError(
            f"segment.engine=openvino: {found}; it runs on processors, after `pip install openvino`. "
            "Use segment.engine=auto, or --device cpu"
        )
    suits = is_there and is_processor and n_pixels >= _WORTH_IT_PX
    return "openvino" if wanted == "openvino" or (wanted == "auto" and suits) else "torch"


def openvino_version() -> str | None:
    """None where it is not installed."""
    return versions_of(["openvino"]).get("openvino")


class OpenVinoEncoder(nn.Module):
    """Takes the place of an encoder. Safe in several threads at once; nothing is sent anywhere.

    Sums are made in another order than torch makes them: features differ in the sixth digit (float32 throughout).

    Args:
        encoder: In eval mode, on a processor.
        at_once: Calls at the same time; each gets an equal share of torch's threads.
        strict: Raise if OpenVINO cannot take the encoder; otherwise torch runs it, and the log says so.
    """

    def __init__(self, encoder: nn.Module, *, at_once: int, strict: bool) -> None:
        super().__init__()
        self.encoder = encoder
        self._options: Final = {
            "NUM_STREAMS": at_once,
            "INFERENCE_NUM_THREADS": max(at_once, torch.get_num_threads()),
            "INFERENCE_PRECISION_HINT": "f32",
            "ENABLE_CPU_PINNING": False,
        }
        self._strict = strict
        self._lock = threading.Lock()
        self._sizes: dict[tuple[int, int], _OneSize | None] = {}

    def forward(self, images: Tensor) -> list[Tensor]:
        """As `Encoder.forward`, without a graph.

        Raises:
            ModelError: If OpenVINO was asked for and cannot take the encoder.
        """
        with self._lock:
            runner = self._runner(images)
        if runner is None:
            maps: list[Tensor] = self.encoder(images)
            return maps
        return [torch.from_numpy(features) for features in runner(images.numpy())]

    def _runner(self, images: Tensor) -> _Compiled | None:
        """What runs images of this size, at least as many at a time; None = torch."""
        count, _, height, width = images.shape
        if (height, width) not in self._sizes:
            self._sizes[height, width] = self._converted(images[:1])
        size = self._sizes[height, width]
        return None if size is None else size.compiled(count, self._options)

    def _converted(self, image: Tensor) -> _OneSize | None:
        try:
            return _OneSize(_openvino_model(self.encoder, image))
        except Exception as err:  # whatever a tracer or a converter may raise over an architecture it does not know
            message = f"OpenVINO cannot take this encoder ({' '.join(str(err).split())[:200]})"
            if self._strict:
                raise ModelError(f"segment.engine=openvino: {message}; use segment.engine=torch") from err
            logger.warning("%s; torch runs it, which is slower", message)
            return None


class _OneSize:
    """A model for images of one size, compiled for the largest batch so far."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._compiled: _Compiled | None = None

    def compiled(self, count: int, options: dict[str, Any]) -> _Compiled:
        if self._compiled is None or self._compiled.batch_size < count:
            import openvino

            shape = list(self._model.inputs[0].partial_shape)
            self._model.reshape([count, *shape[1:]])
            # OpenVINO leaves the thread that compiles an alternate signal stack, and takes its memory away with the
            # model: the next signal (Ctrl-C, a child's end) would crash. So it compiles in a thread that ends here.
            with ThreadPoolExecutor(1) as once:
                compiled = once.submit(openvino.Core().compile_model, self._model, "CPU", options).result()
            self._compiled = _Compiled(compiled, count)
        return self._compiled


@dataclass
class _Compiled:
    """A compiled model; each call at the same time has a request of its own."""

    model: Any
    batch_size: int
    idle: list[Any] = field(default_factory=list)

    def __call__(self, images: Float32Array) -> Sequence[Float32Array]:
        """Feature maps of up to `batch_size` images; a smaller batch is filled up, since a variable size costs time."""
        count = len(images)
        if count < self.batch_size:
            images = np.concatenate([images, np.zeros((self.batch_size - count, *images.shape[1:]), np.float32)])
        try:
            request = self.idle.pop()
        except IndexError:
            request = self.model.create_infer_request()
        found = request.infer({0: np.ascontiguousarray(images)}, share_inputs=True)
        features = [found[i][:count] for i in range(len(found))]
        self.idle.append(request)
        return features


class _AsTuple(nn.Module):
    """A tracer wants a tuple."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.encoder(images))


def _openvino_model(encoder: nn.Module, image: Tensor) -> Any:
    """The encoder as OpenVINO's model for images (B, 3, H, W) of that size.

    The front end is called by itself: `openvino.convert_model` does the same, and tells its makers of it.
    """
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a trace holds for one size, which is what is wanted; and it is deprecated
        wrapped = _AsTuple(encoder).eval()
        traced = torch.jit.trace(wrapped, image, check_trace=False, strict=False)  # type: ignore[no-untyped-call]
    front_end = FrontEndManager().load_by_framework("pytorch")
    decoder = TorchScriptPythonDecoder(traced, example_input=(image,))  # named, as nobody else keeps it alive
    model = front_end.convert(front_end.load(decoder))
    model.reshape(list(image.shape))
    return model
