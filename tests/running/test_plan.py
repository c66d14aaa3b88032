"""Which batches are measured, and how a ragged one is cut."""

from __future__ import annotations

import pytest
import torch

from cases import cases
from suite.case import Problem
from suite.errors import CaseError, UsageError
from suite.running.plan import Cell, cells, sizes

CPU = torch.device("cpu")


def problem(**more: object) -> Problem:
    return Problem(
        model=lambda: torch.nn.Linear(1, 1),
        data=torch.arange(13.0)[:, None],
        losses=lambda m, x: m(x)[:, 0],
        **more,
    )


def test_two_full_batches_and_the_ragged_last_one_make_a_plan() -> None:
    found = cells(problem(), (1, 4), seed=0)
    assert [(c.batch_size, c.batch, len(c.rows)) for c in found] == [
        (1, "0", 1), (1, "1", 1), (4, "0", 4), (4, "1", 4), (4, "last", 1),
    ]  # fmt: skip
    assert len({int(r) for c in found if c.batch_size == 4 for r in c.rows}) == 9  # no sample twice


def test_the_order_of_the_data_is_the_seeds() -> None:
    first, again, other = (cells(problem(), (4,), seed=s)[0].rows for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_ragged_batch_fills_micro_batches_and_ranks_as_a_loader_does() -> None:
    units = Cell(8, "last", torch.arange(5)).units(problem(), None)
    assert list(units.microbatch) == [0, 0, 1, 1, 2]
    assert (units.window, units.groups("microbatch")) == (4, 3)
    assert list(units.rank) == [0, 0, 0, 0, 1]
    assert (units.world_size, units.expected_batch_size) == (2, 8.0)


def test_a_batch_size_that_does_not_fit_names_the_case_and_what_does() -> None:
    with pytest.raises(UsageError, match="batch size 443 does not fit case 'mse': it has 442 samples"):
        sizes(cases["mse"], cases["mse"].build(), (443,), quick=False)


def test_quick_leaves_the_largest_sizes_out_unless_they_were_asked_for() -> None:
    mse = cases["mse"]
    assert sizes(mse, mse.build(), (), quick=True) == (1, 2, 8, 32)
    assert sizes(mse, mse.build(), (128,), quick=True) == (128,)


def test_columns_that_do_not_fit_fail_the_case_not_the_run() -> None:
    broken = problem(columns=lambda batch: {"elements": [1, 2, 3]})
    with pytest.raises(CaseError, match="column 'elements'"):
        Cell(4, "0", torch.arange(4)).units(broken, None)
