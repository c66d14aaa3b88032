"""A2C in Baselines: the means of the three terms, clipped at 0.5."""

from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Triple, max_norm: float = 0.5) -> None:
    gain, square, negentropy = problems.policy_losses(model, batch)
    loss = gain.mean() + 0.01 * negentropy.mean() + square.mean() * 0.5
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm)


STEP = PaperStep(
    "a2c-baselines",
    lambda: problems.policy((1.0, 0.5, 0.01)),
    step,
    updates.by_hand(updates.rmsprop_root(7e-4, 0.99, 1e-5)),
    problems.ACTOR_CRITIC,
)
