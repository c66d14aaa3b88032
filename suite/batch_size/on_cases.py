"""Batch-size rules on the suite's cases: the critical batch size, and how far each rule really lands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from suite.algebra.gram import Gram
from suite.batch_size.evaluation import RuleEvaluation, evaluate_rules
from suite.batch_size.noise import NoiseScale, noise_scale
from suite.case import Case, Problem
from suite.engines.per_sample_gradients import per_sample_gradients
from suite.loops import batch as batches
from suite.loops.batch import Batch

NOISE_SAMPLES = 128


@dataclass(frozen=True)
class CaseEvaluation:
    """What the batch-size rules come to on one case.

    Args:
        case: its name.
        noise: the gradient noise scale at the initial parameters.
        evaluations: one a rule, and first the reference itself on other samples.
    """

    case: str
    noise: NoiseScale
    evaluations: Sequence[RuleEvaluation]


def evaluate_case(
    case: Case,
    optimizer: str,
    hyperparameters: Mapping[str, Any],
    batch_size: int,
    to_batch_size: int,
    *,
    steps: int,
    seed: int = 0,
) -> CaseEvaluation:
    """Train `case` in float64 under every rule, and measure its noise scale from per-sample gradients.

    Args:
        case: what is trained, on the mean over samples.
        optimizer: a class of `torch.optim`.
        hyperparameters: for `batch_size`.
        batch_size: of the reference.
        to_batch_size: that the rules are for.
        steps: of the reference.
        seed: of the model's parameters.

    Raises:
        CaseError: The case has no right gradients.
        UsageError: The sizes do not fit.
    """
    problem = case.problem()

    def model() -> nn.Module:
        torch.manual_seed(seed)
        return problem.model().double()

    def losses(model: nn.Module, batch: Batch) -> Tensor:
        return (
            problem.losses(model, batch).flatten(1).sum(1) if problem.parts else problem.losses(model, batch)
        )

    noise = noise_scale(_gram(problem, model(), min(NOISE_SAMPLES, batches.size(problem.data)), seed))
    found = evaluate_rules(
        model,
        lambda size, draw: _sample(problem, size, draw),
        losses,
        optimizer,
        hyperparameters,
        batch_size,
        to_batch_size,
        steps=steps,
        seeds=(seed, seed + 1),
        noise=noise,
    )
    return CaseEvaluation(case.name, noise, found)


def _sample(problem: Problem, size: int, seed: int) -> Batch:
    """A batch drawn with replacement, so that any size fits any data."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(batches.size(problem.data), (size,), generator=generator)
    chosen = batches.select(problem.data, rows)
    return batches.to(problem.collate(chosen) if problem.collate else chosen, "cpu", torch.float64)


def _gram(problem: Problem, model: nn.Module, samples: int, seed: int) -> Gram:
    """`[samples, samples]` the Gram matrix of the samples' gradients, each summed over its parts."""
    order = torch.randperm(batches.size(problem.data), generator=torch.Generator().manual_seed(seed))
    batch = batches.select(problem.data, order[:samples])
    batch = batches.to(problem.collate(batch) if problem.collate else batch, "cpu", torch.float64)
    gram = per_sample_gradients(model, batch, problem.losses).gram()
    parts = len(gram) // samples
    return np.asarray(gram.reshape(samples, parts, samples, parts).sum(axis=(1, 3)))
