"""A training run as a whole: it learns, it resumes exactly, it never destroys another run."""

import csv
import json
import os
import re

import pytest
import torch
from dots_and_stripes import write_patches
from killed_run import KilledError, Killer
from small_run import SMALL

from wsi_lpd.config import load_config
from wsi_lpd.errors import LabelError, TrainingError
from wsi_lpd.models.saved.card import load_card
from wsi_lpd.models.saved.checkpoint import load_state
from wsi_lpd.models.saved.runs import find_run
from wsi_lpd.training.modes import deterministic
from wsi_lpd.training.run import run_folder
from wsi_lpd.training.run.job import TrainingData, load_training_data, train
from wsi_lpd.training.trainer import Trainer


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
    ("change", "told"),
    [
        (["train.learning_rate=2e-3"], r"another configuration \(train\.learning_rate 0\.001, now 0\.002\)"),
        (["model.prototypes_per_class=4"], r"another configuration \(model\.prototypes_per_class 3, now 4\)"),
        (["train.seed=9", "loss.ramp=0.5"], r"loss\.ramp 0\.2, now 0\.5; train\.seed 0, now 9"),
        (["tile.mpp=0.25"], r"another patches \(48 px at 0\.5 um/px, now 48 px at 0\.25 um/px\)"),
    ],
)
def test_the_folder_of_another_run__is_refused(undisturbed, labels_csv, change, told):
    with pytest.raises(TrainingError, match=told):
        train_in(undisturbed.parent, labels_csv, load_config(None, SMALL + change), out=undisturbed)


def test_settings_of_other_commands__do_not_make_another_run(undisturbed, labels_csv):
    config = load_config(None, [*SMALL, "segment.overlap=0.25", "tile.min_tissue=0.1"])
    assert train_in(undisturbed.parent, labels_csv, config, out=undisturbed).was_finished


def test_settings_without_consequence__may_change_when_a_run_goes_on(undisturbed, labels_csv, tmp_path):
    with pytest.raises(KilledError):
        train_in(tmp_path, labels_csv, load_config(None, SMALL), progress=Killer(5), out=tmp_path / "run")
    free = ["train.workers=1", "train.worker_start=fork", "train.log_every=3", "train.checkpoint_every=1"]
    config = load_config(None, [*SMALL, *free, "train.report=false", "train.profile=1"])
    run = train_in(tmp_path, labels_csv, config, out=tmp_path / "run", resume=True)
    assert (run.path / "model.safetensors").read_bytes() == (undisturbed / "model.safetensors").read_bytes()


def edited(labels_csv, tmp_path, change):
    """A copy of the label file whose rows went through `change`; its images are found where they are."""
    with labels_csv.open(newline="") as stream:
        header, *rows = csv.reader(stream)
    rows = [[str(labels_csv.parent / row[0]), *row[1:]] for row in rows]
    header, rows = change(header, rows)
    path = tmp_path / "edited.csv"
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([header, *rows])
    return path


def test_labels_of_other_classes__are_not_gone_on_with(undisturbed, labels_csv, tmp_path):
    def renamed(header, rows):
        return [*header[:3], "lines"], rows

    path = edited(labels_csv, tmp_path, renamed)
    with pytest.raises(TrainingError, match=r"another classes \(dots, stripes, now dots, lines\); training data"):
        train_in(undisturbed.parent, path, load_config(None, SMALL), out=undisturbed)


def test_labels_that_changed__are_not_gone_on_with(undisturbed, labels_csv, tmp_path):
    def corrected(header, rows):
        return header, [[*row[:2], "0", row[3]] if row[2] == "" else row for row in rows]

    path = edited(labels_csv, tmp_path, corrected)
    with pytest.raises(TrainingError, match=r"another (training|validation) data\. Choose another --out, or remove it"):
        train_in(undisturbed.parent, path, load_config(None, SMALL), out=undisturbed)


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        ("0", "class dots has no positive patch among the training patches: it cannot be learnt"),
        ("1", "class dots has no negative patch among the training patches: nothing says where it is not"),
        ("", r"class dots is judged on none of the \d+ training patches: it cannot be learnt"),
    ],
)
def test_a_class_that_cannot_be_learnt__is_warned_of(labels_csv, tmp_path, caplog, cells, told):
    path = edited(labels_csv, tmp_path, lambda header, rows: (header, [[*r[:2], cells, r[3]] for r in rows]))
    loaded = data(path, load_config(None, SMALL))
    assert len(caplog.records) == 1
    assert re.search(told, caplog.text)
    run = train(
        loaded,
        load_config(None, [*SMALL, "train.max_steps=3", "train.report=false"]),
        runs_dir=tmp_path,
        device="cpu",
    )
    assert all(torch.isfinite(tensor).all() for tensor in load_state(run.path).values())


