"""`assert_convention`: for people's own tests, what their training step must compute."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from suite.conventions import conventions
from suite.errors import UsageError
from suite.machine.global_state import full_precision
from suite.recovery.advice import advice
from suite.recovery.experiment import Experiment
from suite.recovery.identify import compared
from suite.recovery.recovery import experiment, recovery
from suite.recovery.result import Recovery
from suite.recovery.samples import given_batch

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

    from suite.algebra.units import Column, Units
    from suite.conventions import Convention
    from suite.loops.batch import Batch, Choose
    from suite.loops.loop import Losses, Regulariser
    from suite.recovery.samples import Collate
    from suite.recovery.step import Step


def assert_convention(
    step: Step,
    model: nn.Module,
    batch: Batch,
    losses: Losses,
    name: str,
    *,
    units: Units | None = None,
    regulariser: Regulariser | None = None,
    optimizer: Optimizer | None = None,
    engine: str = "opacus",
    select: Choose | None = None,
    collate: Collate | None = None,
    memory: int | None = None,
) -> None:
    """Pass if the gradient of a training step is that of a convention; fail with what it is instead.

    Args:
        step: see `recover`, as for the other arguments that are not named here.
        model: left as it is.
        batch: the samples.
        losses: the unreduced losses.
        name: of the convention that the step must compute.
        units: the units table.
        regulariser: gives the last unit's loss.
        optimizer: the optimizer in use, whose hyperparameters the failure then names; by default it
            says what becomes of those of SGD, Adam and AdamW.
        engine: the engine that is to compute the units' gradients.
        select: picks samples of a batch that is laid out in a way of its own.
        collate: makes a batch of a list of samples.
        memory: how many bytes the units' gradients and what is made of them may take.

    Raises:
        AssertionError: The gradient is another one. The message has the weights that were found, the
            convention that they are, and the hyperparameters with which they take the same steps.
        UsageError: See `recover`; or there is no such convention, or it does not apply to the units.
        CaseError: See `recover`.

    Examples:
        >>> import gradsuite
        >>> import torch
        >>> import torch.nn.functional as F
        >>> model = torch.nn.Linear(8, 1)
        >>> batch = torch.randn(4, 8), torch.randn(4, 1)
        >>> def losses(model, batch):
        ...     return F.mse_loss(model(batch[0]), batch[1], reduction="none").sum(1)
        >>> def step(model, batch):
        ...     losses(model, batch).mean().backward()
        >>> gradsuite.assert_convention(step, model, batch, losses, "mean")
        >>> gradsuite.assert_convention(step, model, batch, losses, "sum")
        Traceback (most recent call last):
            ...
        AssertionError: the step does not compute 'sum'...
    """
    __tracebackhide__ = True  # pytest shows the line of the test
    wanted = conventions[name]
    given = given_batch(batch, select, collate)
    with full_precision():
        tried = experiment(step, model, given, losses, units, regulariser, engine, memory)
        found = recovery(tried)
        said = complaint(tried, found, wanted, optimizer)
    if said:
        raise AssertionError(f"the step does not compute {name!r}.\n{found}\n\n{said}")


def complaint(
    tried: Experiment, found: Recovery, wanted: Convention, optimizer: Optimizer | None = None
) -> str:
    """What to change so that this gradient takes the steps of the wanted one; empty where it does.

    Raises:
        UsageError: The convention does not apply to the units.
    """
    missing = wanted.missing(tried.units)
    if missing is not None:
        raise UsageError(
            f"convention {wanted.name!r} does not apply: {missing}; if there is more, say so in units="
        )
    column = wanted.coefficients(tried.units, tried.root.gram)
    if tried.blind:
        return (
            f"Whether it does cannot be told: rounding of {found.rounding} may be as large as the gradient. "
            "Give a step in float32."
        )
    if found.scale == 1.0 and wanted.name in found.names:
        return _unresolved(tried, found, wanted.name, column)
    if found.linear and found.cause is not None and not found.rounding:
        return f"No learning rate makes up for it on every batch: {found.cause.says}."
    scale, rest = compared(tried.root, column)
    scale = next((m.scale for m in tried.whole.matches if m.convention is wanted), scale)
    if scale is None:
        return f"The gradient of {wanted.name!r} is zero on this batch."
    if rest > tried.half_digits:
        return (
            f"{rest:.2%} of the gradient lies in another direction than {wanted.name!r}: no "
            "hyperparameter makes up for that, the step itself must change."
        )
    if scale <= 0:
        return f"The gradient is {scale:.6g} times that of {wanted.name!r}: its sign is wrong."
    return advice(found, wanted, scale, tried.model, optimizer)


def _unresolved(tried: Experiment, found: Recovery, name: str, column: Column) -> str:
    """What else the gradient may be, where rounding hides another scale; empty where it hides none."""
    gradient = tried.root.gradients @ column
    scales: dict[str, float] = {}
    for convention, other in tried.applying:
        if convention.name in found.unresolved:
            theirs = tried.root.gradients @ other
            scale = float(theirs @ gradient) / float(gradient @ gradient)
            if np.linalg.norm(theirs - scale * gradient) <= 1e-6 * np.linalg.norm(theirs):
                scales[convention.name] = scale
    if not scales:
        return ""
    listed = ", ".join(f"{other!r} ({scale:.6g} × {name!r})" for other, scale in scales.items())
    return (
        f"Whether it does cannot be told: rounding of {found.rounding} hides the difference from {listed}. "
        "Give a step in float32, or a batch on which they differ by more."
    )
