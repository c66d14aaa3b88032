"""What symbols are worth on a batch."""

from __future__ import annotations

import numpy as np
from hypothesis import given

from suite import strategies
from suite.algebra.formula import Formula
from suite.algebra.quantities import Quantities, quantities
from suite.algebra.units import Units

parse = Formula.parse


def test_a_record_keeps_the_numbers_of_the_table() -> None:
    units = Units.of(
        4,
        {"elements": [1, 2, 3, 4], "positions": 6, "microbatch": [0, 0, 0, 1]},
        window=4,
        max_elements=9,
        expected_batch_size=8.0,
    )
    assert quantities(units) == {"n": 4, "V": 10, "T": 6, "Lmax": 9, "K": 2, "W": 4, "L": 8}
    assert quantities(Units.of(2, {"elements": 7})) == {"n": 2, "d": 7}


def test_parts_are_a_quantity() -> None:
    assert quantities(Units.of(2, {"elements": [[1, 2]]}, parts=("a", "b")))["P"] == 2


def test_uneven_samples_have_a_total_of_elements_and_no_number_in_common() -> None:
    assert quantities(Units.of(2, {"elements": [1, 2]})) == {"n": 2, "Σm": 3}


def test_an_empty_batch_counts_nothing() -> None:
    assert quantities(Units.of(2, {"elements": 0})) == {"n": 2}


def test_groups_are_counted_by_samples_elements_and_weights() -> None:
    units = Units.of(
        4,
        {"elements": [1, 2, 3, 4], "weight": [1, 0, 2, 5], "microbatch": [0, 0, 1, 1], "rank": [0, 1, 1, 1]},
        window=2,
        world_size=2,
    )
    known = Quantities.of(units)

    def column(text: str) -> list[float]:
        return known.column(parse(text)).tolist()

    assert column("n_k") == [2, 2, 2, 2]
    assert column("V_k") == [3, 3, 7, 7]
    assert column("V_r") == [1, 9, 9, 9]
    assert column("V_kr") == [1, 2, 7, 7]
    assert column("n_kr") == [1, 1, 2, 2]
    assert column("K_r") == [1, 2, 2, 2]
    assert column("Σw_k") == [1, 1, 7, 7]
    assert known.value(parse("Σw/#(w≠0)")) == 8 / 3
    assert known.value(parse("1/Σwm")) == 1 / 27


def test_where_every_sample_has_one_element_only_samples_are_counted() -> None:
    known = Quantities.of(Units.of(4, {"microbatch": [0, 0, 0, 1]}, window=2))
    assert "V_k" not in known.searched
    assert str(known.said(parse("1/(K·V_k)"))) == "1/(K·n_k)"
    assert str(known.said(parse("1/V"))) == "1/(n·d)"


def test_a_micro_batch_on_one_rank_is_the_micro_batch() -> None:
    units = Units.of(4, {"microbatch": [0, 1, 2, 3], "rank": [0, 0, 1, 1]}, window=4, world_size=2)
    assert str(Quantities.of(units).said(parse("1/n_kr"))) == "1/n_k"


def test_a_formula_says_nothing_of_the_regulariser() -> None:
    known = Quantities.of(Units.of(2, regulariser=True))
    np.testing.assert_equal(known.column(parse("1/n")), [0.5, 0.5, np.nan])


def test_numbers_and_columns_of_the_caller_are_quantities() -> None:
    units = Units.of(2)
    known = Quantities.of(units, numbers={"non-zero entries": 9}, columns={"my weights": [1.0, 3.0]})
    formula = Formula((("my weights", 1), ("non-zero entries", -1)))
    np.testing.assert_allclose(known.column(formula), [1 / 9, 3 / 9])
    assert np.isnan(known.column(Formula((("unknown", 1),)))).all()


def test_a_clip_factor_is_that_of_what_the_rest_gives() -> None:
    units = Units.of(2, max_norm=1.0)
    known = Quantities.of(units, gram=np.diag([16.0, 0.0]))
    np.testing.assert_allclose(known.column(parse("min(1, C/‖g‖)/n")), 1 / 4)
    np.testing.assert_allclose(known.column(parse("min(1, C/‖n·g‖)/n")), 1 / 8)
    np.testing.assert_allclose(known.column(parse("min(1, C/‖g_u‖)/n")), [1 / 8, 1 / 2])
    assert np.isnan(Quantities.of(units).column(parse("min(1, C/‖g‖)"))).all()


def test_a_batch_without_elements_divides_by_one_however_it_is_said() -> None:
    known = Quantities.of(Units.of(2, {"elements": 0}))
    assert known.column(known.said(parse("1/V"))).tolist() == [1, 1]


@given(strategies.units())
def test_a_symbol_is_replaced_by_symbols_that_are_searched(units: Units) -> None:
    known = Quantities.of(units)
    for name, formula in known.same_as.items():
        assert not set(formula.symbols) & set(known.same_as), name


def test_nested_groups_of_single_elements_are_counted_by_samples() -> None:
    units = Units.of(4, {"elements": 1, "microbatch": [0, 0, 0, 1], "rank": [0, 0, 0, 1]})
    assert Quantities.of(units).said(parse("1/V_kr")) == parse("1/n_k")
