"""Random products of levels, on random tables, give back their formula."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from suite.algebra.formula import Formula
from suite.algebra.products import MOST_FACTORS
from suite.algebra.quantities import Quantities
from suite.algebra.search import CONSTANT_COMPLEXITY, explain
from suite.algebra.shapes import SHAPE_COMPLEXITY
from suite.algebra.symbols import CLIP, CLIP_TIMES_N, CLIP_UNIT
from suite.algebra.units import Units

# What happens to a loss on its way into the step, level by level; each is left out at times.
SAMPLES = ("V_i", "T_i", "V_u")
GROUPS = ("V_k", "n_k", "V_r", "n_r", "V_kr", "n_kr", "V_t", "V_kt", "V_rt", "Σw_k", "Σw_r", "Σw_kr")
BATCH = ("n", "V", "K", "W", "R", "S", "L", "P", "Lmax", "Σw", "Σwm", "#(w≠0)", "2")
WEIGHTS = ("w_u", "λ_t")
REGROUPED = ("n_k", "n_r", "n_kr")  # a micro-batch's share of the samples, as in n_k/n

COLUMNS = ("microbatch", "rank", "weight", "elements", "tokens", "terms")
COUNTS = 7 * settings.default.max_examples
"""350 examples for every change, and over 10,000 in the night."""


@st.composite
def batches(draw: st.DrawFn) -> Quantities:
    """A batch of up to 40 samples, with micro-batches, ranks, weights and terms at times."""
    has = draw(st.fixed_dictionaries(dict.fromkeys(COLUMNS, st.booleans())))
    samples, many = draw(st.integers(2, 40)), draw(st.integers(2, 6))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    parts = 2 + int(random.integers(2)) if has["terms"] and not has["tokens"] else 1
    shape = (samples, parts)
    columns = {
        "microbatch": np.sort(random.integers(0, many, samples)),
        "rank": random.integers(0, many, samples),
        "weight": random.choice([0.0, 0.5, 1.0, 2.0, 3.7], shape),
        "elements": random.integers(1, 10, shape),
    }
    known = {name: column for name, column in columns.items() if has[name]}
    if has["tokens"]:
        known |= {"elements": columns["elements"], "positions": columns["elements"].max() + 1}
    if parts > 1:
        known["term_weight"] = random.choice([0.1, 0.5, 1.0, 10.0, 0.3], parts)
    units = Units.of(
        samples,
        known,
        parts=tuple("abc"[:parts]) if parts > 1 else (),
        window=many + int(random.integers(3)) if has["microbatch"] else 1,
        world_size=many + int(random.integers(3)) if has["rank"] else 1,
        expected_batch_size=float(samples + random.integers(3)),
        max_elements=17,
    )
    if not draw(st.booleans()):
        return Quantities.of(units)
    rows = random.normal(size=(len(units), 3))
    return Quantities.of(replace(units, max_norm=0.01), gram=rows @ rows.T)


@st.composite
def products(draw: st.DrawFn) -> tuple[Quantities, Formula]:
    """A batch, and a product of levels that it knows all quantities of."""
    known = draw(batches())

    def some(names: tuple[str, ...], most: int) -> list[str]:
        there = [n for n in names if n == "2" or n in known.numbers or n in known.columns]
        return draw(st.lists(st.sampled_from(there), max_size=most, unique=True)) if there else []

    over = [*some(WEIGHTS, 2), *some(REGROUPED, 1)]
    under = [*some(SAMPLES, 1), *some(GROUPS, 1), *some(BATCH, 2)]
    if known.gram is not None:
        over += draw(st.sampled_from([[], [CLIP], [CLIP_UNIT], [CLIP_TIMES_N]]))
    formula = Formula(tuple((name, 1) for name in over)) / Formula(tuple((name, 1) for name in under))
    return known, known.said(formula)


def parts_of(known: Quantities, formula: Formula, told: np.ndarray) -> tuple[Formula, Formula]:
    """What varies between the units of the formula, and its constant."""
    varies = {name for name, column in known.columns.items() if np.ptp(column[told]) > 0}
    inside = [(name, power) for name, power in formula.powers if name in varies]
    return Formula(tuple(inside)), formula / Formula(tuple(inside))


def factors(formula: Formula) -> int:
    return sum(abs(power) for _, power in formula.powers)


def holds(formula: Formula, other: Formula) -> bool:
    """Whether `other` is `formula`, without some of its factors at most."""
    powers = dict(formula.powers)
    return all(powers.get(name, 0) / power >= 1 for name, power in other.powers)


@settings(max_examples=COUNTS)
@given(product=products(), noise=st.sampled_from([0.0, 1e-9, 1e-6]), negative=st.booleans())
def test_a_product_of_levels_gives_back_its_formula(
    product: tuple[Quantities, Formula], noise: float, negative: bool
) -> None:
    """Or a list that holds it; factors that are worth one together on this batch are left out."""
    known, formula = product
    formula = Formula(formula.powers, negative)
    exact = known.column(formula)
    told = np.ones(len(exact), dtype=bool)
    assume((exact != 0).any())
    shape, constant = parts_of(known, formula, told)
    clipped = {CLIP, CLIP_TIMES_N} & set(constant.symbols)
    constant = Formula(tuple(pair for pair in constant.powers if pair[0] not in clipped))
    most = 2 if clipped else MOST_FACTORS  # what was multiplied with before clipping, of that the plainest
    assume(factors(shape) <= MOST_FACTORS and shape.complexity <= SHAPE_COMPLEXITY)
    assume(factors(constant) <= most and constant.complexity <= CONSTANT_COMPLEXITY)
    weights = exact * (1 + noise * np.random.default_rng(0).uniform(-1, 1, len(exact)))
    error = np.maximum(2 * noise * np.abs(exact), 1e-13)

    found = explain(weights, error, known)
    assert any(holds(formula, other) and np.allclose(known.column(other), exact, rtol=1e-11, atol=0)
               for other in found), list(map(str, found[:5]))  # fmt: skip
    for other in found:
        assert (np.abs(known.column(other) - weights) <= error + 1e-10 * np.abs(exact)).all(), str(other)
    assert found[0].complexity <= formula.complexity + 1e-9
