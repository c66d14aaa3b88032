"""The same tasks on a Dask cluster of this machine, one of whose workers is killed half-way."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

import suite
from suite.errors import UsageError
from suite.running.executors.dask import Cluster
from suite.running.options import RunOptions
from suite.running.tasks import Outcome, Task
from tests.running.same import SMALL, multiset, results

distributed = pytest.importorskip("distributed", reason="needs Dask: pip install 'gradsuite[cluster]'")

ASKED = {
    "cases": ["small-works*"],
    "conventions": ["*mean*", "*sum*"],
    "from_files": [SMALL],
    "check_steps": 3,
}

TORTURE = Path(__file__).parents[1] / "torture_cases.py"

# Dask tells of lost workers, and leaves sockets to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("default"),
]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    import dask

    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
    ):
        yield cluster.scheduler_address


@pytest.mark.slow
def test_a_worker_that_is_killed_half_way_loses_nothing(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[int] = []
    original = Cluster.map

    def kill_one(self: Cluster, *arguments: object) -> Iterator[tuple[Task, Outcome]]:
        for count, (task, outcome) in enumerate(original(self, *arguments)):
            if task.kind == "cell" and count == 3 and not killed:
                killed.append(next(iter(self._client.run(os.getpid).values())))
                os.kill(killed[0], signal.SIGKILL)
            yield task, outcome

    monkeypatch.setattr(Cluster, "map", kill_one)
    report = suite.run(**ASKED, output=tmp_path, cluster=address)
    assert killed
    assert not report.failures
    assert results(report.rows) == results(suite.run(**ASKED).rows)


@pytest.mark.slow
def test_a_case_that_kills_each_worker_is_reported_and_the_rest_goes_on(address: str) -> None:
    report = suite.run(
        ["small-works", "small-exits"], ["sum"], from_files=[SMALL], check_steps=0, cluster=address
    )
    alone = suite.run(["small-works"], ["sum"], from_files=[SMALL], check_steps=0)
    assert multiset(report.of("discrepancy")) == multiset(alone.of("discrepancy"))
    assert {(row["case"], row["reason"]) for row in report.failures} == {
        ("small-exits", "it ended its process, as each of 2 workers that took it did")
    }


@pytest.mark.slow
def test_a_case_that_does_not_end_is_one_row_and_leaves_no_process(address: str) -> None:
    import psutil

    asked = {"conventions": ["sum"], "from_files": [TORTURE], "check_steps": 0}
    report = suite.run(
        ["hangs-not", "hangs-when-built", "hangs-holding-the-lock"], **asked, cluster=address, time_limit=10
    )
    alone = suite.run(["hangs-not"], **asked)
    assert multiset(report.of("discrepancy")) == multiset(alone.of("discrepancy"))
    reasons = {row["case"]: row["reason"] for row in report.failures}
    assert set(reasons) == {"hangs-when-built", "hangs-holding-the-lock"}
    assert all(reason.startswith("it did not end within 10 s") for reason in reasons.values())
    with distributed.Client(address, set_as_default=False) as client:
        workers = client.run(os.getpid).values()
    left = [child.cmdline() for pid in workers for child in psutil.Process(pid).children()]
    assert not [line for line in left if "spawn_main" in " ".join(line)]


def test_no_scheduler_is_one_line() -> None:
    with pytest.raises(UsageError, match="no Dask scheduler answers at 'nonsense'"):
        suite.run(cluster="nonsense")


class Client:
    """A client of a cluster with these devices by worker, or with an error."""

    def __init__(self, devices: dict[str, str], error: Exception | None = None) -> None:
        self.devices, self.error = devices, error

    def scheduler_info(self, **_: object) -> dict[str, dict[str, str]]:
        return {"workers": self.devices}

    def run(self, *_: object) -> dict[str, str]:
        if self.error is not None:
            raise self.error
        return self.devices


@pytest.mark.parametrize(
    ("client", "said"),
    [
        (Client({}), "the cluster has no workers"),
        (Client({"a": "cpu", "b": "cuda:0"}), "a has cpu, b has cuda:0"),
        (Client({"a": ""}, ModuleNotFoundError("No module named 'suite'")), "cannot run this gradsuite"),
        (Client({"a": ""}, UsageError("no dtype is named 'x'")), "^no dtype is named 'x'$"),
    ],
)
def test_workers_that_do_not_fit_are_one_line(client: Client, said: str) -> None:
    cluster = Cluster.__new__(Cluster)
    cluster._client = client
    with pytest.raises(UsageError, match=said):
        cluster.device("auto")


def test_workers_of_one_kind_say_their_device() -> None:
    cluster = Cluster.__new__(Cluster)
    cluster._client = Client({"a": "cpu", "b": "cpu"})
    assert cluster.device("auto") == "cpu"


def test_without_dask_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UsageError, match=r"--cluster needs Dask: pip install 'gradsuite\[cluster\]'"):
        suite.run(cluster="tcp://localhost:1")


def test_of_a_case_that_killed_a_worker_alone_no_other_item_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(distributed, "as_completed", lambda futures, loop: futures)
    cluster, tries = Cluster.__new__(Cluster), []
    cluster._client = SimpleNamespace(loop=None)

    def submit(task: Task) -> object:
        tries.append(task.name)
        return object()

    def result(task: Task, future: object) -> tuple[str, bool]:
        return task.name, task.case == "kills" or tries.count(task.name) == 1  # beside it, each seems to kill

    monkeypatch.setattr(cluster, "_submit", submit)
    monkeypatch.setattr(cluster, "_result", result)
    tasks = [SimpleNamespace(name=n, case=c) for n, c in (("a", "kills"), ("b", "kills"), ("c", "works"))]
    assert [outcome for _, outcome in cluster.map(tasks, lambda task: None)] == ["a", "b", "c"]
    assert tries == ["a", "b", "c", "a", "c"]


def test_an_error_of_dask_is_the_reason_of_a_failure_and_blames_no_worker() -> None:
    cluster = Cluster.__new__(Cluster)
    cluster.open(RunOptions(device="cpu", dtype="float64"))
    future = SimpleNamespace(exception=lambda: OSError("connection lost"), release=lambda: None)
    outcome, died = cluster._result(Task("cell", "small-works", 0), future)
    assert not died
    assert "connection lost" in outcome.rows[0]["reason"]
