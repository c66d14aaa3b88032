"""The loop of a forum thread whose gradient is not the mean: `gradsuite recover` says why."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(0)
images, classes = load_digits(return_X_y=True)
batch = torch.tensor(images[:16] / 16), torch.tensor(classes[:16])
model = nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10)).double()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)


def losses(model, batch):
    return F.cross_entropy(model(batch[0]), batch[1], reduction="none")


def step(model, batch):
    """One gradient a sample, kept side by side and averaged."""
    kept = {}
    for loss in losses(model, batch):
        optimizer.zero_grad(set_to_none=False)
        loss.backward(retain_graph=True)
        for p in model.parameters():
            column = p.grad.view(-1, 1)
            kept[p] = torch.cat([kept[p], column], dim=1) if p in kept else column
    for p in model.parameters():
        p.grad = kept[p].mean(dim=1).view_as(p)
