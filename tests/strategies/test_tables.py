"""Drawn tables hold what was asked for, all that a table may hold, and shrink to what is plain."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import find, given
from hypothesis import strategies as st

from suite.algebra.columns import NEEDS, UNIT_COLUMNS
from suite.algebra.units import Units
from suite.conventions import conventions
from suite.errors import UsageError
from suite.strategies import Example, examples, units
from suite.strategies.tables import ARGUMENTS, source


@pytest.mark.parametrize("name", conventions.names)
@given(data=st.data())
def test_a_convention_applies_to_the_tables_that_are_drawn_for_it(name: str, data: st.DataObject) -> None:
    convention = conventions[name]
    assert convention.missing(data.draw(units(convention.needs))) is None


@given(table=units())
def test_the_printed_python_makes_the_very_table(table: Units) -> None:
    again = eval(source(table), {"Units": Units})  # noqa: S307  it was put together by `source`
    for name in UNIT_COLUMNS:
        np.testing.assert_array_equal(getattr(table, name), getattr(again, name))
    assert all(getattr(table, name) == getattr(again, name) for name in ARGUMENTS)


@pytest.mark.parametrize(
    "met",
    [
        lambda t: len(t.parts) == 3,
        lambda t: t.part_kind == "copies",
        lambda t: t.regulariser,
        lambda t: bool((t.elements[t.data] == 0).all()),
        lambda t: len(set(t.elements[t.data])) > 1,
        lambda t: t.weight is not None and bool((t.weight[t.data] == 0).any()),
        lambda t: t.microbatch is not None and t.groups("microbatch") < t.microbatch.max() + 1,
        lambda t: t.microbatch is not None and t.groups("microbatch") < t.window,
        lambda t: t.rank is not None and t.groups("rank") > 2,
        lambda t: t.added_to_norm == 1e-6,
    ],
    ids=["parts", "copies", "regulariser", "all ignored", "uneven", "zero weights", "empty groups",
         "partial window", "ranks", "added to the norm"],
)  # fmt: skip
def test_whatever_a_table_may_hold_is_drawn(met) -> None:
    assert find(units(), met) is not None


def test_an_example_shrinks_to_two_samples_and_one_parameter() -> None:
    least = find(examples(), lambda e: e.units.n > 1 and bool(e.rows.any()))
    assert least.rows.shape == (2, 1)
    assert least.python == f"Example.of(Units.of(2), {least.rows.tolist()})"
    assert sorted(least.rows.flatten()) == [0, 1]


@given(table=units(empty=False, extras=False, min_samples=2, max_samples=3))
def test_the_arguments_are_heard(table: Units) -> None:
    assert 2 <= table.n <= 3
    assert not table.parts
    assert not table.regulariser
    assert table.weight is None
    assert (table.elements[table.data] > 0).all()


@given(example=examples())
def test_a_unit_has_the_gradient_that_was_chosen(example: Example) -> None:
    loop = example.loop
    for unit in range(loop.losses().numel()):
        loss = loop.losses().flatten()[unit]
        np.testing.assert_array_equal(loop.gradient(loss)[0].numpy(), example.rows[unit])
    if example.units.regulariser:
        np.testing.assert_array_equal(loop.gradient(loop.regulariser())[0].numpy(), example.rows[-1])


def test_needs_that_exclude_each_other_or_do_not_exist_are_refused() -> None:
    with pytest.raises(UsageError, match="no table has both"):
        units(("terms", "copies"))
    with pytest.raises(UsageError, match="did you mean 'weight'"):
        units(("wieght",))
    assert set(NEEDS) == {need for c in conventions for need in c.needs} | {"term_weight"}
