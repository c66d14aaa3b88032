"""Batches as models are called with them, and what is counted in them."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import suite
from suite.watch import RunAudit
from tests.watch.others.kit import Loops, judge, mean, sgd
from tests.watch.runs import Language, batches, network, sentences

LOOPS = Loops()


@LOOPS.add(
    "https://github.com/CuriousAI/mean-teacher/issues/26",
    "a tuple of [4, 6], [4] ([2] is left out, its first axis is 8; [3] is left out, its first axis is 8)",
)
def labelled_and_unlabelled_batches_of_two_sizes() -> RunAudit:
    model = network()
    teacher, optimizer = copy.deepcopy(model), sgd(model)

    def both(model: nn.Module, batch: Any) -> Tensor:
        x, y, _, _ = batch
        return F.cross_entropy(model(x), y, reduction="none")

    with suite.watch(model, both) as audit:
        for x, y in batches(4, 4):
            other = torch.randn(8, 6, dtype=torch.float64)
            wanted = teacher(other).detach()
            audit.microbatch((x, y, other, wanted))
            (mean(model, x, y) + F.mse_loss(model(other), wanted)).backward()
            optimizer.step()
            optimizer.zero_grad()
    return audit


@LOOPS.add(
    "https://github.com/pytorch/examples/blob/main/word_language_model/main.py",
    "([1] is repeated, its first axis is 1)",
    "Not audited: update 0 (and 1 more)",
)
def samples_along_the_second_axis() -> RunAudit:
    """The batch is `[time, samples]`, the state `[1, samples, width]`: the line says what was made of it."""
    layer, head = nn.RNN(6, 8).double(), nn.Linear(8, 3).double()

    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.head = layer, head

        def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
            found, state = self.layer(x, state)
            return self.head(found), state

    model = Recurrent()
    optimizer = sgd(model)

    def of_time(model: nn.Module, batch: Any) -> Tensor:
        return model(*batch)[0].square().sum((1, 2))

    state = torch.zeros(1, 3, 8, dtype=torch.float64)
    with suite.watch(model, of_time) as audit:
        for _ in range(2):
            found, state = model(torch.randn(4, 3, 6, dtype=torch.float64), state.detach())
            found.square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
    return audit


def preferred(model: nn.Module, batch: Tensor) -> Tensor:
    ids = batch if batch.ndim == 2 else batch.transpose(0, 1).flatten(0, 1)
    entries = F.cross_entropy(model(ids)["logits"][:, :-1].transpose(1, 2), ids[:, 1:], reduction="none")
    chosen, rejected = entries.sum(1).chunk(2)
    return -F.logsigmoid(rejected - chosen)


@LOOPS.add(
    "https://github.com/ContextualAI/HALOs/pull/37",
    "gave [3]; for a micro-batch of 6 samples it must be unreduced, [6] or [6, parts]: samples lie along the "
    "first axis of its tensors; the batch is a tensor [6, 7]",
)
def pairs_in_one_call() -> RunAudit:
    return preferences(by_hand=False)


@LOOPS.add("https://github.com/ContextualAI/HALOs/pull/37", "the weights are those of sum.", "3 samples")
def pairs_that_are_handed_over() -> RunAudit:
    return preferences(by_hand=True)


def preferences(*, by_hand: bool) -> RunAudit:
    """Chosen answers, then rejected ones, in one call; the loss is summed."""
    model = Language().double()
    optimizer = sgd(model)
    torch.manual_seed(1)
    with suite.watch(model, preferred) as audit:
        for _ in range(2):
            ids = torch.randint(11, (6, 7))
            if by_hand:
                audit.microbatch(torch.stack(ids.chunk(2), 1))
            preferred(model, ids).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
    return audit


@LOOPS.add(
    "https://github.com/huggingface/transformers/pull/46204",
    "Update 0: the weights are 1/17.",
    "The divisor is 17, the number of non-zero entries of",
    'entries other than -100 of batch["labels"]',
)
def targets_are_counted_before_they_are_shifted() -> RunAudit:
    """Micro-batches are of two lengths: what is counted is counted over both."""
    model = Language().double()
    window = sentences([5, 3], [7, 2])
    with suite.watch(model, suite.losses.causal_lm) as audit:
        count = sum(int((batch["labels"] != -100).sum()) for batch in window)
        for batch in window:
            scores = model(**batch)["logits"][:, :-1].flatten(0, 1)
            total = F.cross_entropy(scores, batch["labels"][:, 1:].flatten(), reduction="sum")
            (total / count).backward()
        sgd(model).step()
    return audit


@pytest.mark.parametrize("name", LOOPS.all)
def test_what_is_said_of_a_loop_is_so(name) -> None:
    judge(LOOPS.all[name])
