"""Cached maps of a frozen encoder: the same losses as without, and never those of something else."""

from __future__ import annotations

import csv
import json
import logging
import os
import shutil
from collections import namedtuple

import numpy as np
import pytest
import torch
from hub_folders import hub_folder
from safetensors.torch import load_file, save_file
from small_run import SMALL

from wsi_lpd.config import load_config
from wsi_lpd.errors import ConfigError, TrainingError
from wsi_lpd.labels.sources import read_patches
from wsi_lpd.models.device import to_images
from wsi_lpd.models.network import build_network
from wsi_lpd.models.views import turned
from wsi_lpd.training.data import build_features, features
from wsi_lpd.training.data.build_features import cached_features
from wsi_lpd.training.run.job import load_training_data, train

PLAIN = ["augment.mosaic=0", "augment.stain=0", "augment.brightness=0", "augment.contrast=0"]
SHORT = [s for s in SMALL if not s.startswith(("model.scales", "model.fusion", "loss.scale"))]
FROZEN = [*SHORT, "model.frozen=true", "model.scales=[1, 3]", "model.fusion_weights=[0.4, 0.6]",
          "loss.scale_weights=[0.5, 1]", "train.report=false"]  # fmt: skip


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    return hub_folder(tmp_path_factory.mktemp("nets") / "vit", "vit")


def rows_of(run):
    with (run.path / "metrics.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return [
        {k: float(v) for k, v in row.items() if v and k not in ("part", "patches_per_s", "data_wait")} for row in rows
    ]


def trained(folder, labels_csv, *settings):
    config = load_config(None, settings)
    return train(load_training_data([labels_csv], [], config), config, runs_dir=folder, device="cpu")


@pytest.mark.parametrize(("method", "flips"), [("lpd", "true"), ("pbip", "false")])
def test_a_cache__gives_the_losses_of_training_without_one(tmp_path, labels_csv, vit, method, flips):
    settings = [*FROZEN, f"model.encoder={vit}", f"method={method}", f"augment.flips={flips}"]
    without = rows_of(trained(tmp_path / "a", labels_csv, *settings, *PLAIN))
    cached = trained(tmp_path / "b", labels_csv, *settings, "train.cache_features=true")
    # The table has six digits. Maps that are not rounded to half precision without a cache too differ by 1e-5 and more.
    assert len(without) > 6
    for found, expected in zip(rows_of(cached), without, strict=True):
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-7)
    (cache,) = (tmp_path / "b" / "features").iterdir()
    assert cache.name.startswith("vit-")


@pytest.mark.slow
def test_two_processes__read_one_cache_and_give_the_losses_of_one(tmp_path, labels_csv, vit):
    settings = [*FROZEN, f"model.encoder={vit}", "train.cache_features=true"]
    one = rows_of(trained(tmp_path / "one", labels_csv, *settings))
    two = trained(tmp_path / "two", labels_csv, *settings, "train.batch_size=2", "train.processes=2")
    for found, expected in zip(rows_of(two), one, strict=True):
        assert found == pytest.approx(expected, rel=1e-3, abs=1e-5)
    assert [p.suffix for p in (tmp_path / "two" / "features").iterdir()] == [".zarr"]


def test_cached_training__does_not_run_the_encoder_again(tmp_path, labels_csv, vit, monkeypatch):
    settings = [*FROZEN, f"model.encoder={vit}", "train.cache_features=true"]
    first = trained(tmp_path, labels_csv, *settings)

    def refuse(*_args, **_options):
        raise AssertionError("the encoder was run")

    monkeypatch.setattr("wsi_lpd.models.encoders.build.Encoder.forward", refuse)
    again = trained(tmp_path, labels_csv, *settings, "train.seed=5", "model.prototypes_per_class=2")
    assert again.path != first.path
    assert len(rows_of(again)) == len(rows_of(first))


def test_a_resumed_run__goes_on_from_the_cache_to_the_same_bits(tmp_path, labels_csv, vit):
    settings = [*FROZEN, f"model.encoder={vit}", "train.cache_features=true"]
    whole = trained(tmp_path, labels_csv, *settings)
    state = torch.load(whole.path / "training.pt", weights_only=True)
    assert state["encoder"].startswith("vit/model.safetensors (sha256:")
    assert not any(name.startswith("encoder.") for name in (*state["network"], *state["average"]["network"]))
    expected = load_file(whole.path / "model.safetensors")
    for name in ("model.json", "model.safetensors"):
        (whole.path / name).unlink()
    resumed = trained(tmp_path, labels_csv, *settings)
    found = load_file(resumed.path / "model.safetensors")
    assert resumed.path == whole.path
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    state["encoder"] = "other"
    torch.save(state, whole.path / "training.pt")
    (whole.path / "model.json").unlink()
    with pytest.raises(TrainingError, match="began with other encoder weights: other, now vit/model"):
        trained(tmp_path, labels_csv, *settings)


