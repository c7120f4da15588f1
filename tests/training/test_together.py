"""Two processes: the same losses and weights as one with twice the batch, and one word when one of them fails."""

import csv
import os
import re
from functools import partial

import pytest
import torch
from small_run import SMALL
from together import together

from wsi_lpd.config import load_config
from wsi_lpd.errors import LabelError, PeerError, TrainingError
from wsi_lpd.labels.sources import read_labels
from wsi_lpd.losses.classification import background_loss, classification_loss
from wsi_lpd.losses.counts import average_count, summed, summed_count
from wsi_lpd.losses.diversity import correlation_loss, diversity_loss, usage_loss
from wsi_lpd.losses.pseudo import pseudo_loss
from wsi_lpd.losses.similarity import similarity_loss
from wsi_lpd.models.network import build_network
from wsi_lpd.models.saved.checkpoint import load_state
from wsi_lpd.training.data.batches import training_batches
from wsi_lpd.training.processes import ALONE, Processes, joined, synchronised
from wsi_lpd.training.run.job import load_training_data, train

# No batch norm, whose statistics would be those of each process's share on a CPU.
PVT = [
    "model.encoder=pvt_v2_b0",
    *SMALL,
    "train.val_fraction=0.2",
    "train.report=false",
    "train.prototype_learning_rate=1e-3",
]


def rows_of(run, part="train"):
    with (run / "metrics.csv").open(newline="") as stream:
        return [row for row in csv.DictReader(stream) if row["part"] == part]


def losses_of(run):
    """Losses and rates at every step; the clock's columns are left out."""
    return [
        {k: float(v) for k, v in row.items() if v and k not in ("part", "patches_per_s", "data_wait")}
        for row in rows_of(run)
    ]


def trained(labels_csv, out, settings, rank=0):
    config = load_config(None, settings)
    data = load_training_data([labels_csv], [], config)
    return train(data, config, runs_dir=out.parent, out=out, device="cpu")


# --- what losses are divided by ----------------------------------------------------------------------------------


def test_counts__of_one_process_are_its_own():
    assert average_count(torch.tensor([0, 3])).tolist() == [1.0, 3.0]
    assert summed_count(torch.tensor([0, 3])).tolist() == [0.0, 3.0]
    values = torch.rand(2)
    assert summed(values) is values


def test_counts__of_two_processes():
    def ask(rank):
        with joined("cpu"):
            return average_count(torch.tensor([rank, 0, 5 + rank])), summed_count(torch.tensor([rank, 0, 5 + rank]))

    for average, total in together(ask):
        assert average.tolist() == [0.5, 0.5, 5.5], "at least one cell in all, and not in each"
        assert total.tolist() == [1.0, 0.0, 11.0]


def losses_with_counts():
    """Each loss on a batch of 6 whose halves hold differently much of everything, as a function of a slice of it."""
    generator = torch.Generator().manual_seed(2)
    maps = torch.randn(6, 3, 4, 5, generator=generator)
    similarity = torch.rand(6, 3, 4, 20, generator=generator) * 2 - 1
    mask = torch.rand(6, 3, 20, generator=generator) > torch.tensor([0.1, 0.2, 0.3, 0.75, 0.8, 0.9])[:, None, None]
    one_class = (torch.arange(3)[None, :, None, None] == torch.tensor([0, 1, 2, 0, 1, 2])[:, None, None, None]) & (
        torch.rand(6, 1, 4, 5, generator=generator) > torch.tensor([0.1, 0.1, 0.3, 0.8, 0.9, 0.9])[:, None, None, None]
    )
    glass = (torch.rand(6, 4, 5, generator=generator) > torch.tensor([0.1, 0.3, 0.5, 0.9, 0.9, 1])[:, None, None]) * 1.0
    labels = torch.tensor([[1, 0, 1], [0, 1, 0], [1, 1, 0], [-1, -1, 1], [-1, 0, -1], [-1, -1, 1]])
    prototypes = torch.nn.functional.normalize(torch.randn(3, 2, 8, generator=generator), dim=-1)
    pooled = torch.randn(6, 3, 8, generator=generator)
    return {
        "classification": (
            maps.mean((2, 3)),
            lambda x, part: classification_loss(
                [x], labels[part], scale_weights=[0.7], positive_weights=torch.tensor([2.0, 1.0, 3.0])
            ),
        ),
        "background": (maps, lambda x, part: background_loss(x, torch.tensor(0.3), glass[part])),
        "diversity": (similarity, lambda x, part: diversity_loss(x, mask[part], temperature=0.2)),
        "correlation": (similarity, lambda x, part: correlation_loss(x, mask[part])),
        "usage": (similarity, lambda x, part: usage_loss(x, mask[part], temperature=0.2)),
        "pseudo": (maps, lambda x, part: pseudo_loss([x], [one_class[part]])),
        "similarity": (
            pooled,
            lambda x, part: similarity_loss(
                x, prototypes, present=labels[part] == 1, absent=labels[part] == 0, temperature=0.3
            ),
        ),
    }


