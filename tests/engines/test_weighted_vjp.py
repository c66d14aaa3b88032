"""Plain autograd some samples at a time gives what it gives for the whole batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from suite.engines.weighted_vjp import WeightedVJP

BATCH = torch.randn(7, 4, dtype=torch.float64), torch.randint(0, 3, (7,))


def two_terms(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    output = model(batch[0])
    return torch.stack([F.cross_entropy(output, batch[1], reduction="none"), output.square().sum(1)], 1)


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()


@given(step=st.integers(1, 9), chosen=st.lists(st.floats(-2, 2, width=16), min_size=14, max_size=14))
def test_steps_of_any_size_add_up_to_the_whole(model: nn.Module, step: int, chosen: list[float]) -> None:
    trained = list(model.parameters())
    whole, stepped = (WeightedVJP(model, BATCH, two_terms, trained, size) for size in (None, step))
    assert whole.units == stepped.units == 14
    for a, b in zip(whole.of(np.array(chosen)), stepped.of(np.array(chosen)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_samples_that_no_weight_asks_for_are_not_passed_through(model: nn.Module) -> None:
    seen: list[int] = []

    def counted(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        seen.append(len(batch[0]))
        return two_terms(model, batch)

    pulled = WeightedVJP(model, BATCH, counted, list(model.parameters()), 2)
    pulled.of(np.eye(14)[5])  # of the third sample
    assert seen == [7, 2]  # all once to count the units, then two


def test_losses_that_were_computed_are_read_once_and_then_computed_anew(model: nn.Module) -> None:
    calls: list[int] = []

    def counted(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        calls.append(len(batch[0]))
        return two_terms(model, batch)

    entries = two_terms(model, BATCH)
    pulled = WeightedVJP(model, BATCH, counted, list(model.parameters()), None, entries)
    first = pulled.of(np.ones(14))
    assert calls == []
    for a, b in zip(first, pulled.of(np.ones(14)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    pulled.of(np.eye(14)[0])
    assert calls == [7]
    with pytest.raises(RuntimeError, match="second time"):
        entries.sum().backward()  # its graph was let go
