"""Formulas that give the same numbers on a batch are told, with the batch that would tell them apart."""

from __future__ import annotations

import pytest

from suite.algebra.formula import Formula
from suite.algebra.units import Units
from suite.recovery import recover
from suite.recovery.alternatives import _differ, listed
from tests.recovery.steps import losses, setting, weighted


@pytest.mark.parametrize(
    ("first", "second", "differ"),
    [
        ("1/n", "1/(K·W)", "n is not K·W"),
        ("1/n_k", "1/K", "n_k is not K"),
        ("1/n_k", "K/n", "n is not K·n_k"),
        ("w_u/(R·Σw_r)", "w_u/(2·Σw_r)", "R is not 2"),
        ("2/n", "1/4", "n is not 8"),
        ("1/n²", "1/(2·K)", "n² is not 2·K"),
        ("1/n", "1/(n·K)", "K is not 1"),
    ],
)
def test_what_a_batch_must_be_like_is_an_equation_that_does_not_hold_there(first, second, differ) -> None:
    assert _differ(Formula.parse(first), Formula.parse(second)) == differ


def test_numbers_of_the_batch_and_weights_stand_in_it_as_they_are_called() -> None:
    entries = Formula((("entries of batch[2]", -1),))
    assert (
        _differ(Formula((("0.1", 1), ("n", -1))), entries) == "the number of entries of batch[2] is not 10·n"
    )


def test_words_are_listed_as_in_a_sentence() -> None:
    assert [listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"], "or")] == ["a", "a and b", "a, b or c"]


def test_what_two_micro_batches_of_two_cannot_tell_is_told_with_the_sizes() -> None:
    given = setting(4)
    units = Units.of(4, {"microbatch": [0, 0, 1, 1]}, window=2)
    text = str(recover(weighted([0.5] * 4), given.model, given.batch, losses, units=units))
    assert (
        "This batch cannot tell it from 1/K, K/n; a batch in which n_k is not K and n is not K·n_k would."
    ) in text


def test_many_that_agree_are_counted_with_the_sizes_that_agree() -> None:
    given = setting(4)
    columns = {"microbatch": [0, 0, 1, 1], "elements": [4, 4, 4, 4], "rank": [0, 1, 0, 1]}
    units = Units.of(4, columns, window=2, world_size=2)
    text = str(recover(weighted([0.25] * 4), given.model, given.batch, losses, units=units))
    assert "cannot tell it from 1/d, 1/V_kr, 1/(K·R) and " in text
    assert (
        "here n, d and V_kr are 4; K, R, n_k, n_r and K_r are 2; V_k and V_r are 8: a batch in which none of "
        "these is a product of others would."
    ) in text
