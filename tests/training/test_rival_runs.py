"""A run of each rival: it trains, goes on exactly after a kill, comes back from its folder and looks at windows."""

import numpy as np
import pytest
import torch
from test_run import KilledError, Killer, read_metrics, train_in

from wsi_lpd.config import load_config
from wsi_lpd.methods.tpro.vectors import write_vectors
from wsi_lpd.models.saved.card import load_card
from wsi_lpd.overlay.raster.strips import NO_PROTOTYPE
from wsi_lpd.prediction.predictor import Predictor

SETTINGS = [
    "train.learning_rate=1e-3", "train.batch_size=4", "train.epochs=2", "train.workers=0", "train.log_every=1",
    "train.checkpoint_every=2", "train.ema_decay=0.5",
]  # fmt: skip
OWN = {"pscl": "contrast", "uam": "assignment"}


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.npz"
    write_vectors(path, ["stripes", "dots"], np.eye(2, 8), np.eye(2, 16)[:, ::-1])
    return path


def configured(method, text):
    own = [f"model.vectors={text}", "model.prototype_dim=8", "model.knowledge_dim=16"] if method == "tpro" else []
    return load_config(None, [f"method={method}", *SETTINGS, *own])


@pytest.mark.parametrize("method", ["pscl", "mlps", "tpro", "uam"])
def test_a_run__is_exact_and_usable(method, text, labels_csv, tmp_path):
    config = configured(method, text)
    run = train_in(tmp_path / "undisturbed", labels_csv, config).path
    with pytest.raises(KilledError):
        train_in(tmp_path / "killed", labels_csv, config, progress=Killer(5))
    again = train_in(tmp_path / "killed", labels_csv, config).path
    assert (again / "model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()
    last = [row for row in read_metrics(run) if row["part"] == "train"][-1]
    assert all((float(last[name]) > 0) == (OWN.get(method) == name) for name in OWN.values() if last[name])
    assert OWN.get(method) is None or float(last[OWN[method]]) > 0
    text.rename(text.with_suffix(".gone"))  # a model needs its file no more
    try:
        predictor = Predictor.load(run, torch.device("cpu"))
    finally:
        text.with_suffix(".gone").rename(text)
    windows = np.random.default_rng(1).integers(0, 256, (2, 48, 48, 3)).astype(np.uint8)
    for maps in predictor.predict(windows, output_stride=4, views=2):
        assert maps.logits.shape == (3, 12, 12)
        assert np.isfinite(maps.logits).all()
        assert (maps.prototypes == NO_PROTOTYPE).all() == (method in ("pscl", "mlps"))
    assert (run / "prototypes.png").is_file() == (method in ("tpro", "uam"))
    assert load_card(run).method == method