def test_a_class_of_held_out_slides_alone__is_warned_of(labels_csv, tmp_path, caplog):
    without = edited(labels_csv, tmp_path, lambda header, rows: (header, [[*row[:2], "0", row[3]] for row in rows]))
    (tmp_path / "held out").mkdir()
    held_out = write_patches(tmp_path / "held out", ("dots", "stripes"), [(1, 0), (0, 1), (1, 1)], side=48)
    load_training_data([without], [held_out], load_config(None, SMALL))
    assert [record.getMessage() for record in caplog.records] == [
        "class dots has no positive patch among the training patches: it cannot be learnt"
    ]


def test_labels_with_nothing_in_them__are_told(labels_csv, tmp_path):
    config = load_config(None, SMALL)
    with pytest.raises(LabelError, match="none of its 22 patches has a label"):
        data(edited(labels_csv, tmp_path, lambda header, rows: (header, [[*row[:2], "", ""] for row in rows])), config)
    with pytest.raises(LabelError, match="has no rows below its header"):
        data(edited(labels_csv, tmp_path, lambda header, rows: (header, [])), config)
    whole = data(labels_csv, config)
    with pytest.raises(TrainingError, match="0 patches are too few to train on"):
        train(TrainingData(whole.training.subset([]), None), config, runs_dir=tmp_path, device="cpu")


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ([1, 2], "holds no training state"),
        ({"epoch": 3, "model": torch.zeros(2)}, "is no training state of wsi-lpd: it has no 'network'"),
    ],
)
def test_a_foreign_state__is_told_and_not_trusted(labels_csv, tmp_path, state, told):
    config = load_config(None, SMALL)
    with pytest.raises(KilledError):
        train_in(tmp_path, labels_csv, config, progress=Killer(5), out=tmp_path / "run")
    torch.save(state, tmp_path / "run" / "training.pt")
    with pytest.raises(TrainingError, match=rf"training\.pt: .*{told}.*remove it to start the run over"):
        train_in(tmp_path, labels_csv, config, out=tmp_path / "run")
    (tmp_path / "run" / "training.pt").unlink()
    assert not train_in(tmp_path, labels_csv, config, out=tmp_path / "run").was_finished


def test_a_state_that_could_run_code__is_not_unpickled(labels_csv, tmp_path):
    config = load_config(None, SMALL)
    with pytest.raises(KilledError):
        train_in(tmp_path, labels_csv, config, progress=Killer(5), out=tmp_path / "run")
    torch.save({"step": 1, "network": Killer(3)}, tmp_path / "run" / "training.pt")
    with pytest.raises(
        TrainingError, match=r"training\.pt: cannot be read .* remove it to start the run over"
    ) as caught:
        train_in(tmp_path, labels_csv, config, out=tmp_path / "run")
    assert "\n" not in str(caught.value)


def test_a_state_of_a_later_step__is_told(labels_csv, tmp_path):
    config = load_config(None, SMALL)
    with pytest.raises(KilledError):
        train_in(tmp_path, labels_csv, config, progress=Killer(5), out=tmp_path / "run")
    path = tmp_path / "run" / "training.pt"
    torch.save(torch.load(path, weights_only=True) | {"step": 99}, path)
    with pytest.raises(TrainingError, match=r"training\.pt: is of step 99, this run has 8"):
        train_in(tmp_path, labels_csv, config, out=tmp_path / "run")


