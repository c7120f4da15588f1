from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from wsi_lpd.classes import TissueClass
from wsi_lpd.config import Config, load_config
from wsi_lpd.errors import ModelError
from wsi_lpd.models.encoders.build import build_encoder
from wsi_lpd.models.saved import checkpoint
from wsi_lpd.models.saved.checkpoint import (
    Calibration,
    ModelCard,
    find_run,
    load_card,
    load_state,
    mark_latest,
    restore,
    save_model,
)
from wsi_lpd.models.saved.describe import describe_model

CLASSES = (TissueClass("Tumor", (200, 0, 0)), TissueClass("Stroma", (150, 200, 150)), TissueClass("Fat", (0, 114, 178)))


class Network(nn.Module):
    """Stands in for the real one: what matters here are names and shapes."""

    def __init__(self, per_class: int = 5) -> None:
        super().__init__()
        self.prototypes = nn.Parameter(torch.randn(len(CLASSES), per_class, 8))
        self.head = nn.Linear(8, 3)
        self.register_buffer("count", torch.tensor(7))


@pytest.fixture(scope="module")
def card() -> ModelCard:
    config = load_config(
        overrides=[
            "model.encoder=pvt_v2_b0",
            "model.scales=[1,2]",
            "model.fusion_weights=[1,3]",
            "loss.scale_weights=[1,1]",
        ]
    )
    return describe_model(
        config,
        encoder=build_encoder("pvt_v2_b0", scales=config.model.scales),
        classes=CLASSES,
        label_columns=("TUM", "STR", "fat"),
        mpp=0.5,
        patch_px=160,
        calibration=Calibration(temperature=(1.0, 2.5, 0.5), offset=(0.25, -1.0, 0.0)),
        metrics={"auroc": 0.875, "auroc.Fat": float("nan")},
        data_fingerprint="sha256:12ab",
    )


@pytest.fixture
def run(tmp_path, card) -> Path:
    folder = tmp_path / "runs" / "20260102-030405-lpd"
    save_model(folder, Network().state_dict(), card)
    return folder


def edit_card(run: Path, **changes) -> None:
    path = run / "model.json"
    tree = json.loads(path.read_text())
    for key, value in changes.items():
        *parents, last = key.split("__")
        part = tree
        for parent in parents:
            part = part[parent]
        part[last] = value
    path.write_text(json.dumps(tree))


# --- round trip --------------------------------------------------------------------------------------------------


def test_checkpoint__tensors_come_back_bit_for_bit(tmp_path, card):
    base = torch.randn(6, 4)
    state = {
        "transposed": base.T,
        "shared": base[:3],
        "shared_too": base[:3],
        "half": base.half(),
        "scalar": torch.tensor(3),
        "empty": torch.zeros(0, 2),
    }
    save_model(tmp_path, state, card)
    found = load_state(tmp_path)
    assert sorted(found) == sorted(state)
    for key, value in state.items():
        assert found[key].dtype == value.dtype
        assert torch.equal(found[key], value)


def test_checkpoint__the_card_comes_back_whole(run, card):
    found = load_card(run)
    assert found.weights_sha256 is not None
    assert found.model_copy(update={"weights_sha256": None}) == card
    assert [(c.name, c.color) for c in found.classes] == [(c.name, c.color) for c in CLASSES]
    assert found.encoder.channels == (64, 160)
    assert found.encoder.weights == "random"
    assert found.mean == (0.485, 0.456, 0.406)
    assert found.fusion_weights == (1.0, 3.0)
    assert found.calibration.offset == (0.25, -1.0, 0.0)
    assert found.metrics == {"auroc": 0.875, "auroc.Fat": None}
    assert {"wsi-lpd", "torch", "timm"} <= set(found.versions)
    assert found.config == card.config


def test_checkpoint__the_card_is_strict_json(run):
    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    tree = json.loads((run / "model.json").read_text(encoding="utf-8"), parse_constant=refuse)
    assert tree["format"] == "wsi-lpd model"
    assert tree["classes"][2] == {"name": "Fat", "color": [0, 114, 178]}


def test_checkpoint__patches_from_image_files_have_the_configured_size(card):
    described = describe_model(
        Config(),
        encoder=build_encoder(Config().model.encoder, scales=(1, 2, 3)),
        classes=CLASSES,
        label_columns=("a", "b", "c"),
        mpp=0.25,
        patch_px=None,
        calibration=card.calibration,
        metrics={},
        data_fingerprint="",
    )
    assert described.patch_px == Config().tile.patch_px


