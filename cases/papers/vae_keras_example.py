"""The VAE of Keras' examples: sums over pixels and over latents, averaged over the batch."""

from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair) -> None:
    restored, divergence = problems.variational_losses(model, batch)
    reconstruction_loss = restored.mean()
    kl_loss = divergence.mean()
    (reconstruction_loss + kl_loss).backward()


STEP = PaperStep(
    "vae-keras-example",
    problems.variational,
    step,
    updates.by_hand(updates.adam_eps_hat(1e-3, eps=1e-7)),
    problems.EVIDENCE,
)
