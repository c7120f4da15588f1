"""A lock that is held for others."""

from __future__ import annotations

import os
import threading
import time

import pytest

from wsi_lpd import lock as lock_module
from wsi_lpd.errors import BusyError
from wsi_lpd.lock import kept_locked, locked


def test_a_lock_that_is_kept__is_renewed_until_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(lock_module, "RENEW_S", 0.01)
    path, file = tmp_path / "map.geojson", tmp_path / "map.geojson.lock"
    with kept_locked(path):
        for _ in range(2):  # once more, so that it is not the first time only
            os.utime(file, (1, 1))
            end = time.monotonic() + 60
            while file.stat().st_mtime < 2 and time.monotonic() < end:
                time.sleep(0.01)
            assert file.stat().st_mtime > 2
        with pytest.raises(BusyError, match="is writing it"), locked(path):
            pass
    assert not file.exists()
    assert "lock" not in {thread.name for thread in threading.enumerate()}


def test_a_lock_that_is_kept__is_refused_where_another_holds_it(tmp_path):
    with locked(tmp_path / "map.geojson"):
        with pytest.raises(BusyError), kept_locked(tmp_path / "map.geojson"):
            pass
        assert (tmp_path / "map.geojson.lock").exists()