def test_checkpoint__restore_fills_a_network(run):
    network = Network()
    restore(network, run)
    assert torch.equal(network.prototypes, load_state(run)["prototypes"])


# --- half-written, damaged, foreign ------------------------------------------------------------------------------


@pytest.mark.parametrize("again", [False, True])
def test_checkpoint__a_save_that_breaks_off_leaves_no_card(tmp_path, card, monkeypatch, again):
    if again:
        save_model(tmp_path, Network().state_dict(), card)

    def fail(*_args):
        raise OSError("no space left")

    monkeypatch.setattr(checkpoint, "write_text", fail)
    with pytest.raises(OSError, match="no space left"):
        save_model(tmp_path, Network().state_dict(), card)
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
    with pytest.raises(ModelError, match=r"holds no model\.json, so it is no finished run"):
        load_card(tmp_path)


@pytest.mark.parametrize("damage", ["cut", "one bit", "another run", "gone"])
def test_checkpoint__damaged_weights_are_noticed(run, tmp_path, card, damage):
    path = run / "model.safetensors"
    content = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(content[:-100])
    elif damage == "one bit":
        content[-3] ^= 1
        path.write_bytes(content)
    elif damage == "another run":
        save_model(tmp_path / "other", Network().state_dict(), card)
        shutil.copy(tmp_path / "other" / "model.safetensors", path)
    else:
        path.unlink()
    reason = "cannot be read" if damage == "gone" else r"is not the file that model\.json was written for"
    with pytest.raises(ModelError, match=rf"model\.safetensors: {reason}.*copy the .*run folder again or train again"):
        load_state(run)


def test_checkpoint__weights_of_no_safetensors_file_are_refused_even_with_the_right_hash(run):
    import hashlib

    (run / "model.safetensors").write_bytes(b"\x80\x04 a pickle")
    edit_card(run, weights_sha256=hashlib.sha256(b"\x80\x04 a pickle").hexdigest())
    with pytest.raises(ModelError, match="is no safetensors file"):
        load_state(run)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read as JSON"),
        (b'{"format": "wsi-lpd model", "cla', "cannot be read as JSON"),
        (b"\xff\xfe\x00", "cannot be read as JSON"),
        (b"[]", "is no model card of wsi-lpd"),
        (b'{"architecture": "resnet50"}', "is no model card of wsi-lpd"),
        (
            b'{"format": "wsi-lpd model", "format_version": 2, "versions": {"wsi-lpd": "9.1"}}',
            r"has format version 2, this wsi-lpd \([0-9.]+\) reads 1; use the version that wrote it \(9\.1\)",
        ),
        (
            b'{"format": "wsi-lpd model", "format_version": 1}',
            r"problem\(s\) in the model card: method: Field required",
        ),
    ],
)
def test_card__damaged_or_foreign_gives_one_line(run, content, message):
    (run / "model.json").write_bytes(content)
    with pytest.raises(ModelError, match=message) as caught:
        load_card(run)
    assert "model.json" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prototypes_per_class": 7}, r"prototypes_per_class is 7, but config\.model says 5"),
        ({"encoder__scales": [1, 3]}, r"encoder\.scales is \(1, 3\), but config\.model says \(1, 2\)"),
        ({"calibration__offset": [0.0, 1.0]}, r"calibration\.offset has 2 entries for 3 classes"),
        ({"calibration__temperature": [1.0, 0.0, 1.0]}, r"calibration: temperatures must be positive"),
        ({"label_columns": ["a"]}, r"label_columns has 1 entries for 3 classes"),
        ({"mpp": 0}, r"mpp: Input should be greater than 0"),
        ({"classes": []}, r"classes: "),
        ({"oracle": True}, r"oracle: Extra inputs are not permitted"),
        ({"config__model__encoder": 3}, r"config\.model\.encoder: "),
        ({"weights_sha256": None}, r"weights_sha256 is missing"),
    ],
)
def test_card__that_was_edited_says_which_key(run, changes, message):
    edit_card(run, **changes)
    with pytest.raises(ModelError, match=message):
        load_card(run)


def test_restore__another_k_and_other_keys_name_what_differs(run):
    with pytest.raises(ModelError, match=r"prototypes is 3x5x8, expected 3x4x8"):
        restore(Network(per_class=4), run)
    bigger = Network()
    bigger.extra = nn.Linear(2, 2)
    with pytest.raises(ModelError, match=r"2 are \(extra\.weight, extra\.bias\) missing, none are unexpected"):
        restore(bigger, run)
    smaller = Network()
    del smaller.head
    with pytest.raises(ModelError, match=r"none are missing, 2 are \(head\.bias, head\.weight\) unexpected"):
        restore(smaller, run)


