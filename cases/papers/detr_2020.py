"""DETR, on one rank: the class mean plus 5 times the box sum over the boxes; then clipping."""

import torch
from torch import nn

from cases.papers import problems
from suite.replication import updates
from suite.replication.step import PaperStep


def step(model: nn.Module, batch: problems.Triple, max_norm: float = 0.1) -> None:
    classes, places = problems.box_losses(model, batch)
    num_boxes = max(float(batch[1].sum()), 1.0)
    losses = 1.0 * classes.mean() + 5.0 * places.sum() / num_boxes
    losses.backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm)


STEP = PaperStep(
    "detr-2020",
    lambda: problems.boxes("own", (1.0, 5.0)),
    step,
    updates.of_torch(torch.optim.AdamW, {"part": {"lr": 1e-5}}, lr=1e-4, weight_decay=1e-4),
    problems.ANCHORS_AND_BOXES,
)