# --- the cache itself --------------------------------------------------------------------------------------------


def network_of(folder, *settings):
    config = load_config(None, [*FROZEN, f"model.encoder={folder}", *settings])
    return build_network(config.model, n_classes=2)


def cache_of(network, table, folder, *, flips=True, dtype=None):
    return cached_features(
        network, [table], folder=folder, flips=flips, batch_size=5, device=torch.device("cpu"), dtype=dtype
    )


def seen(network, table, rows, codes):
    images = to_images(torch.from_numpy(read_patches(table, rows)), torch.device("cpu"))
    return network.maps(torch.stack([turned(image, code) for image, code in zip(images, codes, strict=True)]))


def test_a_cache__holds_every_view_of_every_patch_in_its_place(tmp_path, table, vit, monkeypatch):
    monkeypatch.setattr(features, "CHUNK_BYTES", 4 * 8 * 2 * 2 * 6 * 6 * 24)  # four patches; the last chunk has two
    network = network_of(vit).eval()
    cache = cache_of(network, table, tmp_path)
    assert cache.layout.n_chunks == 6
    rows, codes = [21, 3, 3, 8, 0], [0, 7, 5, 2, 1]
    found = cache.read([cache.rows(table)[row] for row in rows], codes, device=torch.device("cpu"))
    for got, wanted in zip(found, seen(network, table, rows, codes), strict=True):
        assert got.shape == (5, 24, 6, 6)
        torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-4)


def test_a_cache__opens_with_plain_zarr(tmp_path, table, vit, monkeypatch):
    zarr = pytest.importorskip("zarr")
    monkeypatch.setattr(features, "CHUNK_BYTES", 5 * 2 * 2 * 6 * 6 * 24)
    cache = cache_of(network_of(vit), table, tmp_path, flips=False)
    group = zarr.open(cache.path, mode="r")
    assert group["scale1"].shape == (22, 6, 6, 24)
    assert group.attrs["licence"] == "cc-by-4.0"
    rows = list(range(22))
    found = cache.read(rows, [0] * 22, device=torch.device("cpu"))[1].permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(group["scale1"][...].astype(np.float32), found)


def touched(path):
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 1_000_000_000))


