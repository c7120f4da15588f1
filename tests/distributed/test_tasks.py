"""Tasks on two processes: every item once, errors by name, and a dead worker that costs a retry."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from distributed import Client

from wsi_lpd.distributed.cluster import ClusterChoice, connected
from wsi_lpd.distributed.slides import enter_folder
from wsi_lpd.distributed.tasks import Subtasks, outcomes
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


def test_an_anticipated_error__is_reported_and_not_tried_again(client: Client, tmp_path: Path) -> None:
    def work(name: str) -> str:
        with (tmp_path / name).open("a") as stream:
            stream.write("tried\n")
        if name == "bad":
            raise SlideError("bad: is no slide")
        return name.upper()

    found = {outcome.item: (outcome.result, outcome.error) for outcome in outcomes(client, work, ["a", "bad", "c"])}
    assert found == {"a": ("A", None), "bad": (None, "bad: is no slide"), "c": ("C", None)}
    assert (tmp_path / "bad").read_text() == "tried\n"


def test_work_that_others_can_share__is_finished_when_every_part_is_done(client: Client, tmp_path: Path) -> None:
    def part(item: int, number: int) -> None:
        (tmp_path / f"{item}-{number}").write_text(str(os.getpid()))

    def work(item: int) -> int | Subtasks[int]:
        def finish() -> int:
            return len(list(tmp_path.glob(f"{item}-*")))

        return -1 if item == 0 else Subtasks([partial(part, item, number) for number in range(item - 1)], finish)

    found = {outcome.item: (outcome.result, outcome.error) for outcome in outcomes(client, work, range(5))}
    assert found == {0: (-1, None), 1: (0, None), 2: (1, None), 3: (2, None), 4: (3, None)}
    assert str(os.getpid()) not in {path.read_text() for path in tmp_path.iterdir()}


def test_an_error_in_a_part__is_reported_once_and_ends_its_item_alone(client: Client, tmp_path: Path) -> None:
    reported = tmp_path / "reported"

    def part(item: str, number: int) -> None:
        (tmp_path / f"{item}-{number}").touch()
        if item == "bad" and number == 0:
            raise SlideError("bad: is damaged")
        end = time.monotonic() + 60
        while item == "bad" and not reported.exists() and time.monotonic() < end:
            time.sleep(0.01)

    def work(item: str) -> Subtasks[str]:
        return Subtasks([partial(part, item, number) for number in range(20)], partial(str.upper, item))

    found = []
    for outcome in outcomes(client, work, ["bad", "good"]):
        found.append((outcome.item, outcome.result, outcome.error))
        end = time.monotonic() + 60
        while sum(map(len, client.processing().values())) > 1 and time.monotonic() < end:
            time.sleep(0.01)  # until the scheduler has heard of it; both workers are at parts that wait
        reported.touch()
    assert found == [("bad", None, "bad: is damaged"), ("good", "GOOD", None)]
    assert len(list(tmp_path.glob("good-*"))) == 20
    assert len(list(tmp_path.glob("bad-*"))) < 10  # what had begun by then


def test_a_part_that_is_killed__is_tried_again(client: Client, tmp_path: Path) -> None:
    def part(number: int) -> None:
        if number == 1 and not (tmp_path / "died").exists():
            (tmp_path / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        (tmp_path / f"done {number}").touch()

    def work(item: str) -> Subtasks[int]:
        return Subtasks([partial(part, number) for number in range(3)], lambda: len(list(tmp_path.glob("done *"))))

    assert [outcome.result for outcome in outcomes(client, work, ["slide"])] == [3]
    assert (tmp_path / "died").exists()


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
    def part(item: str) -> None:
        if item == "huge":
            os.kill(os.getpid(), signal.SIGKILL)

    def work(item: str) -> str | Subtasks[str]:
        return item if item == "small" else Subtasks([partial(part, item)], lambda: item)

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
        environments = found.run(lambda: work(0))
    assert {values[0] for values in environments.values()} == {str(choice.threads_each())}
    assert sorted(str(values[1]) for values in environments.values()) == ["4", "4", "7"]


def test_a_scheduler_that_does_not_answer__is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsi_lpd.distributed.cluster._PATIENCE", "1s")
    choice = ClusterChoice(scheduler="tcp://127.0.0.1:9")
    with pytest.raises(ClusterError, match="no Dask scheduler answers"), connected(choice):
        pass


def test_a_scheduler_file_that_is_not_there__is_reported_at_once(tmp_path: Path) -> None:
    choice = ClusterChoice(scheduler_file=tmp_path / "none.json")
    with pytest.raises(ClusterError, match="no such file"), connected(choice):
        pass


def test_a_folder_that_a_worker_does_not_have__is_reported(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="all machines share"):
        enter_folder(tmp_path / "only-there")