def test_two_deterministic_runs__are_equal_to_the_bit_and_leave_no_mode_behind(labels_csv, tmp_path, monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    config = load_config(None, [*SMALL, "train.deterministic=true", "train.max_steps=5", "train.report=false"])
    seen = []
    real = Trainer.fit

    def fit(self):
        seen.append((torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.deterministic, *workspace()))
        return real(self)

    def workspace():
        return os.environ.get("CUBLAS_WORKSPACE_CONFIG"), torch.backends.cudnn.benchmark

    monkeypatch.setattr(Trainer, "fit", fit)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    runs = [train_in(tmp_path, labels_csv, config, out=tmp_path / name).path for name in ("a", "b")]
    assert seen == [(True, True, ":4096:8", False)] * 2
    assert workspace() == (None, True)
    assert not torch.are_deterministic_algorithms_enabled()
    assert not torch.backends.cudnn.deterministic
    assert (runs[0] / "model.safetensors").read_bytes() == (runs[1] / "model.safetensors").read_bytes()


def test_an_operation_without_a_deterministic_form__is_told():
    told = r"train\.deterministic: put_ does not have a deterministic .*set train\.deterministic=false"
    with pytest.raises(TrainingError, match=told), deterministic(True):
        torch.zeros(3).put_(torch.tensor([0]), torch.tensor([1.0]))
    with pytest.raises(RuntimeError, match="out of memory"), deterministic(True):
        raise RuntimeError("out of memory")
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_profile__is_a_trace_and_a_table_of_as_many_steps_as_were_asked_for(undisturbed, labels_csv, tmp_path):
    config = load_config(None, [*SMALL, "train.profile=2", "train.report=false"])
    run = train_in(tmp_path, labels_csv, config).path
    names = [event.get("name") for event in json.loads((run / "trace.json").read_text())["traceEvents"]]
    assert names.count("update") == names.count("wait for data") == 2
    assert "convolution" in (run / "profile.txt").read_text()
    assert (run / "model.safetensors").read_bytes() == (undisturbed / "model.safetensors").read_bytes()
    assert not (undisturbed / "trace.json").exists()


def test_a_profile__of_a_run_that_is_too_short_is_told(labels_csv, tmp_path, caplog):
    config = load_config(None, [*SMALL, "train.profile=2", "train.max_steps=2", "train.report=false"])
    run = train_in(tmp_path, labels_csv, config).path
    assert not (run / "trace.json").exists()
    assert "train.profile: the training ended before step 4, nothing was recorded" in caplog.text


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
    assert set(identity) == {"config", "classes", "patches", "training_data", "validation_data", "processes"}
    assert identity["classes"] == "dots, stripes"


def test_runs_of_the_same_second__get_folders_of_their_own(tmp_path, monkeypatch):
    class Still(run_folder.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2026, 5, 4, 3, 2, 1, tzinfo=tz)

    monkeypatch.setattr(run_folder, "datetime", Still)
    names = []
    for _ in range(3):
        chosen = run_folder.choose_run(tmp_path, None, config=load_config(None), identity={}, resume=False)
        chosen.path.mkdir()
        names.append(chosen.path.name)
    assert names == ["20260504-030201-lpd", "20260504-030201-lpd-2", "20260504-030201-lpd-3"]


def test_a_state_that_torch_cannot_write__is_one_line_and_leaves_the_one_before(tmp_path, monkeypatch):
    folder = run_folder.RunFolder(tmp_path)
    folder.save_state({"step": 3})

    def full(state, path):
        path.write_bytes(b"half")
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0\nframe #0")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(TrainingError, match=r"cannot be written .*make room on the disk") as caught:
        folder.save_state({"step": 4})
    assert "\n" not in str(caught.value)
    assert folder.load_state() == {"step": 3}
    assert [path.name for path in tmp_path.iterdir()] == [folder.state_path.name]


def test_validation_patches_that_are_learnt_from__are_refused(labels_csv, tmp_path):
    lines = labels_csv.read_text().splitlines()
    part = labels_csv.with_name("val.csv")
    part.write_text("\n".join([lines[0], *lines[5:9]]) + "\n")
    with pytest.raises(TrainingError, match=r"--val: \d of its \d patches are in --labels too, such as "):
        load_training_data([labels_csv], [part], load_config())
