"""Opacus' DPOptimizer: what it divides by, what it clips, and what recovery says of its noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from opacus import GradSampleModule
from opacus.optimizers import DPOptimizer
from recipe import Pair, Row, digits, losses, network, show
from torch import nn

import suite

SAMPLES, LOT, HIGH = 6, 8, 1e9
DIVIDES = "DPOptimizer.scale_grad, which divides by expected_batch_size (opacus/optimizers/optimizer.py)"
CLIPS = "DPOptimizer.clip_and_accumulate, min(1, C/(‖g‖ + 1e-6)) (opacus/optimizers/optimizer.py)"
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


def norms(model: nn.Module, batch: Pair) -> np.ndarray:
    """`[samples]` the norm of each sample's gradient, one by one."""
    parts = [torch.autograd.grad(loss, list(model.parameters()), retain_graph=True) for loss in losses(model, batch)]
    return np.array([float(torch.cat([p.flatten() for p in part]).norm()) for part in parts])


def recipe() -> list[Row]:
    """Six samples, of which eight were expected."""
    model, batch = network(), digits(SAMPLES)
    sizes = norms(model, batch)
    threshold = float(np.median(sizes))

    def row(done: str, source: str, weights: object, convention: str | None, **rest: Any) -> Row:
        settings, cause = rest.get("settings", {}), rest.get("cause")
        units = suite.Units.of(
            SAMPLES,
            expected_batch_size=settings.get("expected_batch_size", SAMPLES),
            max_norm=settings.get("max_grad_norm"),
        )
        found = suite.recover(
            lambda model, batch: step(model, batch, **settings), model, batch, losses, units=units
        )
        return Row("opacus", done, source, np.broadcast_to(weights, SAMPLES), convention, found, cause=cause)

    clipped = np.minimum(1, threshold / (sizes + 1e-6)) / SAMPLES
    return [
        row("6 samples of 8 expected, no clipping", DIVIDES, 1 / LOT, "expected-batch-size",
            settings={"expected_batch_size": LOT}),
        row("each sample clipped to the median norm", CLIPS, clipped, "clip-each-unit",
            settings={"max_grad_norm": threshold}),
        row("the same, with noise_multiplier=1", NOISE, np.nan, None, cause="noise",
            settings={"max_grad_norm": threshold, "noise_multiplier": 1.0}),
    ]  # fmt: skip


if __name__ == "__main__":
    show(recipe())
