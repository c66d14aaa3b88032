"""DDPM: each replica's share of the mean over pixels and samples is clipped at its share of 1."""

import torch
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair, max_norm: float = 1.0) -> None:
    replicas = problems.split(batch, 2)
    grad_clip = max_norm / len(replicas)
    for noisy, noise in replicas:
        losses = ((model(noisy) - noise) ** 2).mean(1)
        gradient = torch.autograd.grad(losses.mean() / len(replicas), list(model.parameters()))
        gnorm = torch.cat([g.flatten() for g in gradient]).norm()
        for p, g in zip(model.parameters(), gradient, strict=True):
            share = g * grad_clip / torch.clamp(gnorm, min=grad_clip)
            p.grad = share if p.grad is None else p.grad + share


STEP = PaperStep(
    "ddpm-2020",
    lambda: problems.pixels(ranks=2),
    step,
    updates.by_hand(updates.adam_eps_hat(2e-4)),
    problems.MSE,
)
