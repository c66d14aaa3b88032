"""Opacus' DPOptimizer: what it divides by, what it clips, and what recovery says of its noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from opacus import GradSampleModule
from opacus.optimizers import DPOptimizer
from recipe import Pair, Row, digits, losses, network, sample_gradients, show
from torch import nn

import gradsuite

SAMPLES, LOT, HIGH = 6, 8, 1e9
DIVIDES = "DPOptimizer.scale_grad, which divides by expected_batch_size (opacus/optimizers/optimizer.py)"
CLIPS = "DPOptimizer.clip_and_accumulate, by C/(norm + 1e-6) (opacus/optimizers/optimizer.py)"
NOISE = "DPOptimizer.add_noise (opacus/optimizers/optimizer.py)"


def step(model: nn.Module, batch: Pair, **settings: Any) -> None:
    """One update by DPOptimizer; clipping and noise are off unless `settings` say otherwise."""
    private = GradSampleModule(model)
    optimizer = DPOptimizer(
        torch.optim.SGD(private.parameters(), lr=0.1),
        **{"noise_multiplier": 0.0, "max_grad_norm": HIGH, "expected_batch_size": SAMPLES} | settings,
    )
    try:
        losses(private, batch).mean().backward()
        optimizer.step()
    finally:
        private.remove_hooks()


def recipe() -> list[Row]:
    """Fewer samples than were expected; then with clipping; then with noise."""
    model, batch = network(), digits(SAMPLES)
    sizes = np.linalg.norm(sample_gradients(model, batch), axis=1)
    threshold = float(np.median(sizes))
    clip = {"max_grad_norm": threshold}

    def row(done: str, source: str, weights: Any, convention: str | None, **settings: Any) -> Row:
        units = gradsuite.Units.of(
            SAMPLES,
            expected_batch_size=settings.get("expected_batch_size", SAMPLES),
            max_norm=settings.get("max_grad_norm"),
        )
        found = gradsuite.recover(
            lambda model, batch: step(model, batch, **settings), model, batch, losses, units=units
        )
        cause = "noise" if settings.get("noise_multiplier") else None
        return Row("opacus", done, source, np.broadcast_to(weights, SAMPLES), convention, found, cause)

    clipped = np.minimum(1, threshold / (sizes + 1e-6)) / SAMPLES
    return [
        row("6 samples, 8 expected", DIVIDES, 1 / LOT, "expected-batch-size", expected_batch_size=LOT),
        row("each sample clipped to the median norm", CLIPS, clipped, "clip-each-unit", **clip),
        row("the same, `noise_multiplier=1`", NOISE, np.nan, None, **clip, noise_multiplier=1.0),
    ]


if __name__ == "__main__":
    show(recipe())
