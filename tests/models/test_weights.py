from __future__ import annotations

import http.server
import json
import pickle
import socket
import threading
import time
from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from safetensors.torch import save_file

from wsi_lpd.errors import ModelError
from wsi_lpd.models.encoders import hub
from wsi_lpd.models.encoders.build import build_encoder
from wsi_lpd.models.encoders.weights import load_weights, read_state

NAME = "pvt_v2_b0"


@pytest.fixture(scope="module")
def donor() -> dict[str, torch.Tensor]:
    torch.manual_seed(11)
    return timm.create_model(NAME, num_classes=10).state_dict()


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


def build(source: Path | str, name: str = NAME):
    return build_encoder(name, weights=str(source), scales=(0, 1, 2, 3))


def assert_holds(encoder, donor):
    state = encoder.body.state_dict()
    assert all(torch.equal(state[key], donor[key]) for key in state)


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model", "model_ema"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.module.", "backbone."])
def test_weights__files_of_torch_save_are_unwrapped(tmp_path, wrapper, prefix):
    inner = {"norm.weight": torch.tensor([1.0, 2.0]), "fc.bias": torch.tensor([3.0])}
    content = {prefix + key: value for key, value in inner.items()}
    torch.save(content if wrapper is None else {wrapper: content, "epoch": 3}, tmp_path / "w.pth")
    state = read_state(tmp_path / "w.pth")
    assert sorted(state) == sorted(inner)
    assert all(torch.equal(state[key], inner[key]) for key in inner)


def test_weights__the_head_is_left_out_and_that_is_said(tmp_path, donor, no_network):
    torch.save(donor, tmp_path / "weights.pth")
    encoder = build(tmp_path / "weights.pth")
    assert_holds(encoder, donor)
    assert encoder.weights.startswith("weights.pth (sha256:")
    assert encoder.weights.endswith("left out head.bias, head.weight")


def test_weights__safetensors_in_half_precision_are_read(tmp_path, donor, no_network):
    save_file({key: value.half() for key, value in donor.items()}, tmp_path / "w.safetensors")
    encoder = build(tmp_path / "w.safetensors")
    assert encoder.body.state_dict()["patch_embed.proj.weight"].dtype == torch.float32
    assert_holds(encoder, {key: value.half().float() for key, value in donor.items()})


def test_weights__averaged_ones_are_preferred(tmp_path):
    torch.save({"model": {"a": torch.zeros(2)}, "model_ema": {"a": torch.ones(2)}}, tmp_path / "w.pt")
    assert torch.equal(read_state(tmp_path / "w.pt")["a"], torch.ones(2))


def test_weights__a_folder_states_licence_and_statistics(tmp_path, donor, no_network):
    save_file(donor, tmp_path / "model.safetensors")
    card = {"mean": [0.7, 0.5, 0.6], "std": [0.2, 0.25, 0.15], "license": "cc-by-4.0"}
    (tmp_path / "config.json").write_text(json.dumps({"architecture": NAME, "pretrained_cfg": card}))
    encoder = build(tmp_path)
    assert_holds(encoder, donor)
    assert (encoder.mean, encoder.std) == ((0.7, 0.5, 0.6), (0.2, 0.25, 0.15))
    assert encoder.licence == "cc-by-4.0"


def test_weights__a_transformers_folder_states_statistics(tmp_path, donor):
    save_file(donor, tmp_path / "model.safetensors")
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.1, 0.2, 0.3]}))
    encoder = build(tmp_path)
    assert encoder.mean == (0.1, 0.2, 0.3)
    assert encoder.std == (0.229, 0.224, 0.225)


def test_weights__a_folder_of_another_architecture_is_refused(tmp_path, donor):
    save_file(donor, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "pvt_v2_b3"}))
    with pytest.raises(ModelError, match=r"weights of pvt_v2_b3, the encoder is pvt_v2_b0.*model\.encoder=pvt_v2_b3"):
        build(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"config\.json: cannot be read as JSON"):
        build(tmp_path)


def test_weights__files_without_batch_counters_are_good(tmp_path):
    donor = timm.create_model("resnet18", num_classes=3).state_dict()
    old = {key: value for key, value in donor.items() if not key.endswith("num_batches_tracked")}
    torch.save(old, tmp_path / "old.pth")
    assert_holds(build(tmp_path / "old.pth", "resnet18"), donor)


