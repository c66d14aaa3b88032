"""Laws between the parts: splitting and combining, engines and verdicts, formats, what tables show."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

import suite
from suite.algebra.columns import UNIT_COLUMNS
from suite.algebra.discrepancy import Verdict, compare
from suite.algebra.formula import Formula
from suite.algebra.gram import norm, unit_norms
from suite.algebra.quantities import Quantities
from suite.algebra.symbols import CLIP_MICROBATCH, CLIP_RANK, SYMBOLS, WHOLE_CLIPS, is_column
from suite.algebra.units import Units
from suite.conventions import Convention, conventions
from suite.engines import engines
from suite.engines.unit_gradients import Materialised
from suite.loops.autograd import grad
from suite.loops.loop import run_reference_loop
from suite.strategies import Example, Problem, examples, problems
from suite.strategies.tables import ARGUMENTS

# Splitting a batch: by which counts the parts' gradients are combined follows from a convention's product.


def of_other_samples(name: str) -> bool:
    """Whether a quantity of the unit belongs to the others in its micro-batch, its rank or its term too."""
    if name in (CLIP_MICROBATCH, CLIP_RANK):
        return True
    return name in SYMBOLS and SYMBOLS[name].kind == "column" and not name.endswith(("_u", "_i"))


PRODUCTS = {c.name: c.product.symbols for c in conventions if c.product is not None}
NO_COUNT = [name for name, symbols in PRODUCTS.items() if any(map(of_other_samples, symbols))]
ONE_COUNT = [name for name, s in PRODUCTS.items() if name not in NO_COUNT and set(s) & set(WHOLE_CLIPS)]
"""The whole's coefficients are multiples of the halves', by counts that no half knows alone."""
COUNTED = [name for name in PRODUCTS if name not in NO_COUNT and name not in ONE_COUNT]


def count_of(convention: Convention, units: Units) -> float:
    """The exact count: one over the numbers of the whole batch in the convention's product."""
    numbers = [pair for pair in convention.product.powers if not is_column(pair[0])]
    return 1 / Quantities.of(units).value(Formula(tuple(numbers)))


def rows_of(units: Units, chosen: np.ndarray) -> Units:
    """The table of the samples `chosen`, as a batch of their own without the regulariser."""
    columns = {name: getattr(units, name) for name in UNIT_COLUMNS}
    cut = {name: None if value is None else value[chosen] for name, value in columns.items()}
    cut["sample"] = np.unique(cut["sample"], return_inverse=True)[1]
    kept = {name: getattr(units, name) for name in ARGUMENTS if name != "regulariser"}
    return Units(**cut, **kept)


