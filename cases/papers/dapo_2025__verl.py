"""verl's actor with dynamic batches: each micro-batch's token mean times its share of the samples."""

import torch
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Pair, max_norm: float = 1.0) -> None:
    for micro in (tuple(t[:3] for t in batch), tuple(t[3:] for t in batch)):
        loss_mat, response_mask = problems.token_losses(model, micro)
        policy_loss = (loss_mat * response_mask).sum() / response_mask.sum()
        loss_scale_factor = response_mask.shape[0] / len(batch[0])
        (policy_loss * loss_scale_factor).backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm)


STEP = PaperStep(
    "dapo-2025:verl",
    lambda: problems.text(first=3, microbatches=2),
    step,
    updates.of_torch(torch.optim.AdamW, lr=0.000001, weight_decay=0.1),
    problems.TOKENS,
)
