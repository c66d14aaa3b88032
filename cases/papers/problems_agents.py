"""A policy, its value and its entropy."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor, nn

import cases
from cases.papers.problems_common import Triple, network, problem
from suite.case import Problem
from suite.replication.step import Port


def policy(weights: tuple[float, ...] = (1.0, 0.5, 0.01), **settings: Any) -> Problem:
    """A policy on digits: what it gains, the squared error of its value, and minus its entropy."""
    x, y = cases.data.digits()
    advantage = (x.mean(1) - x.mean()) / x.mean(1).std()
    return problem(
        model=lambda: network(64, 11),
        data=(x, y, advantage),
        losses=lambda model, batch: torch.stack(policy_losses(model, batch), 1),
        columns=lambda _: {"elements": 1},
        parts=("policy", "value", "entropy"),
        term_weight=weights,
        **settings,
    )


def policy_losses(model: nn.Module, batch: Triple) -> tuple[Tensor, Tensor, Tensor]:
    """`[samples]` each: `−A log π(a)`, `(v − R)²`, and minus the entropy of the policy."""
    x, action, advantage = batch
    outputs = model(x)
    logp = F.log_softmax(outputs[:, :10], dim=1)
    gain = F.nll_loss(logp, action, reduction="none") * advantage
    return gain, (outputs[:, 10] - advantage).square(), (logp.exp() * logp).sum(1)


def _actor_critic(model: nn.Module, batch: Triple) -> Tensor:
    gain, square, negentropy = policy_losses(model, batch)
    return gain.mean() + 0.5 * square.mean() + 0.01 * negentropy.mean()


ACTOR_CRITIC = Port("gain.mean() + 0.5 * F.mse_loss(v, r) - 0.01 * entropy.mean()", _actor_critic)
