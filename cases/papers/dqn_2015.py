"""DQN: the clipped errors of the batch go into backward() as they are, and DeepMind's RMSProp follows."""

from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair) -> None:
    states, targets = batch
    values = model(states)
    errors = (targets - values).detach().clamp(-1, 1)
    values.backward(-errors)


STEP = PaperStep(
    "dqn-2015",
    problems.huber_values,
    step,
    updates.by_hand(updates.rmsprop_root(2.5e-4, 0.95, 0.01, start=0.0, centered=True)),
    problems.HUBER,
)
