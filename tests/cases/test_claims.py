"""The three threads: each verdict follows from what is measured here and now."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from typing import Any

import numpy as np
import pytest

from cases.claims import reduction_methods as reductions
from suite.claim import PREFIX, measure_claim, settle
from suite.discovery import load_claims

sources = load_claims()
VERDICTS = {
    "claims/sum-or-average": {
        "constant-factor": "holds only if all batches have one size",
        "higher-rate": "holds only if gradients are averaged",
        "balanced-by-the-rate": "holds only if the optimizer is SGD, with or without momentum",
        "independent-magnitude": "does not hold",
        "smoother": "holds only if gradients are averaged or smoothness is relative to the gradient",
        "l2-keeps-weights-small": "holds only if weight_decay is left as it is",
    },
    "claims/average-gradient": {
        "averaging-losses": "does not hold",
        "example-1-averages": "holds only if the batches have equal sizes",
        "example-2-is-equal": "holds only if the data points are the copies of one image",
        "example-3-runs": "holds only if retain_graph=True is added",
        "example-3-keeps-the-threshold": "does not hold",
    },
    "claims/reduction-methods": {
        "the-ways-differ": "holds only if kept gradients are overwritten by an in-place zero_grad",
        "the-published-pattern": "holds only if kept gradients are overwritten by an in-place zero_grad",
        "retain-graph": "does not hold",
        "none-composes-updates": "does not hold",
        "sum-is-n-times-mean": "holds only if there are no class weights and no ignored targets",
        "adam-accounts-for-it": "holds only if eps is 1e-30",
        "mean-is-constant": "holds",
        "non-linearity": "does not hold",
    },
}


@cache
def rows(name: str) -> list[dict[str, Any]]:
    return [measure_claim(sources[name], claim) for claim in sources[name].claims()]


def numbers(thread: str, claim: str) -> dict[str, Any]:
    (row,) = (row for row in rows(f"claims/{thread}") if row["claim"] == claim)
    return row["numbers"]


@pytest.mark.parametrize("name", [name for name in sources.names if name.startswith(PREFIX)])
def test_every_claim_has_a_row_and_its_verdict(name: str) -> None:
    assert {row["claim"]: row["verdict"] for row in rows(name)} == VERDICTS[name]
    assert all(
        row["kind"] == "claim" and row["claimed"] and row["measured"] and row["note"] for row in rows(name)
    )


def test_a_verdict_follows_from_the_conditions() -> None:
    assert settle("", {"a": True, "b": True}).verdict == "holds"
    assert settle("", {"a": True, "b": False}).verdict == "holds only if a"
    assert settle("", {"a": True, "b": False, "c": True}).verdict == "holds only if a or c"
    assert settle("", {"a": False}).verdict == "does not hold"


def test_the_published_experiment_gives_zeros_and_one_number() -> None:
    found = reductions.discrepancies(copies=False)
    zero = {pair: size for pair, size in found.items() if size < 1e-12}
    assert set(zero) == {"none, one-by-one", "sum, avg"}
    others = [size for pair, size in found.items() if pair not in zero]
    np.testing.assert_allclose(others, others[0], rtol=1e-12)
    assert others[0] > 0.01


def test_a_correct_loop_gives_rounding_six_times() -> None:
    assert max(reductions.discrepancies(copies=True).values()) < 1e-15


def test_the_discrepancy_is_the_first_gradient_taken_for_the_second() -> None:
    """An independent look: the published error is exactly (g_1 − g_0)/n."""
    import torch
    import torch.nn.functional as F

    model, (x, y) = reductions.problem()
    parameters = list(model.parameters())
    first, second = (
        torch.autograd.grad(F.cross_entropy(model(x[i : i + 1]), y[i : i + 1]), parameters) for i in (0, 1)
    )
    wrong, right = reductions.one_loss_each(model, (x, y)), reductions.averaged(model, (x, y))
    for a, b, g0, g1 in zip(wrong, right, first, second, strict=True):
        torch.testing.assert_close(a - b, (g1 - g0) / len(y), rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("way", ["none", "one-by-one"])
def test_recovery_names_the_cause_by_itself(way: str) -> None:
    found = reductions.recovered(way, copies=False)
    np.testing.assert_allclose(found.weights * 16, [0, 2, *[1] * 14], atol=1e-10)
    assert found.convention.name == "fault:kept-as-views"
    assert found.fault is found.convention


@pytest.mark.parametrize("way", ["none", "sum", "avg", "one-by-one"])
def test_a_correct_loop_is_recovered_as_the_mean(way: str) -> None:
    assert reductions.recovered(way, copies=True).convention.name == "mean"


def test_clipping_before_dividing_has_a_tenth_of_the_threshold() -> None:
    found = numbers("average-gradient", "example-3-keeps-the-threshold")
    assert found["clipped_then_averaged"] == pytest.approx(0.1, rel=1e-5)
    assert found["averaged_then_clipped"] == pytest.approx(1.0, rel=1e-5)


def test_the_variance_falls_as_one_over_n_averaged_and_grows_as_n_summed() -> None:
    found = numbers("sum-or-average", "smoother")
    assert found["averaged"] == pytest.approx(-1, abs=0.05)
    assert found["summed"] == pytest.approx(1, abs=0.05)


def test_naming_the_threads_needs_no_torch() -> None:
    code = "import sys, cases.claims; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
