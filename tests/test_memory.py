from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

from wsi_lpd import memory

_HELD_BY_THREADS = """
import sys, threading
from wsi_lpd.memory import share_one_heap
if "shared" in sys.argv:
    share_one_heap()
turn = [threading.Event() for _ in range(9)]
def work(n):
    turn[n].wait()
    blocks = [bytearray(100_000) for _ in range(300)]
    edge = bytearray(100_000)
    del blocks
    turn[n + 1].set()
    end.wait()
end = threading.Event()
threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
for thread in threads: thread.start()
turn[0].set()
turn[8].wait()
print(next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS")))
end.set()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's heaps")
def test_share_one_heap__threads_use_what_others_have_freed():
    held_kb = {}
    for how in ("shared", "apart"):
        done = subprocess.run([sys.executable, "-c", _HELD_BY_THREADS, how], capture_output=True, text=True, check=True)
        held_kb[how] = int(done.stdout)
    assert held_kb["shared"] < held_kb["apart"] - 100_000


@pytest.mark.parametrize("platform", ["darwin", "win32", "linux"])
def test_share_one_heap__does_nothing_where_there_is_no_such_function(monkeypatch, platform):
    monkeypatch.setattr(memory.sys, "platform", platform)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    memory.share_one_heap()


_TOUCHES_BLOCKS = """
import resource, sys
import numpy as np
from wsi_lpd.memory import keep_freed_blocks
if "kept" in sys.argv:
    keep_freed_blocks()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
np.empty(8 * 2**20, np.uint8).fill(1)
before = faults()
for _ in range(20):
    np.empty(8 * 2**20, np.uint8).fill(1)
print(faults() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's thresholds")
def test_keep_freed_blocks__a_dask_worker_does_not_fetch_a_block_from_the_system_again_and_again():
    environment = {**os.environ, "MALLOC_TRIM_THRESHOLD_": "65536"}
    n_faults = {}
    for how in ("kept", "given back"):
        words = [sys.executable, "-c", _TOUCHES_BLOCKS, how]
        done = subprocess.run(words, capture_output=True, text=True, check=True, env=environment)
        n_faults[how] = int(done.stdout)
    assert n_faults["kept"] < 0.2 * n_faults["given back"]