@pytest.mark.parametrize("name", ["resnet18", "convnext_atto", "swin_tiny_patch4_window7_224", "vit_tiny_patch16_224"])
def test_weights__of_another_network_are_refused_whatever_timm_makes_of_them(tmp_path, donor, name):
    save_file(donor, tmp_path / "w.safetensors")
    with pytest.raises(ModelError, match=r"w\.safetensors does not fit the encoder"):
        build(tmp_path / "w.safetensors", name)


class Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return (Path.touch, (self.target,))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("new_format", [True, False])
def test_weights__a_file_that_runs_code_is_not_run(tmp_path, donor, new_format):
    path, fuse = tmp_path / "weights.pth", tmp_path / "fuse"
    content = {"state_dict": donor, "optimizer": Bomb(fuse)}
    torch.save(content, path, _use_new_zipfile_serialization=new_format)
    with pytest.raises(ModelError, match=r"weights\.pth: holds more than weights.*safetensors"):
        read_state(path)
    (tmp_path / "raw.bin").write_bytes(pickle.dumps(content))
    with pytest.raises(ModelError, match=r"raw\.bin"):
        read_state(tmp_path / "raw.bin")
    assert not fuse.exists()


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
@pytest.mark.parametrize("damage", ["cut", "empty", "text", "flipped header"])
def test_weights__a_damaged_file_gives_one_line(tmp_path, donor, suffix, damage):
    path = tmp_path / f"w.{suffix}"
    if suffix == "pth":
        torch.save(donor, path)
    else:
        save_file(donor, path)
    whole = path.read_bytes()
    path.write_bytes(
        {
            "cut": whole[: len(whole) // 2],
            "empty": b"",
            "text": b"<html>Not found</html>",
            "flipped header": bytes(255 - b for b in whole[:64]) + whole[64:],
        }[damage]
    )
    with pytest.raises(ModelError, match=rf"w\.{suffix}: ") as caught:
        read_state(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [{}, [1, 2], {"epoch": 3}, {"a": torch.zeros(2), "b": "text"}])
def test_weights__a_file_without_named_tensors_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(ModelError, match=r"w\.pth: holds no table of named tensors"):
        read_state(tmp_path / "w.pth")


def test_weights__that_do_not_fit_leave_the_network_as_it_was(tmp_path, donor):
    wrong = dict(donor)
    wrong["stages.3.norm.weight"] = torch.ones(7)
    save_file(wrong, tmp_path / "w.safetensors")
    body = timm.create_model(NAME, num_classes=0)
    before = {key: value.clone() for key, value in body.state_dict().items()}
    with pytest.raises(ModelError, match=r"1 of \d+ tensors.*stages\.3\.norm\.weight is 7, expected 256"):
        load_weights(body, str(tmp_path / "w.safetensors"), name=NAME)
    assert all(torch.equal(before[key], value) for key, value in body.state_dict().items())


def test_weights__a_missing_and_a_surplus_key_are_named(tmp_path, donor):
    wrong = dict(donor)
    wrong["stages.2.norm.wait"] = wrong.pop("stages.2.norm.weight")
    save_file(wrong, tmp_path / "w.safetensors")
    with pytest.raises(ModelError, match=r"1 are \(stages\.2\.norm\.weight\) missing, 1 are \(stages\.2\.norm\.wait\)"):
        build(tmp_path / "w.safetensors")


@pytest.mark.parametrize("weights", ["imagenet", "no/such/file.pth", ""])
def test_weights__an_unknown_source_lists_the_known_ones(weights, no_network, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=r"expected none, timm, hf-hub:owner/name, a file"):
        build(weights)


def test_weights__timm_has_none_for_mit(no_network):
    with pytest.raises(ModelError, match=r"timm has no weights on the hub for mit_b1.*hf-hub:nvidia/mit-b1.*licence"):
        build("timm", "mit_b1")


# --- the hub -----------------------------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    return tmp_path / "hub"


def test_hub__published_weights_in_the_cache_need_no_network(cache, donor, no_network):
    repository = cache / "models--timm--pvt_v2_b0.in1k"
    snapshot = repository / "snapshots" / "0123abcd"
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0123abcd")
    save_file(donor, snapshot / "model.safetensors")
    encoder = build("timm")
    assert_holds(encoder, donor)
    assert encoder.weights.startswith("timm/pvt_v2_b0.in1k/model.safetensors (sha256:")
    assert encoder.licence == "apache-2.0"


@pytest.mark.parametrize("weights", ["timm", "hf-hub:timm/pvt_v2_b0.in1k", "hf-hub:timm/pvt_v2_b0.in1k@v1"])
def test_hub__out_of_reach_is_said_at_once_with_what_to_do(cache, monkeypatch, weights):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{port}")
    began = time.monotonic()
    with pytest.raises(ModelError) as caught:
        build(weights)
    assert time.monotonic() - began < 5  # the hub's own client takes 23 s and more per file
    for part in ("timm/pvt_v2_b0.in1k", "cannot be reached", "--set model.weights=none", "HF_HUB_OFFLINE=1", "HF_HOME"):
        assert part in str(caught.value)


def test_hub__a_server_that_never_answers_is_given_up(cache, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(hub, "_PROBE_TIMEOUT_S", 0.3)
        began = time.monotonic()
        with pytest.raises(ModelError, match="cannot be reached"):
            build("timm")
        assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (LocalEntryNotFoundError("gone"), "cannot be reached"),
        (OSError("no space left"), r"cannot be fetched .*no space left"),
        (HfHubHTTPError.__bases__[0]("connection lost"), r"cannot be fetched .*connection lost"),
    ],
)
def test_hub__a_download_that_breaks_off_gives_one_line(cache, monkeypatch, error, message):
    def fail(*_args, **_kwargs):
        raise error

    monkeypatch.setattr(hub, "_hub_answers", lambda: True)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    with pytest.raises(ModelError, match=message):
        build("timm")


