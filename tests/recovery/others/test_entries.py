"""Single entries of the gradient: set to zero, rounded, or all brought to a norm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.recovery.others.kit import Case, Loop, Loops, classes, entropy, judge, network, normal

LOOPS = Loops("single entries")


def changed(change: Callable[[Tensor], Tensor], model: nn.Module | None = None, batch: Any = None) -> Case:
    """A mean whose gradients are changed tensor by tensor before the optimizer sees them."""

    def step(model: nn.Module, batch: Any) -> None:
        entropy(model, batch).mean().backward()
        for p in model.parameters():
            p.grad = change(p.grad)

    given = (normal(8, 6), classes(8)) if batch is None else batch
    return Case(step, network() if model is None else model, given, entropy)


@LOOPS.add(
    "https://github.com/apple/pfl-research/issues/65",
    "entries set to zero: 201 of 224 entries are zero that would not be",
    "Beneath it the weights are those of mean.",
    "−another function",
)
def the_largest_tenth() -> Case:
    """Top-k sparsification in each tensor."""

    def largest(grad: Tensor) -> Tensor:
        least = grad.abs().flatten().topk(max(1, grad.numel() // 10)).values.min()
        return grad * (grad.abs() >= least)

    return changed(largest)


@LOOPS.add(
    "https://github.com/huggingface/transformers/issues/29897",
    "entries set to zero",
    "those of mean.",
)
def only_new_words_learn() -> Case:
    """The gradients of old rows of an embedding are set to zero, and of old words' scores."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(12, 6), nn.Flatten(), nn.Linear(30, 12)).double()
    new = torch.arange(12) >= 7

    def masked(grad: Tensor) -> Tensor:
        return grad * (new if grad.ndim == 1 else new[:, None])

    return changed(masked, model, (classes(8, 5, c=12), classes(8, c=12)))


@LOOPS.add(
    "https://github.com/GaTech-RL2/EgoVerse/pull/667",
    "rounding of bfloat16: all entries have the digits of bfloat16",
    "they are those of mean",
    "Beneath it the weights are those of mean.",
    "−couples",
)
def communicated_in_bfloat16() -> Case:
    """Float32 gradients, rounded for the reduction between ranks."""
    model = network().float()
    return changed(lambda grad: grad.bfloat16().float(), model, (normal(8, 6).float(), classes(8)))


@LOOPS.add(
    "https://github.com/google-deepmind/optax/issues/594",
    "brought to a norm: the norm stays at 1 when the parameters move",
    "normalised to it",
    "−clipped by norm",
)
def normalised_descent() -> Case:
    """The gradient over its norm, which is longer than the mean's: nothing was clipped."""

    def step(model: nn.Module, batch: Any) -> None:
        entropy(model, batch).mean().backward()
        length = torch.stack([p.grad.norm() for p in model.parameters()]).norm()
        for p in model.parameters():
            p.grad.div_(length)

    return Case(step, network(), (normal(6, 6), classes(6)), entropy)


@pytest.mark.parametrize("loop", LOOPS.all, ids=LOOPS.names)
def test_what_was_done_to_entries_is_told(loop: Loop) -> None:
    judge(loop)


def test_entries_that_no_sample_reaches_are_no_evidence() -> None:
    """Rows of words that are not in the batch have no gradient anyway."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(40, 6), nn.Flatten(), nn.Linear(30, 4)).double()
    case = changed(lambda grad: grad, model, (classes(8, 5, c=9), classes(8)))
    judge(Loop("", lambda: case, ("those of mean.", "−set to zero")))
