"""When one learning rate fits, when another for each batch, and when none."""

from __future__ import annotations

from suite.algebra.discrepancy import Verdict
from suite.report.learning_rates import learning_rates


def row(scale: float | None, verdict: Verdict = Verdict.SCALE, **more: object) -> dict:
    known = {"n": 32, "V": 100.0}
    return {
        "case": "c", "batch_size": 32, "samples": 32, "convention": "a", "reference": "b", "units": 32,
        "scale": scale, "verdict": verdict.value, "residual": 0.5, "reason": "why", "quantities": known,
    } | more  # fmt: skip


def test_the_same_scale_on_every_batch_gives_its_inverse() -> None:
    (found,) = learning_rates([row(32.0), row(32.0)])
    assert (found["status"], found["factor"], found["scale_is"]) == ("exact", 1 / 32, "n")
    assert (found["optimizer"], found["hyperparameter"], found["batches"]) == ("SGD", "lr", 2)


def test_scales_that_differ_give_no_one_factor() -> None:
    (found,) = learning_rates([row(2.0), row(4.0)])
    assert (found["status"], found["factor"]) == ("varies", None)
    assert found["reason"] == "1/scale runs from 0.25 to 0.5 over 2 batches"


def test_one_batch_tells_nothing_of_a_scale_that_comes_of_its_data() -> None:
    (found,) = learning_rates([row(0.32)])  # n / V
    assert found["status"] == "varies"
    assert "only batch" in found["reason"]
    (found,) = learning_rates([row(32.0)])  # n
    assert found["status"] == "exact"


def test_direction_on_any_batch_has_no_learning_rate() -> None:
    (found,) = learning_rates([row(32.0), row(31.0, Verdict.DIRECTION)])
    assert (found["status"], found["factor"], found["reason"]) == ("impossible", None, "why")


def test_a_scale_that_is_not_positive_has_no_learning_rate() -> None:
    (found,) = learning_rates([row(-1.0)])
    assert found["status"] == "impossible"
    assert "not positive" in found["reason"]


def test_batches_without_gradient_are_counted_but_decide_nothing() -> None:
    (found,) = learning_rates([row(32.0), row(None, Verdict.IDENTICAL)])
    assert (found["status"], found["reason"]) == ("exact", "1 batches have a zero gradient")
    (found,) = learning_rates([row(None, Verdict.IDENTICAL)])
    assert found["status"] == "impossible"


def test_the_ragged_batch_has_a_row_of_its_own() -> None:
    ragged = row(5.0, samples=5, quantities={"n": 5})
    found = learning_rates([row(32.0), ragged])
    assert [(f["samples"], f["factor"], f["scale_is"]) for f in found] == [(32, 1 / 32, "n"), (5, 0.2, "n")]


def test_other_hyperparameters_follow_where_one_factor_fits() -> None:
    found = learning_rates([row(32.0), row(32.0)], ("SGD", "Adam"))
    factors = {(f["optimizer"], f["hyperparameter"]): f["factor"] for f in found}
    assert factors["SGD", "lr"] == 1 / 32
    assert factors["SGD", "weight_decay"] == factors["Adam", "eps"] == factors["Adam", "weight_decay"] == 32
    assert ("Adam", "lr") not in factors
    (found,) = learning_rates([row(1.0)], ("SGD", "Adam"))
    assert found["factor"] == 1


def test_a_training_check_is_joined_with_the_pair_that_was_trained() -> None:
    key = {"case": "c", "batch_size": 32, "samples": 32, "convention": "a", "reference": "b"}
    check = {**key, "optimizer": "SGD", "steps": 10, "distance": 0.0, "distance_unchanged": 0.2}
    (found,) = learning_rates([row(32.0)], checks=[check])
    assert (found["steps"], found["distance"], found["distance_unchanged"]) == (10, 0.0, 0.2)
    (found,) = learning_rates([row(32.0)], checks=[{**check, "optimizer": "Adam"}])
    assert found["distance"] is None


def test_a_hyperparameter_without_a_constant_law_is_impossible_and_says_why() -> None:
    rows = learning_rates([row(32.0), row(32.0)], optimizers=["RAdam"])
    others = [r for r in rows if r["optimizer"] == "RAdam"]
    assert others
    assert {(r["status"], r["factor"]) for r in others} == {("impossible", None)}
    assert all("no constant law" in r["reason"] for r in others)


def test_a_scale_is_said_in_the_quantities_of_the_conventions() -> None:
    """R/2, 1 and ½ here as n/L is, is a quantity of neither."""
    full = {"n": 16, "K": 4, "W": 4, "R": 2, "S": 2, "L": 16.0}
    last = full | {"n": 8, "K": 2, "R": 1}
    pair = {"convention": "expected-batch-size", "reference": "mean"}
    found = learning_rates([row(1.0, quantities=full, **pair), row(0.5, quantities=last, samples=8, **pair)])
    assert [f["scale_is"] for f in found] == ["n/L", "n/L"]


def test_a_convention_without_a_formula_is_searched_among_what_it_needs() -> None:
    pair = {"convention": "clip-each-microbatch", "reference": "mean"}
    (found,) = learning_rates([row(4.0, quantities={"n": 8, "R": 4, "W": 4}, **pair)])
    assert found["scale_is"] == "W"