def test_hub__offline_mode_asks_nobody(cache, monkeypatch, no_network):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="cannot be reached"):
        build("hf-hub:nvidia/mit-b0")


@pytest.fixture
def fake_hub(monkeypatch, cache):
    """A hub on this machine that holds `files` of the repository owner/net, and answers like the real one."""
    files: dict[str, bytes] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            name = self.path.removeprefix("/owner/net/resolve/main/")
            if self.path == "/":
                self.send_response(200)
            elif name in files:
                self.send_response(200)
                self.send_header("ETag", f'"{name}"')
            else:
                self.send_response(404)
                known = self.path.startswith("/owner/net/")
                self.send_header("X-Error-Code", "EntryNotFound" if known else "RepoNotFound")
            self.send_header("X-Repo-Commit", "0" * 40)
            self.send_header("Content-Length", str(len(files.get(name, b""))))
            self.end_headers()

        def do_GET(self):
            self.do_HEAD()
            self.wfile.write(files.get(self.path.removeprefix("/owner/net/resolve/main/"), b""))

        def log_message(self, *_args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", endpoint)
        template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
        yield files
        server.shutdown()


def test_hub__weights_are_downloaded_with_their_card(fake_hub, donor, tmp_path):
    torch.save(donor, tmp_path / "w.bin")
    fake_hub["pytorch_model.bin"] = (tmp_path / "w.bin").read_bytes()
    fake_hub["config.json"] = json.dumps({"architecture": NAME, "pretrained_cfg": {"license": "mit"}}).encode()
    encoder = build("hf-hub:owner/net")
    assert_holds(encoder, donor)
    assert encoder.licence == "mit"
    assert encoder.weights.startswith("hf-hub:owner/net/pytorch_model.bin (sha256:")


def test_hub__an_empty_repository_and_an_unknown_one_are_told_apart(fake_hub):
    with pytest.raises(ModelError, match=r"owner/net holds none of model\.safetensors"):
        build("hf-hub:owner/net")
    with pytest.raises(ModelError, match=r"owner/typo cannot be fetched from the Hugging Face hub.*Check the name"):
        build("hf-hub:owner/typo")
    with pytest.raises(ModelError, match="is no repository; expected hf-hub:owner/name"):
        build("hf-hub:a/b/c")