@pytest.mark.parametrize("change", ["weights", "patch", "half", "views", "scales", "statistics"])
def test_a_stale_cache__is_never_used(tmp_path, table, labels_csv, vit, change):
    folder = tmp_path / "net"
    shutil.copytree(vit, folder)
    first = cache_of(network_of(folder), table, tmp_path / "f")
    assert cache_of(network_of(folder), table, tmp_path / "f").path == first.path
    network, options = network_of(folder), {}
    if change == "weights":
        state = load_file(folder / "model.safetensors")
        state["blocks.0.mlp.fc1.bias"][3] += 1e-3
        save_file(state, folder / "model.safetensors")
        network = network_of(folder)
    elif change == "patch":
        image = table.sources[4].path
        stamp = image.stat()
        touched(image)
        try:
            assert cache_of(network, table, tmp_path / "f").path != first.path
        finally:
            os.utime(image, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
        return
    elif change == "half":
        options["dtype"] = torch.bfloat16
    elif change == "views":
        options["flips"] = False
    elif change == "scales":
        network = network_of(folder, "model.scales=[0, 3]")
    else:
        config = json.loads((folder / "config.json").read_text())
        config["pretrained_cfg"]["std"] = [0.2, 0.24, 0.19]
        (folder / "config.json").write_text(json.dumps(config))
        network = network_of(folder)
    second = cache_of(network, table, tmp_path / "f", **options)
    assert second.path != first.path


def test_random_weights__of_another_seed_are_another_cache(tmp_path, table):
    paths = []
    for seed in (1, 2, 1):
        torch.manual_seed(seed)
        paths.append(cache_of(network_of("resnet10t"), table, tmp_path, flips=False).path)
    assert paths[0] == paths[2] != paths[1]


class KilledError(Exception):
    pass


def test_an_interrupted_cache__keeps_whole_chunks_and_nothing_else(tmp_path, table, vit, monkeypatch):
    monkeypatch.setattr(features, "CHUNK_BYTES", 4 * 8 * 2 * 2 * 6 * 6 * 24)
    network = network_of(vit)
    expected = cache_of(network, table, tmp_path / "whole")
    real, chunks = build_features._Images.chunk_maps, []

    def dies_in_the_third(self, net, chunk, *args, **options):
        chunks.append(chunk)
        if len(chunks) == 3:
            raise KilledError
        return real(self, net, chunk, *args, **options)

    monkeypatch.setattr(build_features._Images, "chunk_maps", dies_in_the_third)
    with pytest.raises(KilledError):
        cache_of(network, table, tmp_path / "cut")
    assert [p.name for p in (tmp_path / "cut").iterdir()] == [f"{expected.path.name}.partial"]
    partial = tmp_path / "cut" / f"{expected.path.name}.partial"
    cut = partial / "scale1/c/1/0/0/0"
    cut.write_bytes(cut.read_bytes()[:-1])  # as a full disk leaves it: looked for, found out, made again
    cache = cache_of(network, table, tmp_path / "cut")
    assert chunks == [0, 1, 2, 1, 2, 3, 4, 5]
    for scale in range(2):
        for chunk in range(6):
            name = f"scale{scale}/c/{chunk}/0/0/0"
            assert (cache.path / name).read_bytes() == (expected.path / name).read_bytes()
    assert sorted(p.name for p in (tmp_path / "cut").iterdir()) == [cache.path.name]


def test_an_unfinished_cache_of_something_else__is_begun_anew(tmp_path, table, vit):
    network = network_of(vit)
    path = cache_of(network, table, tmp_path, flips=False).path
    partial = path.rename(path.with_name(path.name + ".partial"))
    tree = json.loads((partial / "zarr.json").read_text())
    tree["attributes"]["patches_sha256"] = "other"
    (partial / "zarr.json").write_text(json.dumps(tree))
    chunk = partial / "scale0" / "c" / "0" / "0" / "0" / "0"
    right = chunk.read_bytes()
    chunk.write_bytes(b"\0" * len(right))
    assert (cache_of(network, table, tmp_path, flips=False).path / chunk.relative_to(partial)).read_bytes() == right


def test_a_chunk_that_is_cut_off__is_told(tmp_path, table, vit):
    cache = cache_of(network_of(vit), table, tmp_path, flips=False)
    chunk = cache.path / "scale0/c/0/0/0/0"
    chunk.write_bytes(chunk.read_bytes()[:-2])
    with pytest.raises(TrainingError, match=r"scale0/c/0/0/0/0: damaged .*; remove .*vit-.*\.zarr to have it made"):
        cache.read([21], [0], device=torch.device("cpu"))


def test_a_full_disk__is_told_before_anything_is_computed(tmp_path, table, vit, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: namedtuple("Usage", "free")(1000))
    with pytest.raises(TrainingError, match=r"22 patches take 0\.000608 GB, 1e-06 GB are free; augment\.flips=false"):
        cache_of(network_of(vit), table, tmp_path)


# --- the configuration -------------------------------------------------------------------------------------------


def test_a_cache__switches_colours_and_mosaics_off_and_refuses_them_where_they_are_asked_for(tmp_path):
    config = load_config(None, ["model.frozen=true", "train.cache_features=true"])
    assert config.augment.flips
    assert (config.augment.mosaic, config.augment.stain, config.augment.brightness, config.augment.contrast) == (0,) * 4
    with pytest.raises(ConfigError, match=r"set augment\.mosaic=0, augment\.stain=0, or leave them out"):
        load_config(None, ["model.frozen=true", "train.cache_features=true", "augment.stain=0.1", "augment.mosaic=1"])
    with pytest.raises(ConfigError, match=r"train\.cache_features needs an encoder that stays.*model\.frozen=true"):
        load_config(None, ["train.cache_features=true"])
    (tmp_path / "c.yaml").write_text("model:\n  frozen: true\ntrain:\n  cache_features: true\n")
    assert load_config(tmp_path / "c.yaml").augment.mosaic == 0


def test_what_is_computed__is_told_once(tmp_path, table, vit, caplog):
    with caplog.at_level(logging.INFO, logger="wsi_lpd"):
        cache_of(network_of(vit), table, tmp_path)
        cache_of(network_of(vit), table, tmp_path)
    told = [record.getMessage() for record in caplog.records if "frozen encoder" in record.getMessage()]
    assert "22 patches in 8 view(s), 0.000608 GB" in told[0]
    assert "are read from here" in told[1]
