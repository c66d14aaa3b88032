"""Products of powers: how they are written, multiplied, ordered and evaluated."""

from __future__ import annotations

import math

import pytest

from suite.algebra.formula import Formula, simplest

parse = Formula.parse
TEXTS = (
    "1",
    "n",
    "1/(K·V_k)",
    "w_u/Σw",
    "n/L",
    "min(1, C/‖g‖)/n",
    "λ_t·w_u/(K²·V_kt)",
    "w_u/#(w≠0)",
    "1/(2·n)",
)


@pytest.mark.parametrize("text", TEXTS)
def test_what_is_written_can_be_read(text: str) -> None:
    assert parse(str(parse(text))) == parse(text)


@pytest.mark.parametrize("text", [t for t in TEXTS if "λ" not in t])
def test_products_are_written_in_one_order(text: str) -> None:
    assert str(parse(text)) == text


def test_an_unknown_symbol_is_refused() -> None:
    with pytest.raises(ValueError, match="'q' is no symbol"):
        parse("n/q")


def test_products_and_quotients_cancel() -> None:
    assert parse("1/n") / parse("1/(K·V_k)") * parse("1/K") == parse("V_k/n")
    assert (parse("n/L") * parse("n/L").inverse) == Formula()
    assert str(Formula((("n", -1),), negative=True) * Formula((), negative=True)) == "1/n"


def test_values_are_those_of_the_quantities_and_nan_where_one_is_missing() -> None:
    assert parse("n/(2·L)").value({"n": 3.0, "L": 6.0}) == 0.25
    assert Formula((("7", -1),), negative=True).value({}) == -1 / 7
    assert math.isnan(parse("n/L").value({"n": 3.0}))


def test_a_formula_is_fixed_unless_it_counts_tokens_and_varies_by_an_index() -> None:
    assert parse("n/L").fixed
    assert not parse("n/L").varies
    assert not parse("n/V").fixed
    assert parse("1/(K·V_k)").varies


def test_people_divide_by_counts_and_multiply_with_weights() -> None:
    order = ["1", "1/n", "1/(K·V_k)", "1/K²", "n/L", "2/(n·K)"]
    assert order == [str(f) for f in sorted(map(parse, order), key=lambda f: f.complexity)]
    assert parse("w_u/n").complexity < parse("n/w_u").complexity
    assert list(map(str, simplest([parse("1/(2·n)"), parse("1/n"), parse("1/K")]))) == ["1/n", "1/K"]


def test_a_number_that_the_caller_named_stands_in_brackets() -> None:
    assert str(Formula((("losses that are not zero", -1),))) == "1/(losses that are not zero)"


def test_symbols_can_be_replaced_by_formulas() -> None:
    assert parse("n²/V").replaced({"V": parse("n·d")}) == parse("n/d")
