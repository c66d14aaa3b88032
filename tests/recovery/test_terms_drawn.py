"""Random weights of random terms give back their formulas, or a list that holds them."""

from __future__ import annotations

import os

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from suite.algebra.formula import Formula
from suite.algebra.symbols import numeral
from suite.algebra.units import Units
from suite.recovery.batch_quantities import known
from suite.recovery.explanation import explained
from suite.recovery.plainness import counts_entries
from suite.recovery.terms import written_digits
from suite.strategies.profiles import PROFILE_VARIABLE
from tests.recovery.made import root, rows

DRAWS = 10_000 if os.environ.get(PROFILE_VARIABLE) == "nightly" else 100
FACTORS = ("0.1", "0.3", "0.5", "0.9", "0.01", "0.0002", "0.25", "1", "2", "5", "10")
ENTRIES = "entries of batch[1]"


@st.composite
def loops(draw: st.DrawFn):
    """A batch with targets of some width, and for each of its terms a factor over nothing, n or entries."""
    n, wide = draw(st.integers(2, 40)), draw(st.sampled_from([4, 5, 7, 10, 20, 64, 768]))
    torch.manual_seed(draw(st.integers(0, 99)))
    batch = (torch.randn(n, 3), torch.randn(n, wide), torch.randint(10, (n,)))
    terms = [
        (draw(st.sampled_from(FACTORS)), draw(st.sampled_from(["", "n", "n", ENTRIES])))
        for _ in range(draw(st.integers(2, 3)))
    ]
    return batch, terms


def formula(factor: str, under: str) -> Formula:
    over = Formula() if factor == "1" else Formula(((factor, 1),))
    return over / Formula(((under, 1),)) if under else over


def same(one: Formula, other: Formula) -> bool:
    """Whether two formulas differ in how their numbers are written at most."""
    one, other = (
        Formula(tuple((ENTRIES if counts_entries(name) else name, power) for name, power in each.powers))
        for each in (one, other)
    )
    return all(numeral(name) is not None for name in (one / other).symbols)


@settings(max_examples=DRAWS)
@given(loops())
def test_a_factor_over_a_count_is_given_back_for_each_term(loop) -> None:
    batch, terms = loop
    n = len(batch[0])
    units = Units.of(n, parts=tuple("abc"[: len(terms)]))
    worth = {"": 1.0, "n": n, ENTRIES: batch[1].numel()}
    weights = np.array([float(factor) / worth[under] for factor, under in terms])[units.part]
    error, heard = 1e-13 * np.abs(weights), np.ones(len(units), dtype=bool)
    given_root = root(units, weights, rows(units))
    quantities = list(known(units, batch, heard, given_root, np.ones(len(units)), weights))
    found = explained(weights, error, quantities, [], lambda _: True, (weights, error))
    if found.formulas:  # one for all terms, which is plainer than one for each
        np.testing.assert_allclose(found.values, weights, rtol=1e-12)
        return
    for index, (factor, under) in enumerate(terms):
        wanted = formula(factor, under)
        told = (found.by_part[index][1], *found.by_part_also[index])
        listed = any(same(each, wanted) for each in told)
        # Fewer digits explain as well: 1/n where 5 over the entries was meant, of five a row.
        more = written_digits(wanted) - written_digits(told[0])
        fewer = more > 0 or (more == 0 and under == ENTRIES)
        assert listed or fewer, (n, terms, index, list(map(str, told)))