@pytest.mark.parametrize("name", sorted(losses_with_counts()))
def test_a_loss__averaged_over_processes_is_that_of_the_whole_batch(name):
    values, loss = losses_with_counts()[name]
    weight = torch.tensor(1.0, requires_grad=True)
    whole = loss(values * weight, slice(0, 6))
    (whole_gradient,) = torch.autograd.grad(whole, weight)

    def of_a_share(rank, size):
        with joined("cpu"):
            part = slice(size * rank, size * (rank + 1))
            share = torch.tensor(1.0, requires_grad=True)
            value = loss(values[part] * share, part)
            return value.detach(), torch.autograd.grad(value, share)[0]

    assert float(whole_gradient) != 0
    for count in (2, 3):
        shares = together(partial(of_a_share, size=6 // count), count)
        mean, gradient = (torch.stack(list(found)).mean() for found in zip(*shares, strict=True))
        assert float(mean) == pytest.approx(float(whole.detach()), abs=1e-5)
        assert float(gradient) == pytest.approx(float(whole_gradient), abs=1e-5)


# --- a whole training --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def of_one(labels_csv, tmp_path_factory):
    """One process with batches of 8: augmentation, mosaics, prototypes spread and revived, all terms."""
    out = tmp_path_factory.mktemp("one") / "run"
    trained(labels_csv, out, [*PVT, "train.batch_size=8", "train.epochs=4"])
    return out


@pytest.fixture(scope="module")
def of_two(labels_csv, tmp_path_factory):
    """Two processes with batches of 4."""
    out = tmp_path_factory.mktemp("two") / "run"
    settings = [*PVT, "train.batch_size=4", "train.epochs=4"]
    return out, together(partial(trained, labels_csv, out, settings))


def test_two_processes__give_the_losses_of_one_with_twice_the_batch(of_one, of_two):
    alone, both = losses_of(of_one), losses_of(of_two[0])
    assert len(alone) == len(both) >= 8
    for expected, found in zip(alone, both, strict=True):
        assert found == pytest.approx(expected, abs=1e-4, rel=1e-4)
    assert both[-1]["diversity"] > 0
    assert both[-1]["usage"] > 0


def test_two_processes__leave_one_run_written_by_the_first(of_one, of_two):
    out, (first, second) = of_two
    assert {path.name.split(".")[0] for path in out.iterdir()} == {path.name.split(".")[0] for path in of_one.iterdir()}
    assert len(list(out.glob("events.*"))) == 1
    assert first.path == second.path == out
    assert set(first.metrics) >= {"loss", "exact_match"}
    assert second.metrics == {}
    expected = {k: float(v) for k, v in rows_of(of_one, "val")[-1].items() if v and k != "part"}
    found = {k: float(v) for k, v in rows_of(out, "val")[-1].items() if v and k != "part"}
    assert found == pytest.approx(expected, abs=1e-3)


def test_two_processes__that_are_stopped_go_on_exactly(of_two, labels_csv, tmp_path):
    out = tmp_path / "run"
    settings = [*PVT, "train.batch_size=4", "train.epochs=4"]

    def stopped(rank):
        from wsi_lpd.training.learner import Learner

        real = Learner.step

        def step(self, place, *args, **options):
            if place.index == 5 and rank == 1:
                raise LabelError("pulled the plug")
            return real(self, place, *args, **options)

        Learner.step = step
        return trained(labels_csv, out, settings)

    errors = together(stopped)
    assert isinstance(errors[0], PeerError)
    assert isinstance(errors[1], LabelError)
    assert (out / "training.pt").is_file()
    assert not (out / "model.json").exists()
    together(partial(trained, labels_csv, out, settings))
    assert losses_of(out) == losses_of(of_two[0])
    assert (out / "model.safetensors").read_bytes() == (of_two[0] / "model.safetensors").read_bytes()


def test_a_run_of_two__is_not_gone_on_with_by_one(of_two, labels_csv):
    with pytest.raises(TrainingError, match=r"another processes \(2, now 1\)"):
        trained(labels_csv, of_two[0], [*PVT, "train.batch_size=4", "train.epochs=4"])


@pytest.mark.parametrize("method", ["pbip", "cam"])
def test_other_methods__give_the_losses_of_one_with_twice_the_batch(method, labels_csv, tmp_path):
    settings = [f"method={method}", *PVT, "train.epochs=3"]
    if method == "cam":
        settings.append("model.prototypes_per_class=1")
    trained(labels_csv, tmp_path / "one", [*settings, "train.batch_size=8"])
    together(partial(trained, labels_csv, tmp_path / "two", [*settings, "train.batch_size=4"]))
    alone, both = losses_of(tmp_path / "one"), losses_of(tmp_path / "two")
    assert len(alone) == len(both) == 6
    for expected, found in zip(alone, both, strict=True):
        assert found == pytest.approx(expected, abs=1e-4, rel=1e-4)


def test_the_published_recipe__runs_where_one_process_finds_nothing_to_refine(labels_csv, tmp_path):
    from wsi_lpd.methods.reference import loss as reference

    settings = ["method=lpd-reference", *SMALL, "reference.raw_prototypes=false", "train.report=false"]
    real = reference.select_maps

    def of_one_alone(rank):
        def select(activation, labels, size, **options):
            return real(activation, labels * 0 if rank == 1 else labels, size, **options)

        reference.select_maps = select
        return trained(labels_csv, tmp_path / "run", settings)

    assert [result.path for result in together(of_one_alone)] == [tmp_path / "run"] * 2
    assert max(row["similarity"] for row in losses_of(tmp_path / "run")[2:]) > 0


def test_two_processes__with_batch_norm_stay_the_same_to_the_bit(labels_csv, tmp_path):
    def weights(rank):
        from wsi_lpd.training import trainer

        kept = []
        real = trainer.Trainer.fit

        def fit(self):
            result = real(self)
            kept.append(
                {**self.learner.network.state_dict(), **{"a." + k: v for k, v in result.network.state_dict().items()}}
            )
            return result

        trainer.Trainer.fit = fit
        trained(labels_csv, tmp_path / "run", [*SMALL, "train.max_steps=4", "train.report=false"])
        return {name: value.numpy() for name, value in kept[0].items()}

    first, second = together(weights)
    assert any("running_var" in name for name in first)
    assert [name for name in first if (first[name] != second[name]).any()] == []


def test_accumulation__sends_gradients_once_and_trains_alike(labels_csv, tmp_path):
    settings = [*PVT, "train.accumulate=2", "train.max_steps=4"]
    trained(labels_csv, tmp_path / "one", [*settings, "train.batch_size=8"])
    together(partial(trained, labels_csv, tmp_path / "two", [*settings, "train.batch_size=4"]))
    for expected, found in zip(losses_of(tmp_path / "one"), losses_of(tmp_path / "two"), strict=True):
        assert found == pytest.approx(expected, abs=1e-4, rel=1e-4)


# --- who sees what -----------------------------------------------------------------------------------------------


def test_shares__are_what_one_process_sees_in_its_order(table):
    def batches(size, processes):
        return list(training_batches(table, batch_size=size, seed=3, workers=0, first=1, last=9, processes=processes))

    whole, *shares = (
        batches(6, ALONE),
        batches(2, Processes(0, 3)),
        batches(2, Processes(1, 3)),
        batches(2, Processes(2, 3)),
    )
    for expected, *parts in zip(whole, *shares, strict=True):
        for i in (0, 1):
            assert torch.equal(torch.cat([part[i] for part in parts]), expected[i])


def test_fewer_patches_than_a_joint_batch__are_shared_out_evenly(table):
    few = table.subset(range(7))
    sizes = {
        len(
            next(training_batches(few, batch_size=8, seed=0, workers=0, first=0, last=1, processes=Processes(rank, 3)))[
                0
            ]
        )
        for rank in range(3)
    }
    assert sizes == {2}
    with pytest.raises(TrainingError, match=r"2 patches are too few to train on in 3 process"):
        next(
            training_batches(
                few.subset([0, 1]), batch_size=8, seed=0, workers=0, first=0, last=1, processes=Processes(0, 3)
            )
        )


# --- one word ----------------------------------------------------------------------------------------------------


def test_an_error_of_all__is_told_by_one(tmp_path):
    def fail(rank):
        with joined("cpu"):
            read_labels([tmp_path / "gone.csv"])

    kinds = sorted(type(error).__name__ for error in together(fail, 3))
    assert kinds == ["LabelError", "PeerError", "PeerError"]


def test_a_process_that_is_killed__is_told_by_another():
    def die(rank):
        with joined("cpu"):
            if rank == 1:
                os._exit(9)
            average_count(torch.ones(1))

    (error,) = together(die, expected=1)
    assert isinstance(error, TrainingError)
    assert not isinstance(error, PeerError)
    assert re.search(r"process 0 has lost another process.*run the same command again", str(error))


def test_after_a_failure__the_same_process_may_join_others_anew():
    def fail_once(rank):
        with pytest.raises(TrainingError), joined("cpu"):
            raise TrainingError("once")
        torch.distributed.get_world_size()

    assert [type(error) for error in together(fail_once)] == [ValueError] * 2, "the group of the failed run is gone"


def test_without_a_launcher__there_is_one_process(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined("cpu") as processes:
        assert processes == ALONE
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with (
        pytest.raises(TrainingError, match=r"WORLD_SIZE is 2, but RANK.* start the processes with torchrun"),
        joined("cpu"),
    ):
        pass


@pytest.mark.parametrize(
    ("name", "n_gpus", "found"),
    [("auto", 0, "cpu"), ("cpu", 4, "cpu"), ("auto", 4, "cuda:2"), ("cuda", 3, "cuda:2")],
)
def test_each_process__has_a_device_of_its_own(monkeypatch, name, n_gpus, found):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: n_gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n_gpus)
    assert Processes(6, 8, local_rank=2).device_name(name) == found
    assert ALONE.device_name("cuda:1") == "cuda:1"


def test_a_device_for_all__or_none_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(TrainingError, match=r"--device cuda:1 with 4 processes"):
        Processes(0, 4).device_name("cuda:1")
    with pytest.raises(TrainingError, match=r"process 2 of this machine has no GPU, it has 2"):
        Processes(2, 4, local_rank=2).device_name("auto")


def test_synchronised_batch_norm__keeps_activations_and_names():
    torch.manual_seed(0)
    network = build_network(load_config(None, SMALL).model, n_classes=2).eval()
    images = torch.rand(2, 3, 48, 64)
    with torch.no_grad():
        before = network(images).fused_maps
    names = list(network.state_dict())
    synchronised(network, torch.device("cpu"), Processes(0, 2))
    assert not [m for m in network.modules() if isinstance(m, torch.nn.SyncBatchNorm)], "torch has none for the CPU"
    synchronised(network, torch.device("cuda"), Processes(0, 2))
    assert [m for m in network.modules() if isinstance(m, torch.nn.SyncBatchNorm)]
    assert list(network.state_dict()) == names
    with torch.no_grad():
        assert torch.equal(network(images).fused_maps, before)


def test_the_first_process__has_a_state_that_loads_alone(of_two):
    state = torch.load(of_two[0] / "training.pt", weights_only=True)
    assert not [name for name in state["network"] if name.startswith("module.")]
    assert set(load_state(of_two[0])) == set(state["network"])
