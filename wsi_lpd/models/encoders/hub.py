"""Files from the Hugging Face hub, with a quick and clear answer where it cannot be reached."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal, overload

import huggingface_hub
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from wsi_lpd.errors import ModelError, one_line

WEIGHT_FILES: Final = ("model.safetensors", "pytorch_model.bin", "pytorch_model.pth", "model.pth")
"""Names in a folder with the hub's layout, best first."""

_PROBE_TIMEOUT_S = 10.0

_CLIENT_ERRORS: tuple[type[BaseException], ...] = (HfHubHTTPError.__bases__[0], OSError)
"""What the hub's HTTP library raises; which library that is changes with the version (requests, httpx)."""


@overload
def hub_file(repository: str, names: Sequence[str], *, required: Literal[True] = True) -> Path: ...
@overload
def hub_file(repository: str, names: Sequence[str], *, required: bool) -> Path | None: ...
def hub_file(repository: str, names: Sequence[str], *, required: bool = True) -> Path | None:
    """The first of `names` that a repository holds, from the local cache or downloaded into it.

    The hub's own client retries for half a minute and more per file when there is no network, so one quick question
    goes first.

    Args:
        repository: `owner/name`, or `owner/name@revision`.
        names: File names, best first.
        required: Whether a repository without any of them is an error.

    Returns:
        Where the file lies; None if it is not required and not there.

    Raises:
        ModelError: If the hub cannot be reached, refuses, or has no such repository or file.
    """
    owner_name, _, revision = repository.partition("@")
    wanted = revision or None
    try:
        found = cached_file(repository, names)
        if found is not None:
            return found
        if not _hub_answers():
            if not required:
                return None
            raise ModelError(_offline(repository, names))
        for name in names:
            try:
                return Path(huggingface_hub.hf_hub_download(owner_name, name, revision=wanted))
            except LocalEntryNotFoundError:
                raise
            except EntryNotFoundError:
                continue
    except HFValidationError as err:
        raise ModelError(f"model.weights: {repository!r} is no repository; expected hf-hub:owner/name") from err
    except LocalEntryNotFoundError as err:
        raise ModelError(_offline(repository, names)) from err
    except _CLIENT_ERRORS as err:
        raise ModelError(
            f"model.weights: {repository} cannot be fetched from the Hugging Face hub ({one_line(err)}). Check the "
            "name; for gated or private repositories accept their terms and run `hf auth login`."
        ) from err
    if not required:
        return None
    raise ModelError(f"model.weights: {repository} holds none of {', '.join(names)}")


def cached_file(repository: str, names: Sequence[str]) -> Path | None:
    """The first of `names` that the local cache holds of a repository; asks nobody."""
    owner_name, _, revision = repository.partition("@")
    for name in names:
        cached = huggingface_hub.try_to_load_from_cache(owner_name, name, revision=revision or None)
        if isinstance(cached, str):
            return Path(cached)
    return None


def _hub_answers() -> bool:
    """Whether the hub can be reached; any HTTP answer counts, proxies of the environment are used."""
    if huggingface_hub.constants.HF_HUB_OFFLINE:
        return False
    request = urllib.request.Request(huggingface_hub.constants.ENDPOINT, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=_PROBE_TIMEOUT_S):
            return True
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False


def _offline(repository: str, names: Sequence[str]) -> str:
    cache = huggingface_hub.constants.HF_HUB_CACHE
    owner_name = repository.partition("@")[0]
    folder = owner_name.rpartition("/")[2]
    return (
        f"model.weights: {repository} ({names[0]}) is not in the cache {cache}, and the Hugging Face hub "
        f"({huggingface_hub.constants.ENDPOINT}) cannot be reached. Fetch it where there is a network "
        f"(`hf download {owner_name} --local-dir {folder}`), bring the folder here and give --set "
        f"model.weights={folder}; or bring the folder HF_HOME of that machine, set HF_HOME to it and HF_HUB_OFFLINE=1. "
        "Random weights: --set model.weights=none, with a timm name as the encoder."
    )