def combined(convention: Convention, example: Example, count) -> tuple[np.ndarray, np.ndarray]:
    """The coefficients of the data in the whole batch, and from two halves by their counts."""
    units, gram = example.units, example.gram
    whole_table = rows_of(units, units.data)
    data = gram[np.ix_(units.data, units.data)]
    whole = convention.coefficients(whole_table, data)
    halves = np.zeros(len(whole))
    for inside in (whole_table.sample < units.n // 2, whole_table.sample >= units.n // 2):
        part = rows_of(whole_table, inside)
        share = count(part) / count(whole_table)
        halves[inside] = share * convention.coefficients(part, data[np.ix_(inside, inside)])
    return whole, halves


@pytest.mark.parametrize("name", COUNTED)
@given(data=st.data())
def test_a_batch_that_is_split_and_combined_by_the_exact_counts_is_the_batch(
    name: str, data: st.DataObject
) -> None:
    example = data.draw(examples(conventions[name].needs, min_samples=2))
    whole, halves = combined(conventions[name], example, lambda units: count_of(conventions[name], units))
    heard = unit_norms(example.gram)[example.units.data] > 0
    np.testing.assert_allclose(halves[heard], whole[heard], rtol=1e-12)


# A kept counter-example for each convention that has no such count: no counts of the two halves, whatever
# they are, give the whole batch back.
APART = Example.of(
    Units.of(
        4,
        {
            "elements": [[1, 2], [3, 1], [2, 3], [1, 4]],
            "positions": 4,
            "weight": [1.0, 3.0, 0.25, 1.0],
            "microbatch": [0, 1, 1, 2],
            "rank": [0, 1, 1, 2],
            "term_weight": [1.0, 0.5],
        },
        parts=("a", "b"),
        window=4,
        world_size=4,
        expected_batch_size=5.0,
        max_elements=4,
        max_norm=0.5,
    ),
    [[1, 0, 1], [2, 1, 0], [0, 3, 1], [1, 1, 1], [-1, 2, 0], [0, 1, -2], [3, 0, 1], [1, -1, 2]],
)


def test_each_kind_of_convention_is_among_those_that_are_split() -> None:
    assert {"sum", "weighted-mean", "token-mean", "expected-batch-size"} <= set(COUNTED)
    assert {"mean-of-microbatch-means", "sum-of-term-means", "clip-each-rank-then-sum"} <= set(NO_COUNT)
    assert {"clip-mean", "clip-sum-then-divide"} <= set(ONE_COUNT)


@pytest.mark.parametrize("name", NO_COUNT)
def test_no_counts_put_the_other_conventions_together_again(name: str) -> None:
    convention = conventions[name]
    table = replace(APART.units, part_kind="copies") if "copies" in convention.needs else APART.units
    example = replace(APART, units=table)
    assert convention.missing(table) is None
    whole, halves = combined(convention, example, lambda _: 1.0)
    first = table.sample < 2
    # One count a half would multiply all its coefficients alike.
    assert any(angle(whole[side], halves[side]) > 1e-3 for side in (first, ~first))


def angle(a: np.ndarray, b: np.ndarray) -> float:
    """The sine of the angle between two vectors."""
    return float(np.sqrt(max(0.0, 1 - (a @ b) ** 2 / (a @ a) / (b @ b))))


@pytest.mark.parametrize("name", ONE_COUNT)
def test_the_count_that_would_combine_clipped_halves_is_not_theirs_to_know(name: str) -> None:
    convention = conventions[name]
    whole, halves = combined(convention, APART, lambda _: 1.0)
    longer = Example.of(APART.units, np.vstack([APART.rows[:4], 3 * APART.rows[4:]]))
    other, again = combined(convention, longer, lambda _: 1.0)
    # The first half is the same batch both times, and would need another count.
    assert halves[0] == again[0]
    assert whole[0] / halves[0] != pytest.approx(other[0] / again[0], rel=1e-3)


# Engines.


@pytest.mark.parametrize("name", engines.names)
@given(problem=problems())
def test_engines_agree_with_autograd_and_with_their_own_gram_matrix_or_refuse(
    name: str, problem: Problem
) -> None:
    model, batch, losses = problem.build()
    trained = [p for p in model.parameters() if p.requires_grad]
    expected = torch.stack([
        torch.cat([g.flatten() for g in grad(loss, trained, keep_graph=True)])
        for loss in losses(model, batch).flatten()
    ])  # fmt: skip
    found = suite.per_sample_gradients(model, batch, losses, engine=name)
    assert found.engine == name or found.refused[name]
    tolerance = 1e-11 * float(expected.abs().max())
    got = found.reduce(np.eye(len(expected)))
    torch.testing.assert_close(got, expected, rtol=1e-11, atol=tolerance)
    np.testing.assert_allclose(
        found.gram(), (expected @ expected.T).numpy(), atol=1e-11 * float(expected.square().sum()), rtol=0
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@given(example=examples())
def test_a_gram_matrix_of_gradients_in_any_format_is_that_of_their_float64_values(
    dtype: torch.dtype, example: Example
) -> None:
    rows = torch.from_numpy(example.rows).to(dtype)
    gram = Materialised({"a": rows[:, :1], "b": rows[:, 1:]}).gram()
    exact = rows.double().numpy() @ rows.double().numpy().T
    np.testing.assert_allclose(gram, exact, rtol=1e-14, atol=1e-14 * np.abs(exact).max(initial=0.0))


# Discrepancies and verdicts of conventions.

PAIRS = st.tuples(st.sampled_from(list(conventions)), st.sampled_from(list(conventions))).filter(
    lambda pair: not {"terms", "copies"} <= {*pair[0].needs, *pair[1].needs}
)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Example, Convention, Convention]:
    a, b = draw(PAIRS)
    return draw(examples((*a.needs, *b.needs))), a, b


@given(drawn=pairs())
def test_the_gram_discrepancy_is_that_of_subtracted_float64_gradients(drawn) -> None:
    example, a, b = drawn
    first, second = (c.coefficients(example.units, example.gram) for c in (a, b))
    found = norm(example.gram, first - second)
    norms = unit_norms(example.gram)
    size = float((np.abs(first) + np.abs(second)) @ norms)
    subtracted = float(np.linalg.norm(first @ example.rows - second @ example.rows))
    assert found == pytest.approx(subtracted, abs=1e-7 * size)  # √ε of what cancels in either


@given(drawn=pairs(), power=st.integers(-12, 12))
def test_rescaling_all_losses_by_a_power_of_two_changes_no_verdict_of_conventions(drawn, power: int) -> None:
    example, a, b = drawn
    factor = 2.0**power
    assume(example.units.added_to_norm == 0.0)  # that is not homogeneous
    threshold = example.units.max_norm
    table = replace(example.units, max_norm=None if threshold is None else threshold * factor)
    found = []
    for units, gram in ((example.units, example.gram), (table, example.gram * factor**2)):
        columns = [c.coefficients(units, gram) for c in (a, b)]
        found.append(compare(gram, *columns))
    assert found[0] == found[1]


@given(problem=problems(), power=st.integers(-30, 30), data=st.data())
def test_rescaling_the_losses_of_a_model_by_a_power_of_two_changes_no_verdict(
    problem: Problem, power: int, data: st.DataObject
) -> None:
    model, batch, losses = problem.build()
    found, scaled = (
        suite.per_sample_gradients(model, batch, lambda m, b, f=f: f * losses(m, b), engine="loop").gram()
        for f in (1.0, 2.0**power)
    )
    # Nothing was flushed: gradients are rounded alike, and so is what is computed of them.
    assume(not ((scaled != found * 4.0**power) & (np.abs(scaled) < 1e-290)).any())
    weights = st.lists(st.floats(-8, 8, width=16), min_size=len(found), max_size=len(found)).map(np.array)
    a, b = data.draw(weights), data.draw(weights)
    first, again = compare(found, a, b), compare(scaled, a, b)
    assert first == again


def test_sixteen_times_the_losses_change_no_digit_of_a_scale() -> None:
    """In one of a thousand `x**2` is not `x * x`, nor 16 times `x` the same one."""
    draw = np.random.default_rng(0)
    for gradients in draw.normal(size=(4000, 2, 2)):
        gram = gradients @ gradients.T
        a, b = draw.normal(size=(2, 2))
        assert compare(gram * 256, a, b) == compare(gram, a, b)


@given(drawn=pairs())
def test_a_verdict_that_is_exact_is_so_both_ways_and_scales_are_reciprocal(drawn) -> None:
    example, a, b = drawn
    columns = [c.coefficients(example.units, example.gram) for c in (a, b)]
    forth, back = compare(example.gram, *columns), compare(example.gram, *columns[::-1])
    exact = (Verdict.IDENTICAL, Verdict.SCALE)
    if forth.verdict is Verdict.IDENTICAL:
        assert back.verdict is Verdict.IDENTICAL
    if forth.verdict in exact and back.verdict in exact and forth.scale and back.scale:
        assert forth.scale * back.scale == pytest.approx(1.0, rel=1e-7)


@given(drawn=pairs())
def test_every_number_of_a_discrepancy_is_finite_or_explained(drawn) -> None:
    example, a, b = drawn
    columns = [c.coefficients(example.units, example.gram) for c in (a, b)]
    assert all(np.isfinite(column).all() for column in columns)
    found = compare(example.gram, *columns)
    assert np.isfinite(found.residual)
    for value in (found.scale, found.cosine, found.relative):
        assert np.isfinite(value) if value is not None else found.reason


@given(drawn=pairs())
def test_a_verdict_that_no_learning_rate_repairs_is_so_both_ways(drawn) -> None:
    example, a, b = drawn
    columns = [c.coefficients(example.units, example.gram) for c in (a, b)]
    sizes = [np.linalg.norm(c @ example.rows) for c in columns]
    whole = [np.abs(c) @ unit_norms(example.gram) for c in columns]
    assume(all(s > 1e-3 * w > 0 for s, w in zip(sizes, whole, strict=True)))
    forth, back = compare(example.gram, *columns), compare(example.gram, *columns[::-1])
    assert (forth.verdict is Verdict.DIRECTION) == (back.verdict is Verdict.DIRECTION)


# Formats.


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@given(data=st.data(), convention=st.sampled_from([c for c in conventions if not c.uses_gram]))
def test_in_any_format_the_literal_loop_is_off_by_that_formats_rounding(
    dtype: torch.dtype, data: st.DataObject, convention: Convention
) -> None:
    example = data.draw(examples(convention.needs, max_samples=4))
    loop, units = example.loop, example.units
    rounded = {"gradient": loop.batch["gradient"].to(dtype)}
    cast = replace(loop, model=loop.model.to(dtype), batch=rounded)
    left = run_reference_loop(convention.reference_loop, cast).double().numpy()
    rows = torch.from_numpy(example.rows).to(dtype).double().numpy()
    column = convention.coefficients(units, example.gram)
    whole = float(np.abs(column) @ unit_norms(rows @ rows.T))
    eps = float(torch.finfo(dtype).eps)
    # A sum over the units, and a dozen operations for each coefficient; what is smaller is flushed.
    tiny = len(units) * float(torch.finfo(dtype).smallest_normal)
    assert np.linalg.norm(left - column @ rows) <= (len(units) + 16) * eps * whole + tiny
