"""The training check of equivalent hyperparameters: both conventions of a pair train, each with its own.

One side trains with the reference's literal loop, the other with the convention's, for the same steps
on the same batches, in float64. Where one factor fits, the weights must stay together; where the
scale varies from batch to batch, the best constant rate is shown beside the rate of each step.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from suite.case import Problem
from suite.conventions import Convention, conventions
from suite.equivalence.equivalent import Equivalence, equivalent
from suite.equivalence.per_step_rates import per_step_rates
from suite.equivalence.trajectory import Backward, check_training, default_dtype_of, following, trajectory
from suite.errors import UsageError, one_line
from suite.loops.loop import Loop
from suite.records.fields import Row
from suite.report.learning_rates import PAIR_KEYS
from suite.running.measure import MeasureContext, taken
from suite.running.plan import Cell

HYPERPARAMETERS: Mapping[str, Mapping[str, float]] = {
    "SGD": {"lr": 1e-3, "momentum": 0.9, "weight_decay": 1e-2},
    "Adam": {"lr": 1e-3, "eps": 1e-8, "weight_decay": 1e-2},
}
"""What the reference is trained with: momentum and coupled decay, so that more than `lr` must change."""


KEPT_NUMBERS = 1 << 24
"""How many numbers of trained weights are kept, at most."""


class TrainedWeights:
    """The weights that references were trained to: the next convention may be compared with the same one."""

    def __init__(self) -> None:
        self._of: tuple[Any, ...] = ()
        self._known: dict[tuple[Any, ...], list[Tensor]] = {}

    def start(self, of: tuple[Any, ...]) -> None:
        """From here on trainings are `of` this; those of anything else are forgotten."""
        if of != self._of:
            self._of, self._known = of, {}

    def weights(
        self,
        model: nn.Module,
        loops: Sequence[Loop],
        convention: Convention,
        optimizer: str,
        hyperparameters: Mapping[str, Any],
    ) -> list[Tensor]:
        """`[steps]` the weights after each step under `convention`."""
        key = convention.name, optimizer, repr(sorted(hyperparameters.items()))
        if key in self._known:
            return self._known[key]
        with default_dtype_of(model):
            backward = _backward(convention, loops)
            weights = list(trajectory(model, backward, optimizer, hyperparameters, steps=len(loops)))
        if sum(w.numel() for some in (weights, *self._known.values()) for w in some) <= KEPT_NUMBERS:
            self._known[key] = weights
        return weights


def check_rates(
    problem: Problem,
    cells: Sequence[Cell],
    rates: Sequence[Row],
    context: MeasureContext,
    trained: TrainedWeights | None = None,
) -> Iterator[Row]:
    """Rows of kind `training_check` for those of SGD's `rates` that training can check.

    Args:
        problem: of the case.
        cells: its full batches of one size, one a step.
        rates: rows of kind `learning_rate` of the case at that size.
        context: the device, the seed and the exact dtype.
        trained: what was trained under the same setting before.
    """
    trained = trained or TrainedWeights()
    torch.manual_seed(context.seed)
    model = problem.model().to(device=context.device, dtype=context.exact)
    loops = [_loop(problem, model, cell, context) for cell in cells]
    for rate in rates:
        pair = conventions[rate["convention"]], conventions[rate["reference"]]
        trained.start((rate["case"], rate["batch_size"], len(loops)))
        identity = {"kind": "training_check", **{key: rate[key] for key in PAIR_KEYS}, "steps": len(loops)}
        if rate["status"] == "exact" and rate["factor"] != 1:
            for optimizer, given in HYPERPARAMETERS.items():
                found = equivalent(optimizer, given, scale=_exact(rate["scale_min"]))
                yield identity | {"optimizer": optimizer} | _same(model, loops, pair, found, trained)
        elif rate["status"] == "varies" and not any(c.uses_gram for c in pair):
            yield identity | {"optimizer": "SGD"} | _each(model, loops, pair, trained)


def _same(
    model: nn.Module,
    loops: Sequence[Loop],
    pair: tuple[Convention, Convention],
    found: Equivalence,
    trained: TrainedWeights,
) -> Row:
    new, reference = pair
    try:
        weights = trained.weights(model, loops, reference, found.optimizer, found.given)
        check = check_training(model, weights, _backward(new, loops), found, steps=len(loops))
    except UsageError as error:
        return {"check_reason": one_line(error)}
    return {
        "distance": check.converted,
        "distance_unchanged": _finite(check.unchanged),
        "distance_by_step": check.converted_by_step,
        "distance_unchanged_by_step": check.unchanged_by_step,
        "check_reason": "" if math.isfinite(check.unchanged) else "left unchanged, training diverges",
    }


def _each(
    model: nn.Module, loops: Sequence[Loop], pair: tuple[Convention, Convention], trained: TrainedWeights
) -> Row:
    """Plain SGD, which has no memory: setting its rate at each step is exact."""
    scales = [_ratio(loop, pair) for loop in loops]
    if None in scales:
        return {"check_reason": "a batch has no weight at all: it has no scale"}
    new, reference = pair
    given = {"lr": HYPERPARAMETERS["SGD"]["lr"]}
    weights = trained.weights(model, loops, reference, "SGD", given)
    found = per_step_rates(model, weights, _backward(new, loops), "SGD", given, [s for s in scales if s])
    return {
        "distance_best_constant": _finite(found.constant),
        "distance_per_step": found.per_step,
        "distance_best_constant_by_step": found.constant_by_step,
        "distance_per_step_by_step": found.per_step_by_step,
    }


def _ratio(loop: Loop, pair: tuple[Convention, Convention]) -> float | None:
    """The scale on one batch, from the columns: neither depends on the gradients."""
    a, b = (convention.column(loop.units) for convention in pair)
    return float(a[at] / b[at]) if b[at := int(np.argmax(np.abs(b)))] else None


def _loop(problem: Problem, model: nn.Module, cell: Cell, context: MeasureContext) -> Loop:
    host, batch = taken(cell, problem, context)
    return Loop(model, batch, problem.losses, cell.units(problem, host), problem.regulariser)


def _backward(convention: Convention, loops: Sequence[Loop]) -> Backward:
    # SGD and Adam look at gradients only.
    return following(convention, lambda model, step: replace(loops[step], model=model), loss=False)


def _exact(scale: float) -> Fraction:
    """The scale as the quotient of small whole numbers that it is a rounding of."""
    near = Fraction(scale).limit_denominator(10**6)
    return near if float(near) == scale else Fraction(scale)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
