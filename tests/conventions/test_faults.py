"""Every known mistake: its broken loop, run for real, against the coefficients that it amounts to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from suite.algebra.gram import unit_norms
from suite.algebra.units import Units
from suite.conventions import conventions, faults
from suite.loops.loop import run_reference_loop
from suite.strategies import examples
from suite.strategies.examples import Example

FAULTS = [c.name for c in conventions if c.family == "faults"]


def column(name: str, n: int, gram: np.ndarray | None = None, **settings: object) -> list[float]:
    units = Units.of(n, settings.pop("columns", None), **settings)
    return conventions[name].coefficients(units, np.eye(n) if gram is None else gram).tolist()


@pytest.mark.parametrize("name", FAULTS)
@given(data=st.data())
def test_coefficients_are_what_the_broken_loop_leaves(name: str, data: st.DataObject) -> None:
    fault = conventions[name]
    example = data.draw(examples(fault.needs))
    coefficients = fault.coefficients(example.units, example.gram)
    expected = run_reference_loop(fault.reference_loop, example.loop).numpy()
    whole = np.abs(coefficients) @ unit_norms(example.gram)
    assert np.linalg.norm(coefficients @ example.rows - expected) <= 1e-12 * whole


def test_all_faults_are_named_as_such_and_say_what_was_meant() -> None:
    assert len(FAULTS) == 14
    for name in FAULTS:
        assert name.startswith("fault:")
        meant = conventions[name].against
        assert meant in conventions
        assert meant not in FAULTS


def test_early_samples_count_most_where_nothing_is_zeroed() -> None:
    assert column("fault:never-zeroed", 4) == [1.0, 0.75, 0.5, 0.25]


def test_the_view_loses_sample_0_and_counts_sample_1_twice() -> None:
    assert column("fault:kept-as-views", 4) == [0.0, 0.5, 0.25, 0.25]
    assert column("fault:kept-as-views", 1) == [1.0]


def test_references_leave_the_last_sample_alone() -> None:
    assert column("fault:kept-by-reference", 3) == [0.0, 0.0, 1.0]


def test_dividing_twice_is_one_over_k_squared() -> None:
    settings = {"columns": {"microbatch": [0, 0, 1, 1]}, "window": 2}
    assert column("fault:divided-twice", 4, **settings) == [0.125] * 4
    settings = {"columns": {"microbatch": [0, 0, 1, 1]}, "window": 2}
    assert column("fault:not-divided-by-k", 4, **settings) == [0.5] * 4


def test_clipping_inside_shrinks_early_microbatches_again_and_again() -> None:
    settings = {"columns": {"microbatch": [0, 1]}, "window": 2, "max_norm": 0.125}
    first, second = column("fault:clipped-inside", 2, **settings)
    # 1/8, then the sum of (1/8, 1/2) is brought to length 1/8 once more.
    assert second == pytest.approx(4 * first, rel=1e-15)
    assert np.hypot(first, second) == pytest.approx(0.125, rel=1e-15)


def test_multiplying_by_the_batch_size_undoes_the_mean() -> None:
    assert column("fault:times-batch-size", 4, columns={"elements": 3}) == [pytest.approx(1 / 3)] * 4


def test_the_faults_live_in_their_own_module() -> None:
    assert all(getattr(faults, c.column.__name__) is c for c in conventions if c.family == "faults")


@pytest.mark.parametrize("name", FAULTS)
def test_a_parameter_that_no_loss_reads_gets_nothing_from_a_broken_loop(name: str) -> None:
    columns = {"microbatch": [0, 0, 1], "rank": [0, 1, 1], "elements": [1, 2, 3]}
    units = Units.of(3, columns, window=2, max_norm=0.5)
    rows = [[1.0, 2.0], [0.0, -1.0], [3.0, 0.5]]
    used = Example.of(units, rows).loop
    model = torch.nn.ModuleDict({"used": used.model, "unread": torch.nn.Linear(2, 1).double()})
    loop = replace(used, model=model, unreduced=lambda model, batch: used.unreduced(model["used"], batch))
    expected = run_reference_loop(conventions[name].reference_loop, used)
    found = run_reference_loop(conventions[name].reference_loop, loop)
    assert found.tolist() == [*expected.tolist(), 0.0, 0.0, 0.0]


def test_one_count_is_divided_or_multiplied_once_more() -> None:
    accumulated = {"columns": {"microbatch": [0, 0, 1, 1], "elements": [1, 2, 3, 2]}, "window": 4}
    assert column("fault:window-count-over-k", 4, **accumulated) == [1 / 32] * 4
    accumulated = {"columns": {"microbatch": [0, 0, 1, 1], "elements": [1, 2, 3, 2]}, "window": 4}
    assert column("fault:window-count-times-k", 4, **accumulated) == [0.5] * 4
    parallel = {"columns": {"rank": [0, 0, 0, 1], "elements": [1, 2, 3, 2]}, "world_size": 2}
    assert column("fault:global-count-over-ranks", 4, **parallel) == [1 / 16] * 4
    parallel = {"columns": {"rank": [0, 0, 0, 1], "elements": [1, 2, 3, 2]}, "world_size": 2}
    assert column("fault:global-count-times-ranks", 4, **parallel) == [0.25] * 4