# --- which run ---------------------------------------------------------------------------------------------------


@pytest.fixture
def workplace(tmp_path, run, monkeypatch):
    """The current folder is where `runs/` lies; no model is named in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WSI_LPD_MODEL", raising=False)
    return tmp_path


def another(run: Path, name: str) -> Path:
    return Path(shutil.copytree(run, run.with_name(name)))


def test_find_run__the_given_one_then_the_environment_then_the_latest(workplace, run, monkeypatch):
    given, named = another(run, "given"), another(run, "named")
    mark_latest(Path("runs"), run)
    assert find_run(None).resolve() == run
    monkeypatch.setenv("WSI_LPD_MODEL", str(named))
    assert find_run(None) == named
    assert find_run(given) == given
    monkeypatch.setenv("WSI_LPD_MODEL", "")
    assert find_run(None).resolve() == run


@pytest.mark.parametrize("part", ["", "model.json", "model.safetensors"])
def test_find_run__takes_the_folder_or_a_file_in_it(workplace, run, part):
    assert find_run(run / part if part else run) == run


@pytest.mark.parametrize("part", ["runs", "runs/latest"])
def test_find_run__takes_the_folder_of_runs_or_its_pointer(workplace, run, part):
    mark_latest(Path("runs"), run)
    assert find_run(Path(part)).resolve() == run


def test_find_run__a_symbolic_link_named_latest_is_followed(workplace, run):
    if os.name == "nt":
        pytest.skip("symbolic links need rights on Windows")
    (run.parent / "latest").symlink_to(run.name)
    assert find_run(None).resolve() == run
    newer = another(run, "newer")
    mark_latest(run.parent, newer)  # replaces the link, not what it points at
    assert find_run(None).resolve() == newer
    assert (run / "model.json").is_file()


def test_latest__is_one_name_that_survives_a_move(workplace, run):
    mark_latest(Path("runs"), run)
    assert (workplace / "runs" / "latest").read_text() == f"{run.name}\n"
    (workplace / "runs").rename(workplace / "moved")
    assert find_run(workplace / "moved").name == run.name


def test_latest__may_lie_outside_the_folder_of_runs(workplace, run):
    outside = Path(shutil.copytree(run, workplace / "elsewhere" / "mine"))
    mark_latest(Path("runs"), outside)
    assert find_run(None) == outside


def test_mark_latest__does_not_replace_a_folder(workplace, run):
    (run.parent / "latest").mkdir()
    with pytest.raises(ModelError, match="is a folder"):
        mark_latest(run.parent, run)


def test_find_run__without_any_run_says_how_to_get_one(workplace):
    with pytest.raises(
        ModelError, match=r"no model has been trained.*wsi-lpd train --labels.*--model RUN or WSI_LPD_M"
    ):
        find_run(None)


@pytest.mark.parametrize("content", ["", "a\nb\n", "gone\n"])
def test_find_run__a_stale_or_damaged_pointer_is_named(workplace, content):
    (workplace / "runs" / "latest").write_text(content)
    with pytest.raises(ModelError, match=r"runs/latest: "):
        find_run(None)


def test_find_run__tells_apart_what_was_given(workplace, run, monkeypatch):
    unfinished = workplace / "unfinished"
    unfinished.mkdir()
    (unfinished / "training.pt").write_bytes(b"x")
    with pytest.raises(ModelError, match=r"--model .*unfinished is not finished.*Repeat its `wsi-lpd train` command"):
        find_run(unfinished)
    with pytest.raises(ModelError, match=r"--model nowhere: there is no nowhere"):
        find_run(Path("nowhere"))
    stranger = workplace / "stranger"
    stranger.mkdir()
    monkeypatch.setenv("WSI_LPD_MODEL", str(stranger))
    with pytest.raises(ModelError, match=r"WSI_LPD_MODEL=.*stranger holds no model\.json"):
        find_run(None)


def test_card_and_runs__are_read_without_torch(workplace, run):
    code = (
        "import sys; from pathlib import Path\n"
        "from wsi_lpd.models.saved.checkpoint import find_run, load_card\n"
        "print(load_card(find_run(Path(sys.argv[1]))).mpp, 'torch' in sys.modules, 'timm' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code, str(run)], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["0.5", "False", "False"]
