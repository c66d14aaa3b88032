"""Training in PyTorch by a translation, on a gradient that anything else can be given too."""

from __future__ import annotations

import numpy as np
import torch

from suite.equivalence.dialects import prepare

START = np.array([0.7, -1.3, 0.05, 2.0, -0.4])
CURVATURE = np.array([1.0, 0.3, 2.0, 0.05, 0.7])


def gradient(w, t):
    """A bowl with ripples and a push that changes from step to step; smooth, so rounding stays small."""
    return CURVATURE * w + 0.3 * np.sin(2 * w) + 0.2 * np.cos(t + np.arange(len(w)))


def follow(translation, steps, *, gradient=gradient, start=START):
    """`[steps, params]` the weights after each step of `torch.optim`, prepared by the translation."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # NAdam keeps its product of momenta in the default dtype
    try:
        return _follow(translation, steps, gradient, start)
    finally:
        torch.set_default_dtype(before)


def _follow(translation, steps, gradient, start):
    weights = torch.nn.Parameter(torch.tensor(start))
    optimizer = getattr(torch.optim, translation.optimizer)([weights], **translation.hyperparameters)
    path = []
    for step in range(1, steps + 1):
        before = weights.detach().numpy().copy()
        weights.grad = torch.tensor(gradient(before, step))
        prepare(optimizer, translation, step)
        optimizer.step()
        path.append(weights.detach().numpy().copy())
    return np.array(path)


def deviation(path, other):
    """The largest distance of two paths of weights, relative to the largest weight."""
    return float(abs(path - other).max() / abs(other).max())
