"""How far training under each batch-size rule lands from training at the old batch size.

The reference takes `k` steps at the old batch size; every rule takes as many steps at the new one as
see the same number of samples. Rules promise statistics, not trajectories, so the same training with
other samples stands beside them: its distance is what no rule can be expected to beat.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from suite.batch_size.noise import NoiseScale
from suite.batch_size.rules import rules
from suite.errors import UsageError
from suite.loops.autograd import values

_MakeModel = Callable[[], nn.Module]
_Sampler = Callable[[int, int], Any]
_Losses = Callable[[nn.Module, Any], Tensor]


@dataclass(frozen=True)
class RuleEvaluation:
    """Where training under one rule lands, averaged over the seeds.

    Args:
        rule: its name; `other samples` for the reference itself on other batches.
        hyperparameters: what the rule gave; empty where it does not apply.
        steps: how many steps it took.
        distance: of its last weights to the reference's, over how far the reference went.
        loss: its mean loss on the samples that all are judged by.
        reference_loss: the reference's loss on the same samples.
        reason: why the rule does not apply; empty where it does.
    """

    rule: str
    hyperparameters: Mapping[str, Any]
    steps: int
    distance: float
    loss: float
    reference_loss: float
    reason: str = ""


def evaluate_rules(
    model: _MakeModel,
    sampler: _Sampler,
    losses: _Losses,
    optimizer: str,
    hyperparameters: Mapping[str, Any],
    batch_size: int,
    to_batch_size: int,
    *,
    steps: int = 100,
    seeds: Sequence[int] = (0, 1, 2),
    noise: NoiseScale | None = None,
    names: Sequence[str] = (),
) -> list[RuleEvaluation]:
    """Train under each rule and report how far it lands from the reference.

    Args:
        model: makes the model, the same one at every call.
        sampler: `sampler(batch_size, seed)` draws a batch.
        losses: `losses(model, batch)` gives `[samples]`, a loss a sample.
        optimizer: a class of `torch.optim`.
        hyperparameters: for `batch_size`.
        batch_size: of the reference.
        to_batch_size: that the rules are for.
        steps: k, of the reference; `steps·batch_size` must be a multiple of `to_batch_size`.
        seeds: the experiment is run once for each, and averaged.
        noise: the gradient noise scale, for the rule that needs it.
        names: glob patterns of rules; all where there is none.

    Returns:
        One evaluation a rule, and first the reference itself on other samples.

    Raises:
        UsageError: The sizes do not fit, or a name is unknown.
    """
    given = {"batch_size": batch_size, "to_batch_size": to_batch_size, "steps": steps, "seeds": len(seeds)}
    if small := next((name for name, value in given.items() if value < 1), None):
        raise UsageError(f"{small} is {given[small]}: a whole number of at least 1 is needed")
    if steps * batch_size % to_batch_size:
        raise UsageError(
            f"{steps} steps of {batch_size} samples are no whole number of steps of {to_batch_size}; "
            f"take a multiple of {to_batch_size // math.gcd(batch_size, to_batch_size)} steps"
        )
    new_steps = steps * batch_size // to_batch_size
    judge = sampler(max(batch_size, to_batch_size) * 8, _seed(max(seeds) + 1, 0))
    start = _weights(model())

    def train(settings: Mapping[str, Any], size: int, count: int, seed: int) -> nn.Module:
        return _train(
            model(),
            ((sampler(size, _seed(seed, step))) for step in range(count)),
            losses,
            optimizer,
            settings,
        )

    def loss(trained: nn.Module) -> float:
        return float(values(lambda: losses(trained, judge)).double().mean())

    references = {seed: train(hyperparameters, batch_size, steps, seed) for seed in seeds}
    reference_loss = sum(loss(r) for r in references.values()) / len(seeds)

    def evaluation(
        name: str, settings: Mapping[str, Any], size: int, count: int, shift: int
    ) -> RuleEvaluation:
        distances, found = [], []
        for seed, reference in references.items():
            trained = train(settings, size, count, seed + shift)
            there = _weights(reference)
            distances.append(
                float((_weights(trained) - there).norm() / (there - start).norm().clamp(min=1e-300))
            )
            found.append(loss(trained))
        mean = [sum(values) / len(values) for values in (distances, found)]
        return RuleEvaluation(name, dict(settings), count, mean[0], mean[1], reference_loss)

    beyond = max(seeds) - min(seeds) + 2
    evaluations = [evaluation("other samples", hyperparameters, batch_size, steps, beyond)]
    for rule in rules.match(names):
        try:
            settings = rule.apply(optimizer, hyperparameters, batch_size, to_batch_size, noise=noise)
        except UsageError as error:
            nothing = RuleEvaluation(rule.name, {}, 0, math.nan, math.nan, reference_loss, str(error))
            evaluations.append(nothing)
            continue
        evaluations.append(evaluation(rule.name, settings, to_batch_size, new_steps, 2 * beyond))
    return evaluations


def _train(
    model: nn.Module,
    batches: Iterator[Any],
    losses: _Losses,
    optimizer: str,
    hyperparameters: Mapping[str, Any],
) -> nn.Module:
    """`model`, trained on the mean of each batch's losses."""
    model = copy.deepcopy(model)
    parameters = [p for p in model.parameters() if p.requires_grad]
    stepper = getattr(torch.optim, optimizer)(parameters, **hyperparameters)
    for batch in batches:
        stepper.zero_grad()
        losses(model, batch).mean().backward()
        stepper.step()
    return model


def _weights(model: nn.Module) -> Tensor:
    """`[params]` the trained weights, in float64."""
    return torch.cat([p.detach().double().flatten() for p in model.parameters() if p.requires_grad])


def _seed(run: int, step: int) -> int:
    """A seed of its own for every batch of every run."""
    return run * 1_000_003 + step
