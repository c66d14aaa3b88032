"""A3C, OpenAI's starter agent: sums over the rollout, clipped at 40."""

from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Triple, max_norm: float = 40.0) -> None:
    gain, square, negentropy = problems.policy_losses(model, batch)
    vf_loss = 0.5 * square.sum()
    (gain.sum() + 0.5 * vf_loss + negentropy.sum() * 0.01).backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm)


STEP = PaperStep(
    "a3c-2016",
    lambda: problems.policy((1.0, 0.25, 0.01)),
    step,
    updates.by_hand(updates.adam_eps_hat(1e-4)),
    problems.ACTOR_CRITIC,
)
