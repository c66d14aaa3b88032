"""OpenCLIP: each rank has the loss of all pairs, and the gradient of its own features alone."""

import torch
import torch.nn.functional as F  # noqa: N812  its usual name

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: problems.TwoSides, batch: problems.Pair) -> None:
    for rank in range(2):
        features = [[side(x) for x in half.chunk(2)] for side, half in zip(model.sides, batch, strict=True)]
        image, text = (
            torch.cat([f if r == rank else f.detach() for r, f in enumerate(fs)]) for fs in features
        )
        logits, labels = model.logit_scale * image @ text.T, torch.arange(len(image))
        loss = F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)
        (loss / 2 / 2).backward()


STEP = PaperStep(
    "open-clip-2021",
    lambda: problems.pairs(ranks=2),
    step,
    updates.of_torch(
        torch.optim.AdamW, problems.NO_DECAY, lr=5e-4, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.2
    ),
    problems.CONTRAST,
)
