"""Pairs of conventions: what is measured, and what follows."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import suite
from cases import cases
from suite.algebra.discrepancy import compare
from suite.algebra.gram import per_sample
from suite.algebra.pairs import Pair, _reverse, table
from suite.conventions import conventions
from suite.engines.per_sample_gradients import per_sample_gradients
from suite.report.run_result import RunResult
from suite.running.plan import cells

NAMES = ["sum", "mean", "half-mean", "clip-each-unit", "mean-of-microbatch-means", "token-mean"]


@pytest.fixture(scope="module")
def report() -> RunResult:
    return suite.run(["next-token", "mse"], NAMES, batch_sizes=[2, 8], check_steps=0)


def test_pairs_are_measured_on_the_first_batch_of_the_size_nearest_to_eight(report: RunResult) -> None:
    assert {(r["batch_size"], r["batch"]) for r in report.of("pair")} == {(8, "0")}


def test_only_pairs_that_differ_in_direction_from_the_reference_have_rows(report: RunResult) -> None:
    verdicts = {
        (r["case"], r["convention"]): r["verdict"]
        for r in report.of("discrepancy")
        if (r["batch_size"], r["batch"], r["reference"]) == (8, "0", "mean")
    }
    rows = report.of("pair")
    assert rows
    for row in rows:
        ends = row["convention"], row["reference"]
        assert "mean" not in ends
        assert "direction" in {verdicts[row["case"], end] for end in ends}


@pytest.mark.parametrize("case", ["next-token", "mse"])
def test_the_table_of_pairs_is_what_comparing_each_two_gives(report: RunResult, case: str) -> None:
    import torch

    torch.manual_seed(0)
    problem = cases[case].build()
    model = problem.model().double()
    cell = next(c for c in cells(problem, (2, 8), 0) if c.pairs)
    batch = cell.take(problem, torch.device("cpu"), torch.float64)
    units, gram = cell.units(problem, batch), per_sample_gradients(model, batch, problem.losses).gram()
    known = table(report.rows, case, "mean")
    names = {name for name in NAMES if conventions[name].missing(units) is None}
    assert {a for a, _ in known} >= names
    for a, b in itertools.product(names, names):
        expected = compare(gram, *(conventions[name].coefficients(units, gram) for name in (a, b)))
        apart = expected.residual if expected.verdict.value == "direction" else 0.0
        assert known[a, b].scale == pytest.approx(expected.scale, rel=1e-9)
        assert known[a, b].residual == pytest.approx(apart, abs=1e-9)


def test_a_pair_and_its_reverse_have_one_angle_and_scales_whose_product_is_its_cosine_squared() -> None:
    rows = [
        {"kind": "pair", "case": "c", "batch_size": 8, "batch": "0", "convention": "a", "reference": "b",
         "scale": 3.0, "residual": 0.6, "verdict": "direction"}
    ]  # fmt: skip
    known = table(rows, "c", "mean")
    assert known["a", "b"] == Pair(3.0, 0.6)
    assert known["b", "a"].residual == 0.6
    assert known["b", "a"].scale == pytest.approx(0.64 / 3)


def test_samples_are_summed_over_their_parts_and_the_regulariser_is_left_out() -> None:
    generator = np.random.default_rng(0)
    units = generator.normal(size=(5, 7))  # two samples of two parts, and a regulariser
    whole = np.stack([units[0] + units[1], units[2] + units[3]])
    found = per_sample(units @ units.T, np.array([0, 0, 1, 1, -1]))
    np.testing.assert_allclose(found, whole @ whole.T, rtol=1e-12)


def test_the_noise_of_a_batch_is_that_of_its_samples(report: RunResult) -> None:
    rows = report.of("noise")
    assert {row["samples"] for row in rows} >= {2, 8}
    assert all(row["trace"] > 0 for row in rows)


@pytest.mark.parametrize("scale", [None, 0.0])
def test_a_pair_without_a_scale_has_none_the_other_way_round(scale: float | None) -> None:
    assert _reverse(Pair(scale, 1.0), None) == Pair(None, 1.0)
