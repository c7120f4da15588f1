"""One step: what is summed, in which precision, in which layout, and that nothing in it waits for the device."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from small_run import SMALL

from wsi_lpd.config import load_config
from wsi_lpd.errors import TrainingError
from wsi_lpd.methods.base import Losses, Place
from wsi_lpd.training.data.augment import Draws
from wsi_lpd.training.data.batches import Batch
from wsi_lpd.training.learner import Learner
from wsi_lpd.training.modes import deterministic

STEPS = 40
LATE = Place(index=33, total=STEPS, per_epoch=STEPS)
"""All terms have started, and no prototype is moved by hand."""
METHODS = ("lpd", "cam", "pbip")
"""Those that are made to be used; lpd-reference looks at values, as the code it follows does."""


def make_learner(*settings, device="cpu", method="lpd"):
    needs = {"cam": ["model.prototypes_per_class=1"], "lpd-reference": ["reference.raw_prototypes=false"]}
    config = load_config(None, [f"method={method}", *SMALL, *needs.get(method, []), *settings])
    return Learner(
        config,
        class_names=("dots", "stripes", "rest"),
        positive_weights=torch.tensor([1.0, 2.0, 1.0]),
        device=torch.device(device),
    )


def make_batch(seed=0, count=4):
    generator = torch.Generator().manual_seed(seed)
    patches = torch.randint(0, 256, (count, 48, 48, 3), generator=generator, dtype=torch.uint8)
    labels = torch.tensor([[1, 0, 1], [1, 1, 0], [0, -1, 1], [0, 1, 0]], dtype=torch.int8).repeat(-(-count // 4), 1)
    return Batch(patches, labels[:count])


def remember(monkeypatch, learner, name):
    """Every result of one of the learner's methods."""
    found = []
    real = getattr(learner, name)

    def call(*args, **options):
        found.append(real(*args, **options))
        return found[-1]

    monkeypatch.setattr(learner, name, call)
    return found


def weights_after(learner, *, place=LATE, batch=None):
    learner.step(place, [make_batch()] if batch is None else batch, logged=False)
    return torch.cat([p.detach().flatten() for p in learner.network.parameters()])


