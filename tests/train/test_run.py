"""A training run as a whole: it learns, it resumes exactly, it never destroys another run."""

import csv
import json
from contextlib import contextmanager

import pytest
import torch
from small_run import SMALL

from wsi_lpd.config import load_config
from wsi_lpd.errors import TrainingError
from wsi_lpd.models.card import load_card
from wsi_lpd.models.checkpoint import load_state
from wsi_lpd.models.runs import find_run
from wsi_lpd.progress import Progress
from wsi_lpd.train.run import load_training_data, train


class KilledError(Exception):
    pass


class Killer(Progress):
    """Ends the run in the middle of a step, as a kill would: nothing after it is done."""

    def __init__(self, after):
        self.after = after

    @contextmanager
    def stage(self, name, total, unit):
        done = 0

        def advance(n):
            nonlocal done
            done += n
            if n and done > self.after:
                raise KilledError

        yield advance


def data(labels_csv, config):
    return load_training_data([labels_csv], [], config)


def train_in(folder, labels_csv, config, **options):
    return train(data(labels_csv, config), config, runs_dir=folder, device="cpu", **options)


def read_metrics(run):
    with (run / "metrics.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def undisturbed(labels_csv, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    return train_in(folder, labels_csv, load_config(None, SMALL)).path


def test_a_run__leaves_all_that_segment_needs(undisturbed):
    card = load_card(undisturbed)
    assert [c.name for c in card.classes] == ["dots", "stripes"]
    assert card.prototypes_per_class == 3
    assert card.mpp == 0.5
    assert card.patch_px == 48
    assert set(card.metrics) >= {"loss", "exact_match"}
    assert load_config(undisturbed / "config.yaml") == card.config
    assert all(torch.isfinite(tensor).all() for tensor in load_state(undisturbed).values())
    assert find_run(undisturbed.parent) == undisturbed


def test_metrics__have_a_line_per_logged_step_and_per_validation(undisturbed):
    rows = read_metrics(undisturbed)
    steps = [int(row["step"]) for row in rows if row["part"] == "train"]
    assert steps == list(range(1, 9))
    assert [int(row["step"]) for row in rows if row["part"] == "val"] == [4, 8]
    late = [row for row in rows if row["part"] == "train"][-1]
    assert float(late["diversity"]) > 0
    assert float(late["diversity_gradient_ratio"]) > 0


@pytest.mark.parametrize("after", [1, 2, 5])
def test_a_killed_run__ends_as_an_undisturbed_one(undisturbed, labels_csv, tmp_path, after):
    config = load_config(None, SMALL)
    with pytest.raises(KilledError):
        train_in(tmp_path, labels_csv, config, progress=Killer(after))
    assert not (tmp_path / "latest").exists()
    run = train_in(tmp_path, labels_csv, config)
    assert (run.path / "model.safetensors").read_bytes() == (undisturbed / "model.safetensors").read_bytes()
    timeless = [
        [{k: v for k, v in row.items() if k not in ("patches_per_s", "data_wait")} for row in read_metrics(folder)]
        for folder in (run.path, undisturbed)
    ]
    assert timeless[0] == timeless[1]


def test_a_finished_run__is_left_alone(undisturbed, labels_csv):
    before = (undisturbed / "model.safetensors").stat().st_mtime_ns
    again = train_in(undisturbed.parent, labels_csv, load_config(None, SMALL), out=undisturbed)
    assert again.was_finished
    assert again.metrics == pytest.approx({k: v for k, v in load_card(undisturbed).metrics.items() if v is not None})
    assert (undisturbed / "model.safetensors").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("change", "told"), [(["train.learning_rate=2e-3"], "another config"), (["train.seed=9"], "another config")]
)
def test_the_folder_of_another_run__is_refused(undisturbed, labels_csv, change, told):
    with pytest.raises(TrainingError, match=told):
        train_in(undisturbed.parent, labels_csv, load_config(None, SMALL + change), out=undisturbed)


def test_settings_of_other_commands__do_not_make_another_run(undisturbed, labels_csv):
    config = load_config(None, [*SMALL, "segment.overlap=0.25", "tile.min_tissue=0.1"])
    assert train_in(undisturbed.parent, labels_csv, config, out=undisturbed).was_finished


def test_a_folder_with_other_things__is_refused(labels_csv, tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(TrainingError, match="is not empty and no run of ours"):
        train_in(tmp_path, labels_csv, load_config(None, SMALL), out=tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "precious"


def test_resume__without_a_run_is_an_error(labels_csv, tmp_path):
    config = load_config(None, SMALL)
    for options in ({"out": tmp_path / "a"}, {}):
        with pytest.raises(TrainingError, match="resume"):
            train_in(tmp_path, labels_csv, config, resume=True, **options)


def test_no_resume__starts_a_run_of_its_own(labels_csv, tmp_path):
    config = load_config(None, [*SMALL, "train.max_steps=3"])
    with pytest.raises(KilledError):
        train_in(tmp_path, labels_csv, config, progress=Killer(2), out=tmp_path / "killed")
    run = train_in(tmp_path, labels_csv, config, resume=False)
    assert run.path != tmp_path / "killed"
    assert not (tmp_path / "killed" / "model.json").exists()


def test_a_damaged_state__is_told_and_not_trusted(labels_csv, tmp_path):
    config = load_config(None, SMALL)
    with pytest.raises(KilledError):
        train_in(tmp_path, labels_csv, config, progress=Killer(5), out=tmp_path / "run")
    state = tmp_path / "run" / "training.pt"
    state.write_bytes(state.read_bytes()[: state.stat().st_size // 2])
    with pytest.raises(TrainingError, match=r"training\.pt: cannot be read .* remove it"):
        train_in(tmp_path, labels_csv, config, out=tmp_path / "run")


def test_too_few_patches_for_accumulation__is_told(labels_csv, tmp_path):
    config = load_config(None, [*SMALL, "train.accumulate=50"])
    with pytest.raises(TrainingError, match=r"fewer than train\.accumulate=50"):
        train_in(tmp_path, labels_csv, config)


def test_an_unknown_device__is_told(labels_csv, tmp_path):
    with pytest.raises(Exception, match="--device abacus: not available here"):
        train_in_abacus(tmp_path, labels_csv)


def train_in_abacus(folder, labels_csv):
    config = load_config(None, SMALL)
    train(data(labels_csv, config), config, runs_dir=folder, device="abacus")


def test_identity__is_plain_json(undisturbed):
    identity = json.loads((undisturbed / "identity.json").read_text())
    assert set(identity) == {"config", "training_data", "validation_data"}
