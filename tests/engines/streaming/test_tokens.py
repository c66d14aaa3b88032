"""One backward pass for all positions, where no layer mixes them; and only there."""

from __future__ import annotations

from unittest.mock import patch

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from suite.engines.engine import Refused, engines
from suite.engines.streaming import tokens
from tests.engines.streaming.architectures import Architecture
from tests.engines.streaming.test_streaming import distances


class Tagger(nn.Module):
    """Labels each token by itself; `mixing` adds a little of another position's, or of all."""

    def __init__(self, mixing: str = "") -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Embedding(7, 4), nn.LayerNorm(4), nn.Linear(4, 5), nn.Tanh())
        self.head = nn.Linear(5, 3)
        self.mixing = mixing

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.body(x)
        if self.mixing == "mean":
            hidden = hidden + 1e-3 * hidden.mean(1, keepdim=True)
        elif self.mixing == "two":
            hidden = torch.cat([hidden[:, :1] + 1e-9 * hidden[:, -1:], hidden[:, 1:]], 1)
        return self.head(hidden)


def token_losses(model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
    return F.cross_entropy(model(batch[0]).transpose(1, 2), batch[1], reduction="none", ignore_index=0)


def tagged(samples: int, length: int, mixing: str = "") -> Architecture:
    batch = torch.randint(0, 7, (samples, length)), torch.randint(0, 3, (samples, length))
    return Architecture(Tagger(mixing).double(), batch, token_losses)


def backward_passes(found: Architecture) -> int:
    with patch.object(torch.autograd, "grad", wraps=torch.autograd.grad) as asked:
        engines["streaming"].compute(found.model, found.batch, found.losses)
    return asked.call_count


@given(st.integers(1, 4), st.integers(1, 40), st.sampled_from(["", "mean", "two"]), st.integers(0, 9))
def test_every_token_gets_its_own_gradient(samples: int, length: int, mixing: str, seed: int) -> None:
    torch.manual_seed(seed)
    found = tagged(samples, length, mixing)
    got = engines["streaming"].compute(found.model, found.batch, found.losses)
    assert max(distances(got, found.unit_gradients(), seed)) < 1e-12


@pytest.mark.parametrize(("length", "expected"), [(2, 2), (3, 2), (32, 2), (33, 3), (1000, 3)])
def test_tokens_that_do_not_mix_take_two_or_three_passes(length: int, expected: int) -> None:
    assert backward_passes(tagged(2, length)) == expected


@pytest.mark.parametrize("mixing", ["mean", "two"])
def test_mixed_positions_take_a_pass_each(mixing: str) -> None:
    found = tagged(2, 40, mixing)
    assert backward_passes(found) >= 40


def test_any_two_positions_differ_in_the_weight_of_some_pass() -> None:
    parts = 2000
    drawn = torch.randperm(parts)
    levels = torch.stack([drawn // tokens.WEIGHT_LEVELS**digit % tokens.WEIGHT_LEVELS for digit in range(3)])
    assert len(levels.unique(dim=1).T) == parts


def test_an_overwritten_input_is_refused_with_tokens_too() -> None:
    class Overwriting(Tagger):
        def forward(self, x: Tensor) -> Tensor:
            hidden = self.body(x).detach()
            out = self.head(hidden)
            hidden.zero_()
            return out

    found = Architecture(Overwriting(), tagged(2, 5).batch, token_losses)
    with pytest.raises(Refused, match="overwritten"):
        engines["streaming"].compute(found.model, found.batch, found.losses)
