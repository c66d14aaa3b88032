"""The same items on a Dask cluster of this machine, one of whose workers is killed half-way."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import suite
from suite.errors import UsageError
from suite.running.cluster import Cluster
from suite.running.items import Item, Outcome
from tests.running.same import SMALL, multiset, results

distributed = pytest.importorskip("distributed", reason="needs Dask: pip install 'gradsuite[cluster]'")

ASKED = {"cases": ["small-works*"], "conventions": ["*mean*", "*sum*"], "from_files": [SMALL], "prove": 3}

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

    def kill_one(self: Cluster, *arguments: object) -> Iterator[tuple[Item, Outcome]]:
        for count, (item, outcome) in enumerate(original(self, *arguments)):
            if item.kind == "cell" and count == 3 and not killed:
                killed.append(next(iter(self._client.run(os.getpid).values())))
                os.kill(killed[0], signal.SIGKILL)
            yield item, outcome

    monkeypatch.setattr(Cluster, "map", kill_one)
    report = suite.run(**ASKED, output=tmp_path, cluster=address)
    assert killed
    assert not report.failures
    assert results(report.rows) == results(suite.run(**ASKED).rows)


@pytest.mark.slow
def test_a_case_that_kills_each_worker_is_reported_and_the_rest_goes_on(address: str) -> None:
    report = suite.run(["small-works", "small-exits"], ["sum"], from_files=[SMALL], prove=0, cluster=address)
    alone = suite.run(["small-works"], ["sum"], from_files=[SMALL], prove=0)
    assert multiset(report.of("discrepancy")) == multiset(alone.of("discrepancy"))
    assert {(row["case"], row["reason"]) for row in report.failures} == {
        ("small-exits", "it ended its process, as each of 2 workers that took it did")
    }


@pytest.mark.slow
def test_a_case_that_does_not_end_is_one_row_and_leaves_no_process(address: str) -> None:
    import psutil

    asked = {"conventions": ["sum"], "from_files": [TORTURE], "prove": 0}
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
