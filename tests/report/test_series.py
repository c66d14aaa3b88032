"""What goes against something."""

from __future__ import annotations

import pytest

from suite.report.run_result import RunResult
from suite.report.series import curves, noise_scales, paths
from tests.report.rows import ENVIRONMENT, discrepancy, rows


def test_the_exponent_is_that_of_the_power_law_whatever_each_case_begins_with() -> None:
    found = [
        discrepancy(case, n, "0", "clip-mean", scale=a * n**-0.75)
        for case, a in (("one", 1.0), ("two", 50.0))
        for n in (1, 4, 64)
    ]
    (curve,) = curves(RunResult([ENVIRONMENT, *found]))
    assert curve.exponent == pytest.approx(-0.75, rel=1e-12)
    assert curve.scales == pytest.approx([(50**0.5) * n**-0.75 for n in (1, 4, 64)])


def test_one_size_has_no_exponent() -> None:
    assert {curve.exponent for curve in curves(RunResult(rows(sizes=(8,))))} == {None}


def test_conventions_of_a_family_that_agree_share_a_curve() -> None:
    same = [discrepancy(case, size, "0", "half-sum", scale=0.5) for case in ("one", "two") for size in (2, 8)]
    found = curves(RunResult([*rows(), *same]))
    assert ("half-mean", "half-sum") in {curve.names for curve in found}


def test_ragged_batches_are_no_point_of_a_curve() -> None:
    ragged = discrepancy("one", 8, "last", "sum", samples=5, scale=5.0)
    assert curves(RunResult([*rows(), ragged])) == curves(RunResult(rows()))


def test_a_training_check_has_a_path_for_each_remedy() -> None:
    found = [path for path in paths(RunResult(rows())) if (path.case, path.optimizer) == ("one", "SGD")]
    assert {path.remedy: path.distances for path in found} == {
        "unchanged": (0.1, 0.2, 0.3),
        "equivalent": (0.0, 0.0, 0.0),
    }


def test_noise_is_pooled_over_the_batches_of_the_largest_size() -> None:
    found = rows(("one",))
    (last,) = [
        row for row in found if row["kind"] == "noise" and (row["batch_size"], row["batch"]) == (8, "1")
    ]
    last |= {"samples": 4, "trace": 20.0, "square": 4.0}
    noise = noise_scales(RunResult(found))["one"]
    assert noise.samples == 12
    assert noise.trace == pytest.approx((7 * 6 + 3 * 20) / 10)
    assert noise.simple == pytest.approx((7 * 6 + 3 * 20) / (7 * 2 + 3 * 4))
