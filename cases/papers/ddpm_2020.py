"""DDPM, before the clipping: each replica's mean over pixels and samples, at its share."""

from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair) -> None:
    replicas = problems.split(batch, 2)
    for noisy, noise in replicas:
        losses = ((model(noisy) - noise) ** 2).mean(1)
        (losses.mean() / len(replicas)).backward()


STEP = PaperStep(
    "ddpm-2020",
    lambda: problems.pixels(ranks=2),
    step,
    updates.by_hand(updates.adam_eps_hat(2e-4)),
    problems.MSE,
)
