"""Several processes without torchrun."""

import json
import os

import pytest
import torch
from small_run import SMALL

from wsi_lpd.config import load_config
from wsi_lpd.errors import TrainingError
from wsi_lpd.models.saved.card import load_card
from wsi_lpd.training.local_processes import extra_processes
from wsi_lpd.training.run.job import load_training_data, train

NAMES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def fails():
    raise TrainingError("the companion's own trouble")


def breaks():
    os._exit(3)


def test_two_processes__train_one_network_and_leave_nothing_behind(labels_csv, tmp_path):
    threads = torch.get_num_threads()
    config = load_config(None, [*SMALL, "train.processes=2", "train.max_steps=3", "train.report=false"])
    data = load_training_data([labels_csv], [], config)
    run = train(data, config, runs_dir=tmp_path, out=tmp_path / "pair", device="cpu")
    assert json.loads((run.path / "identity.json").read_text())["processes"] == "2"
    assert load_card(run.path).config.train.processes == 2
    assert not [name for name in NAMES if name in os.environ]
    assert torch.get_num_threads() == threads


def test_one_process__starts_no_other():
    with extra_processes(1, fails):
        assert "WORLD_SIZE" not in os.environ


def test_the_block__is_told_its_place():
    with pytest.raises(TrainingError, match="1 of 2 processes ended with exit status"), extra_processes(2, fails):
        assert [os.environ[name] for name in ("RANK", "WORLD_SIZE")] == ["0", "2"]


def test_a_companion_that_dies__is_noticed():
    with pytest.raises(TrainingError, match="1 of 2 processes ended with exit status 3"), extra_processes(2, breaks):
        pass
    assert not [name for name in NAMES if name in os.environ]
