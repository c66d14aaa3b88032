"""Modded-NanoGPT: the token losses of a rank are summed; the ranks are averaged."""

from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair) -> None:
    grad_accum_steps, ranks = 1, problems.split(batch, 2)
    for rank in ranks:
        loss = problems.token_losses(model, rank)[0].sum() * (1 / grad_accum_steps)
        (loss / len(ranks)).backward()


STEP = PaperStep(
    "modded-nanogpt",
    lambda: problems.text(ranks=2),
    step,
    updates.by_hand(updates.adam_eps_hat(0.008, 0.5, 0.95, 1e-10)),
    problems.TOKENS,
)
