"""Weights as formulas."""

from __future__ import annotations

import numpy as np
import pytest

from suite.algebra.formula import Formula, simplest
from suite.algebra.quantities import Quantities
from suite.algebra.search import explain, explain_number, literal, with_constant
from suite.algebra.units import Units

TINY = 1e-9


def said(quantities: Quantities, weights: object, error: object = TINY) -> list[str]:
    weights = np.broadcast_to(np.asarray(weights, dtype=float), len(quantities.units))
    return list(map(str, explain(weights, np.broadcast_to(error, weights.shape), quantities)))


def of(quantities: Quantities, text: str) -> np.ndarray:
    return quantities.column(Formula.parse(text))


UNEVEN = Quantities.of(
    Units.of(
        11,
        {
            "elements": [1, 2, 3, 4, 5, 6, 7, 1, 1, 8, 9],
            "weight": [1, 3, 0.5, 0, 2, 2, 1, 7, 0.3, 4, 0],
            "microbatch": [0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 4],
            "rank": [0, 0, 1, 0, 1, 0, 1, 2, 1, 2, 0],
        },
        window=7,
        world_size=13,
        expected_batch_size=17.0,
    )
)


@pytest.mark.parametrize(
    "text",
    ["1", "1/n", "1/(K·V_k)", "w_u/Σw", "w_u/Σwm", "1/(R·V_r)", "1/L", "n_k/(n·V_k)", "w_u/(K·R·V_kr)",
     "1/m_i", "1/(W·V_k)", "1/(S·n_r)", "w_u/(K·Σw_k)", "n/Σm", "1/(2·n)", "w_u/#(w≠0)", "1/K²"],
)  # fmt: skip
def test_the_formula_of_a_product_comes_first(text: str) -> None:
    assert said(UNEVEN, of(UNEVEN, text))[0] == text


def test_several_formulas_that_give_the_same_numbers_are_all_told_simplest_first() -> None:
    even = Quantities.of(Units.of(4, {"microbatch": [0, 0, 1, 1]}, window=2))
    found = said(even, 1 / 4)
    assert found[0] == "1/n"
    assert {"1/(K·n_k)", "1/(W·n_k)"} <= set(found)
    assert list(map(str, simplest(explain(np.full(4, 0.25), np.zeros(4), even)))) == ["1/n"]


def test_no_formula_holds_a_quotient_that_is_worth_one() -> None:
    even = Quantities.of(Units.of(6, {"microbatch": [0, 0, 0, 0, 1, 1]}, window=2))
    assert said(even, of(even, "1/(K·n_k)")) == ["1/(K·n_k)", "1/(W·n_k)", "1/(2·n_k)"]


def test_weights_of_nothing_known_have_no_formula() -> None:
    assert said(UNEVEN, 0.123456) == []
    assert said(UNEVEN, np.arange(1.0, 12.0) ** 1.5) == []
    assert said(UNEVEN, 0.0) == []


def test_a_ninth_is_no_fraction_of_other_quantities() -> None:
    six = Quantities.of(Units.of(6))
    assert said(six, 1 / 9) == []
    assert str(with_constant(np.full(6, 1 / 9), np.full(6, TINY), six)) == "1/9"
    named = Quantities.of(Units.of(6), numbers={"non-zero entries of batch[1]": 9})
    assert said(named, 1 / 9) == ["1/(non-zero entries of batch[1])"]


def test_a_constant_is_told_beside_what_varies() -> None:
    found = with_constant(of(UNEVEN, "w_u/V_k") / 1024, np.full(11, 1e-12), UNEVEN)
    assert str(found) == "w_u/(1024·V_k)"


def test_a_unit_of_zero_weight_needs_a_factor_that_is_zero_there() -> None:
    units = Units.of(4, {"elements": [1, 0, 1, 1], "positions": 1})
    known = Quantities.of(units)
    assert said(known, [1 / 3, 0, 1 / 3, 1 / 3])[0] == "[m_u>0]/V"
    assert said(known, [1 / 3, np.nan, 1 / 3, 1 / 3], [TINY, np.nan, TINY, TINY])[0] == "1/V"
    assert said(known, [1 / 3, 1 / 3, 0, 1 / 3]) == []


def test_weights_may_be_negative_all_together_or_with_their_factor() -> None:
    advantages = Quantities.of(Units.of(4, {"weight": [1.5, -2, 0.25, -1]}))
    assert said(advantages, of(advantages, "w_u/n"))[0] == "w_u/n"
    assert said(advantages, -of(advantages, "w_u/n"))[0] == "−w_u/n"
    assert said(advantages, -1 / 4)[0] == "−1/n"


def test_what_cannot_be_told_decides_nothing() -> None:
    weights, error = of(UNEVEN, "1/(K·V_k)"), np.full(11, TINY)
    weights[2], error[2] = 99.0, np.inf
    assert said(UNEVEN, weights, error)[0] == "1/(K·V_k)"
    assert said(UNEVEN, weights, np.inf) == []


def test_a_coarse_error_leaves_more_formulas_and_the_true_one_among_them() -> None:
    weights = of(UNEVEN, "n_k/(n·V_k)")
    fine, coarse = said(UNEVEN, weights), said(UNEVEN, weights, 0.05 * weights)
    assert "n_k/(n·V_k)" in set(fine) & set(coarse)
    assert len(coarse) > len(fine)


def test_the_clip_factor_of_the_whole_gradient_follows_from_its_norm() -> None:
    units = Units.of(3, {"microbatch": [0, 0, 1]}, window=2, max_norm=0.1)
    known = Quantities.of(units, gram=np.diag([1.0, 4.0, 9.0]))
    assert "min(1, C/‖g‖)/(K·n_k)" in said(known, of(known, "min(1, C/‖g‖)/(K·n_k)"))
    assert "min(1, C/‖n·g‖)/n" in said(known, of(known, "min(1, C/‖n·g‖)/n"))
    assert said(known, of(known, "min(1, C/‖g_u‖)/n"))[0] == "min(1, C/‖g_u‖)/n"


def test_a_regulariser_is_not_asked() -> None:
    known = Quantities.of(Units.of(2, regulariser=True))
    assert said(known, [0.5, 0.5, 77.0])[0] == "1/n"


def test_numbers_have_formulas_and_literals_too() -> None:
    assert next(map(str, explain_number(11 / 17, TINY, UNEVEN))) == "n/L"
    assert explain_number(0.0, TINY, UNEVEN) == []


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(0.00166666, 0.00166667, "1/600"), (1023.9, 1024.1, "1024"), (1, 1, "1"), (-0.5, -0.5, "−1/2"),
     (0.0016, 0.0017, "None"), (0.3, 0.31, "None"), (0, 1, "None"), (-1, 1, "None"), (2.0, 3.0, "None")],
)  # fmt: skip
def test_a_literal_is_the_only_whole_number_within_the_error(low: float, high: float, said: str) -> None:
    assert str(literal(low, high)) == said
