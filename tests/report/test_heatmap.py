"""The numbers of the heat map."""

from __future__ import annotations

from suite.algebra.pairs import Pair
from suite.report.heatmap import heatmap
from suite.report.run_result import RunResult
from tests.report.rows import discrepancy, rows


def test_pairs_of_multiples_follow_from_the_reference() -> None:
    found = heatmap(RunResult(rows()))
    assert found.pairs["sum", "half-mean"] == Pair(16.0, 0.0)
    assert found.pairs["half-mean", "sum"] == Pair(1 / 16, 0.0)


def test_pairs_that_differ_in_direction_are_those_that_were_measured() -> None:
    found = heatmap(RunResult(rows()))
    assert found.pairs["sum", "clip-each-unit"] == Pair(2.0, 0.4)
    assert found.pairs["clip-each-unit", "sum"].residual == 0.4


def test_names_are_in_the_order_of_the_registry_and_unknown_ones_last() -> None:
    found = heatmap(RunResult([*rows(), discrepancy("one", 8, "0", "gone", scale=0.6)]))
    assert found.names == ("sum", "mean", "half-mean", "clip-each-unit", "clip-mean", "gone")


def test_conventions_are_one_only_if_they_are_in_every_case() -> None:
    same = [discrepancy(case, 8, "0", "batchmean", scale=1.0, verdict="identical") for case in ("one", "two")]
    assert heatmap(RunResult([*rows(), *same])).same["mean"] == ("batchmean",)
    same[1] = discrepancy("two", 8, "0", "batchmean", scale=2.0)
    found = heatmap(RunResult([*rows(), *same]))
    assert found.same["mean"] == ()
    assert found.pairs["batchmean", "mean"] == Pair(2.0, 0.0)  # the scale that is farthest from 1


def test_what_another_batch_of_the_run_tells_apart_is_named() -> None:
    alike = [discrepancy("one", 8, "0", name, scale=1.0, verdict="identical") for name in ("a", "b", "c")]
    others = [
        discrepancy("one", 8, "last", "a", scale=1.0, verdict="identical"),
        discrepancy("one", 8, "last", "b", scale=0.25),
        discrepancy("one", 8, "last", "c", scale=1.0, verdict="direction", residual=0.58),
    ]
    found = heatmap(RunResult([*rows(("one",)), *alike, *others]))
    assert found.same["mean"] == ("a", "b", "c")
    assert found.apart == {"mean": ("b", "c")}


def test_two_that_move_together_are_told_apart_by_no_batch() -> None:
    both = [discrepancy("one", 8, batch, name, scale=scale)
            for name in ("a", "b") for batch, scale in (("0", 0.3), ("last", 0.6))]  # fmt: skip
    found = heatmap(RunResult([*rows(("one",)), *both]))
    assert found.same["a"] == ("b",)
    assert found.apart == {}


def test_pairs_that_no_case_has_are_missing() -> None:
    report = RunResult([*rows(("one",)), discrepancy("alone", 8, "0", "gone")])
    assert ("gone", "sum") not in heatmap(report).pairs
