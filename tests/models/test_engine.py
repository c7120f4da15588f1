"""OpenVINO in the place of torch: the same features to float32's accuracy, whatever the batch and the thread."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import openvino_telemetry
import pytest
import torch
from torch import nn

from wsi_lpd.errors import ModelError
from wsi_lpd.models import engine
from wsi_lpd.models.encoders.build import build_encoder
from wsi_lpd.models.engine import OpenVinoEncoder, choose_engine

CPU, GPU = torch.device("cpu"), torch.device("cuda")
MANY, FEW = 10**9, 10**4
HEIGHT, WIDTH = 80, 112  # no multiple of 32

SIGNAL_AFTER_A_MODEL = """
import os, signal, threading
import torch
from wsi_lpd.models.engine import OpenVinoEncoder

class Layer(torch.nn.Conv2d):
    def forward(self, images):
        return [super().forward(images)]

signal.signal(signal.SIGUSR1, lambda *_: print("handled"))
held = [OpenVinoEncoder(Layer(3, 8, 3).eval(), at_once=1, strict=True)]
held[0](torch.zeros(1, 3, 32, 48))
other = threading.Thread(target=held.clear)
other.start()
other.join()
os.kill(os.getpid(), signal.SIGUSR1)
"""


class Untraceable(nn.Module):
    def forward(self, images):
        if torch.jit.is_tracing():
            raise TypeError("no such\noperator")
        return [images.mean(dim=1, keepdim=True)]


@pytest.fixture(scope="module", params=["pvt_v2_b0", "regnety_002"])
def encoder(request):
    torch.manual_seed(0)
    return build_encoder(request.param, scales=(1, 2, 3)).eval()


def images(count, seed=0):
    return torch.rand(count, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(seed))


@torch.inference_mode()
def test_features__are_those_of_torch_in_every_batch(encoder):
    fast = OpenVinoEncoder(encoder, at_once=2, strict=True)
    for count in (3, 1, 5):  # then fewer than it was compiled for, then more
        seen = images(count, seed=count)
        for ours, theirs in zip(fast(seen), encoder(seen), strict=True):
            assert ours.shape == theirs.shape
            torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_threads__do_not_take_each_others_features(encoder):
    fast = OpenVinoEncoder(encoder, at_once=3, strict=True)
    batches = [images(2, seed) for seed in range(9)]
    alone = [fast(batch) for batch in batches]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(torch.inference_mode()(fast), batches))
    for ours, theirs in zip(together, alone, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_a_signal__finds_a_stack_after_the_model_was_freed_in_another_thread():
    done = subprocess.run([sys.executable, "-c", SIGNAL_AFTER_A_MODEL], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr


def test_nobody_is_told(encoder, monkeypatch):
    def tell(*_arguments, **_options):
        raise AssertionError("telemetry was sent")

    monkeypatch.setattr(openvino_telemetry.Telemetry, "send_event", tell)
    monkeypatch.setattr(openvino_telemetry.Telemetry, "start_session", tell)
    OpenVinoEncoder(encoder, at_once=1, strict=True)(images(1))


def test_an_encoder_it_cannot_take__is_run_by_torch_or_refused(caplog):
    seen = images(2)
    assert torch.equal(OpenVinoEncoder(Untraceable(), at_once=1, strict=False)(seen)[0], Untraceable()(seen)[0])
    assert "cannot take this encoder (no such operator); torch runs it" in caplog.text
    with pytest.raises(ModelError, match=r"cannot take this encoder \(no such operator\); use segment.engine=torch"):
        OpenVinoEncoder(Untraceable(), at_once=1, strict=True)(seen)


@pytest.mark.parametrize(
    ("wanted", "device", "n_pixels", "chosen"),
    [
        ("auto", CPU, MANY, "openvino"),
        ("auto", CPU, FEW, "torch"),
        ("auto", GPU, MANY, "torch"),
        ("torch", CPU, MANY, "torch"),
        ("openvino", CPU, FEW, "openvino"),
    ],
)
def test_the_engine__suits_device_and_work(wanted, device, n_pixels, chosen):
    assert choose_engine(wanted, device, n_pixels=n_pixels) == chosen


def test_openvino__is_refused_where_it_cannot_be(monkeypatch):
    with pytest.raises(ModelError, match=r"segment.engine=openvino: the device is cuda; .*--device cpu"):
        choose_engine("openvino", GPU, n_pixels=MANY)
    monkeypatch.setattr(engine, "openvino_version", lambda: None)
    with pytest.raises(ModelError, match=r"OpenVINO is not installed; .*pip install openvino"):
        choose_engine("openvino", CPU, n_pixels=MANY)
    assert choose_engine("auto", CPU, n_pixels=MANY) == "torch"
