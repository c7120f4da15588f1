"""Runs a function in several processes that know of each other, as `torchrun` would start them."""

import multiprocessing
import os
import pickle
import socket
import traceback

import torch


def together(function, count=2, expected=None):
    """What `function(rank)` returns in each of `count` processes, or the exception it raises; in the order of ranks.

    The processes are forked: nothing is imported again, so this takes a second. With `expected`, only so many of them
    live to answer.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()

    def run(rank):
        torch.set_num_threads(1)
        os.environ |= {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(count),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
        }
        try:
            answer = function(rank)
        except BaseException as err:
            traceback.print_exc()
            answer = err
        results.put((rank, pickle.dumps(answer)))  # plain bytes: tensors would travel as files that die with us

    processes = [context.Process(target=run, args=(rank,), daemon=True) for rank in range(count)]
    for process in processes:
        process.start()
    found = dict(results.get() for _ in range(count if expected is None else expected))
    for process in processes:
        process.join()
    return [pickle.loads(found[rank]) for rank in sorted(found)]
