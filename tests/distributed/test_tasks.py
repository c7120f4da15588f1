"""Tasks on two processes: every item once, errors by name, and a dead worker that costs a retry."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import Client

from wsi_lpd.distributed.cluster import ClusterChoice, connected
from wsi_lpd.distributed.slides import go_to
from wsi_lpd.distributed.tasks import outcomes
from wsi_lpd.errors import ClusterError, SlideError


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with connected(ClusterChoice(workers=2)) as found:
        yield found


def test_items__are_each_done_once_wherever(client: Client) -> None:
    def work(item: int) -> tuple[int, int]:
        return item * item, os.getpid()

    done = {outcome.item: outcome.result for outcome in outcomes(client, work, [5, 3, 9, 4])}
    assert {item: result[0] for item, result in done.items() if result} == {5: 25, 3: 9, 9: 81, 4: 16}
    assert os.getpid() not in {result[1] for result in done.values() if result}


def test_an_error_that_we_explain__is_told_and_not_tried_again(client: Client, tmp_path: Path) -> None:
    def work(name: str) -> str:
        with (tmp_path / name).open("a") as stream:
            stream.write("tried\n")
        if name == "bad":
            raise SlideError("bad: is no slide")
        return name.upper()

    found = {outcome.item: (outcome.result, outcome.error) for outcome in outcomes(client, work, ["a", "bad", "c"])}
    assert found == {"a": ("A", None), "bad": (None, "bad: is no slide"), "c": ("C", None)}
    assert (tmp_path / "bad").read_text() == "tried\n"


def test_a_bug__keeps_its_traceback(client: Client) -> None:
    def work(item: int) -> float:
        return 1 / item

    with pytest.raises(ZeroDivisionError):
        list(outcomes(client, work, [0]))


def test_a_worker_that_is_killed__costs_a_retry_and_nothing_else(client: Client, tmp_path: Path) -> None:
    def work(item: int) -> int:
        died = tmp_path / "died"
        if item == 2 and not died.exists():
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return item + 100

    assert sorted(outcome.result or 0 for outcome in outcomes(client, work, range(5))) == [100, 101, 102, 103, 104]
    assert (tmp_path / "died").exists()


def test_a_task_that_kills_every_worker__is_given_up_by_name() -> None:
    def work(item: str) -> str:
        if item == "huge":
            os.kill(os.getpid(), signal.SIGKILL)
        return item

    with connected(ClusterChoice(workers=1)) as alone:
        found = {outcome.item: outcome.error for outcome in outcomes(alone, work, ["huge", "small"])}
    assert found["small"] is None
    assert found["huge"] is not None
    assert "huge: 4 workers died" in found["huge"]


def test_local_workers__share_the_cores_and_the_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")

    def work(item: int) -> tuple[str | None, ...]:
        return os.environ.get("OMP_NUM_THREADS"), os.environ.get("CUDA_VISIBLE_DEVICES"), str(os.getpid())

    choice = ClusterChoice(workers=3)
    with connected(choice, n_gpus=2) as found:
        found.wait_for_workers(3)
        told = found.run(lambda: work(0))
    assert {values[0] for values in told.values()} == {str(choice.threads_each())}
    assert sorted(str(values[1]) for values in told.values()) == ["4", "4", "7"]


def test_a_scheduler_that_does_not_answer__is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsi_lpd.distributed.cluster._PATIENCE", "1s")
    choice = ClusterChoice(scheduler="tcp://127.0.0.1:9")
    with pytest.raises(ClusterError, match="no Dask scheduler answers"), connected(choice):
        pass


def test_a_scheduler_file_that_is_not_there__is_told_at_once(tmp_path: Path) -> None:
    choice = ClusterChoice(scheduler_file=tmp_path / "none.json")
    with pytest.raises(ClusterError, match="no such file"), connected(choice):
        pass


def test_a_folder_that_a_worker_does_not_have__is_told(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="all machines share"):
        go_to(tmp_path / "only-there")
