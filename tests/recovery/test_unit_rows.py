"""The gradients of units that have many rows of one map each, against sums of outer products."""

from __future__ import annotations

from unittest import mock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from suite.recovery import unit_rows
from suite.recovery.unit_rows import UnitRows


@pytest.mark.parametrize("ragged", [0, 4])
@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.booleans(), st.integers(0, 1000))
def test_norms_products_and_sums_are_those_of_formed_gradients(
    ragged: int, units, bias: bool, seed: int
) -> None:
    draw = torch.Generator().manual_seed(seed)
    unit = torch.tensor(sorted(units))
    a, b = torch.randn(len(units), 3, generator=draw), torch.randn(len(units), 2, generator=draw)
    rows = UnitRows("w", "b" if bias else None, False, a, b, unit)
    inputs = torch.cat([a, torch.ones(len(a), 1)], 1) if bias else a
    outer = (b.double()[:, :, None] * inputs.double()[:, None]).flatten(1)
    expected = torch.zeros(6, outer.shape[1], dtype=torch.float64).index_add_(0, unit, outer)
    with mock.patch.object(unit_rows, "RAGGED", ragged), mock.patch.object(unit_rows, "NUMBERS", 40):
        torch.testing.assert_close(rows.square(6), expected.square().sum(1))
        gram = rows.gram(6).tril()
    torch.testing.assert_close(gram, (expected @ expected.T).tril())