def test_two_forward_passes__give_the_mean_of_their_gradients(monkeypatch):
    off = ["augment.flips=false", "augment.stain=0", "augment.contrast=0", "augment.brightness=0"]
    batches = [make_batch(1), make_batch(2)]
    learner = make_learner("model.encoder=pvt_v2_b0", "train.accumulate=2", "train.clip_norm=1e9", *off)
    gradients = []
    monkeypatch.setattr(
        learner, "_update", lambda: gradients.extend(p.grad for p in learner.network.parameters() if p.grad is not None)
    )
    learner.step(LATE, batches, logged=False)

    by_hand = make_learner("model.encoder=pvt_v2_b0", *off)
    by_hand.network.train()
    draws = Draws(torch.Generator().manual_seed(33))
    for batch in batches:
        step = by_hand._laid_out(batch, draws, 33 / STEPS)
        (torch.stack(list(by_hand.method.losses(step).terms.values())).sum() / 2).backward()
    expected = [p.grad for p in by_hand.network.parameters() if p.grad is not None]
    assert len(gradients) == len(expected) > 50
    for found, wanted in zip(gradients, expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("method", [*METHODS, "lpd-reference"])
def test_half_precision__is_for_the_network_and_not_for_the_losses(precision, method, monkeypatch):
    learner = make_learner(f"train.precision={precision}", method=method)
    outputs = remember(monkeypatch, learner, "_seen_by")
    terms = remember(monkeypatch, learner, "objective")
    row = learner.step(LATE, [make_batch()], logged=True)
    half = {"bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    assert all(features.dtype == half for output in outputs for features in output.features)
    assert {term.dtype for term in terms[0].values()} == {torch.float32}
    assert all(torch.isfinite(torch.tensor(value)) for value in row.values())
    assert all(p.dtype == torch.float32 for p in learner.network.parameters())


def test_the_published_refiner__has_finite_gradients_behind_layer_norms_of_random_weights():
    # Its crops are blank outside their region, and a layer norm of nothing multiplied its gradient by 1,000 each time.
    learner = make_learner("model.encoder=mit_b0", "model.prototype_dim=256", method="lpd-reference")
    rows = [learner.step(LATE, [make_batch(seed, count=8)], logged=True) for seed in range(3)]
    assert all(row["similarity"] > 0 for row in rows)
    assert all(torch.isfinite(p).all() for p in learner.network.parameters())


def test_half_precision__losses_are_near_those_of_full_precision():
    rows = [make_learner(f"train.precision={p}").step(LATE, [make_batch()], logged=True) for p in ("float32", "bf16")]
    assert rows[1]["loss"] == pytest.approx(rows[0]["loss"], rel=0.05)
    assert rows[1]["loss"] != rows[0]["loss"]


def test_channels_last__changes_the_layout_and_not_the_losses():
    plain, last = (make_learner(f"train.channels_last={value}") for value in ("false", "true"))
    wide = [p for p in last.network.parameters() if p.ndim == 4 and p.shape[1] > 1 and p.shape[2] > 1]
    assert wide
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in wide)
    assert all(p.is_contiguous() for p in plain.network.parameters())
    averaged = [p for p in last.average.network.parameters() if p.ndim == 4 and p.shape[1] > 1 and p.shape[2] > 1]
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in averaged)
    rows = [learner.step(LATE, [make_batch()], logged=True) for learner in (plain, last)]
    assert rows[1] == pytest.approx(rows[0], rel=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_a_step_that_is_not_logged__reads_no_value_back(method):
    # Tensors on the meta device have no values: to ask for one (item, bool, boolean index, nonzero) is an error.
    learner = make_learner("augment.blur=0.5", device="meta", method=method)
    assert learner.step(LATE, [make_batch(1), make_batch(2)], logged=False) is None
    with pytest.raises((RuntimeError, NotImplementedError)):
        learner.step(LATE, [make_batch()], logged=True)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "bf16", "fp16"])
def test_a_step_that_is_not_logged__does_not_wait_for_the_gpu(precision):
    learner = make_learner("augment.blur=0.5", f"train.precision={precision}", device="cuda")
    patches, labels = make_batch()
    batch = [(patches.pin_memory(), labels.pin_memory())]
    for _ in range(3):
        learner.step(LATE, batch, logged=False)
    torch.cuda.set_sync_debug_mode("error")
    try:
        learner.step(LATE, batch, logged=False)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
@pytest.mark.parametrize("method", METHODS)
def test_two_deterministic_steps__are_equal_to_the_bit_on_a_gpu(method):
    def weights():
        learner = make_learner("train.precision=bf16", device="cuda", method=method)
        return weights_after(learner), weights_after(learner, place=Place(34, STEPS, STEPS))

    with deterministic(True):
        assert all(torch.equal(a, b) for a, b in zip(weights(), weights(), strict=True))


def test_a_loss_that_is_not_finite__is_told():
    learner = make_learner()
    with torch.no_grad():
        learner.network.background.fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"step 34: the loss is not finite; lower train\.learning_rate"):
        learner.step(LATE, [make_batch()], logged=True)


def test_the_log__is_the_mean_over_forward_passes():
    off = ["augment.flips=false", "augment.stain=0", "augment.contrast=0", "augment.brightness=0"]
    batches = [make_batch(1), make_batch(2)]
    both = make_learner("model.encoder=pvt_v2_b0", *off).step(LATE, batches, logged=True)
    each = [make_learner("model.encoder=pvt_v2_b0", *off).step(LATE, [batch], logged=True) for batch in batches]
    for name in ("loss", "classification", "exclusion"):
        assert both[name] == pytest.approx((each[0][name] + each[1][name]) / 2, rel=1e-4)


