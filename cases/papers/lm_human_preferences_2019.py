"""PPO of lm-human-preferences: the mean of the policy, and a tenth of half the mean of squares."""

from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Triple) -> None:
    gain, square, _ = problems.policy_losses(model, batch)
    vf_loss = 0.5 * square.mean()
    (gain.mean() + 0.1 * vf_loss).backward()


STEP = PaperStep(
    "lm-human-preferences-2019",
    lambda: problems.policy((1.0, 0.05, 0.0)),
    step,
    updates.by_hand(updates.adam_eps_hat(1e-5, eps=1e-5)),
    problems.ACTOR_CRITIC,
)
