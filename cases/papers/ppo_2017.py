"""PPO in Baselines: half of the mean of squares, times 0.5; clipped at 0.5."""

from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Triple, max_norm: float = 0.5) -> None:
    gain, square, negentropy = problems.policy_losses(model, batch)
    vf_loss = 0.5 * square.mean()
    loss = gain.mean() + negentropy.mean() * 0.01 + vf_loss * 0.5
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm)


STEP = PaperStep(
    "ppo-2017",
    lambda: problems.policy((1.0, 0.25, 0.01)),
    step,
    updates.by_hand(updates.adam_eps_hat(2.5e-4, eps=1e-5)),
    problems.ACTOR_CRITIC,
)