def test_averaged_weights__follow_the_network():
    learner = make_learner("train.ema_decay=0.75")
    first = {k: v.clone() for k, v in learner.network.state_dict().items()}
    learner.step(Place(0, STEPS, STEPS), [make_batch()], logged=False)
    after = {k: v.clone() for k, v in learner.network.state_dict().items()}
    average = learner.average.network.state_dict()
    assert all(torch.equal(average[k], after[k]) for k in after), "the first update goes all the way"
    assert any(not torch.equal(first[k], after[k]) for k in after)
    learner.step(Place(1, STEPS, STEPS), [make_batch(1)], logged=False)
    for name, value in learner.network.state_dict().items():
        expected = 0.75 * after[name] + 0.25 * value if value.is_floating_point() else value
        torch.testing.assert_close(learner.average.network.state_dict()[name], expected, rtol=1e-5, atol=1e-6)
    assert not any(p.requires_grad for p in learner.average.network.parameters())


def test_a_state__brings_back_the_next_step_to_the_bit():
    place = Place(LATE.index + 1, STEPS, STEPS)
    learner = make_learner()
    learner.step(LATE, [make_batch()], logged=False)
    state = {
        k: torch.utils._pytree.tree_map(lambda v: v.clone() if isinstance(v, torch.Tensor) else v, part)
        for k, part in learner.state_dict().items()
    }
    expected = weights_after(learner, place=place)
    other = make_learner("train.seed=0")
    other.load_state_dict(state)
    assert torch.equal(weights_after(other, place=place), expected)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda state: state.pop("network"), "is no training state of wsi-lpd: it has no 'network'"),
        (lambda state: state.pop("optimizer"), "has no 'optimizer'"),
        (
            lambda state: state["network"].pop("background"),
            r"another network: of \d+ keys 1 are \(background\) missing",
        ),
        (
            lambda state: state["network"].update({"background": torch.zeros(3)}),
            r"another network: .* background is 3, expected a single number",
        ),
        (lambda state: state.update(optimizer=[1]), "does not fit this configuration"),
        (lambda state: state["average"].update(network={}), "does not fit this configuration"),
    ],
)
def test_a_foreign_state__says_what_is_wrong(damage, told):
    state = make_learner().state_dict()
    damage(state)
    with pytest.raises(TrainingError, match=told) as caught:
        make_learner().load_state_dict(state)
    assert "\n" not in str(caught.value)


COMPILED = """
import sys, torch
sys.path.insert(0, sys.argv[1])
from test_learner import LATE, make_batch, make_learner
plain, fast = make_learner(), make_learner("train.compile=true")
rows = [learner.step(LATE, [make_batch()], logged=True) for learner in (plain, fast)]
assert type(fast._student).__name__ == "OptimizedModule"
assert list(fast.network.state_dict()) == list(plain.network.state_dict())
print(rows[0]["loss"], rows[1]["loss"])
"""


def run_apart(tmp_path, **environment):
    """In a process and with a compile cache of its own: what was compiled once is not compiled again."""
    return subprocess.run(
        [sys.executable, "-c", COMPILED, str(Path(__file__).parent)],
        env={**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(tmp_path), **environment},
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ to compile with")
def test_a_compiled_network__gives_the_same_losses(tmp_path):
    done = run_apart(tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    plain, fast = map(float, done.stdout.split())
    assert fast == pytest.approx(plain, rel=1e-3)


@pytest.mark.slow
def test_compile__without_a_compiler_is_told(tmp_path):
    done = run_apart(tmp_path, CXX="no-such-compiler", PATH=str(tmp_path))
    assert "TrainingError: train.compile: nothing can be compiled for cpu here" in done.stderr
    assert "install a C++ compiler" in done.stderr.splitlines()[-1]


def test_losses__of_the_log_are_those_that_are_summed():
    losses = Losses({"classification": torch.tensor(2.0), "usage": torch.tensor(0.5)})
    assert float(losses.total) == 2.5
