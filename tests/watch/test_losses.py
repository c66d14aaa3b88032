"""The ready losses, against what they stand for."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import suite
from suite.errors import UsageError
from tests.watch.runs import Language


def completions() -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(0)
    ids = torch.randint(1, 11, (2, 7), generator=draw)
    return {
        "prompt_ids": ids[:, :3],
        "prompt_mask": torch.ones(2, 3),
        "completion_ids": ids[:, 3:],
        "completion_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]]),
        "advantages": torch.tensor([2.0, -0.5], dtype=torch.float64),
    }


def probabilities(model: Language, batch: dict[str, Tensor]) -> Tensor:
    scores = model(torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1))["logits"][:, 2:-1]
    return scores.log_softmax(-1).gather(-1, batch["completion_ids"][..., None])[..., 0]


def test_the_policy_gradient_is_that_of_advantages_times_log_probabilities() -> None:
    torch.manual_seed(0)
    model, batch = Language().double(), completions()
    advantages, mask = batch["advantages"][:, None], batch["completion_mask"]
    found = torch.autograd.grad(suite.losses.policy(model, batch).sum(), model.head.weight)[0]
    expected = -(advantages * probabilities(model, batch) * mask).sum()
    torch.testing.assert_close(found, torch.autograd.grad(expected, model.head.weight)[0])


def test_ratios_to_an_older_policy_are_clipped_where_that_lowers_the_gain() -> None:
    torch.manual_seed(0)
    model, batch = Language().double(), completions()
    logs = probabilities(model, batch).detach()
    moved = torch.tensor([[0.0, 1.0, -1.0, 0.1], [1.0, -1.0, 0.0, 0.0]], dtype=torch.float64)
    found = suite.losses.policy(model, {**batch, "old_per_token_logps": logs - moved})
    ratio = moved.exp()
    ratio[0, 1], ratio[1, 1] = 1.2, 0.8  # a good token is no more than 1.2 times better, a bad one no less
    expected = -ratio * batch["advantages"][:, None] * batch["completion_mask"]
    torch.testing.assert_close(found, expected)


def test_tool_calls_are_no_tokens_of_the_policy() -> None:
    batch = {**completions(), "tool_mask": torch.tensor([[1, 0, 1, 1], [1, 1, 1, 1]])}
    assert suite.losses.policy.elements(batch).tolist() == [[1, 0, 1, 1], [1, 1, 0, 0]]


def test_a_batch_without_advantages_is_one_line() -> None:
    with pytest.raises(UsageError, match=r"no 'prompt_ids'.*audited"):
        suite.losses.policy(Language(), {"input_ids": torch.ones(1, 2)})
