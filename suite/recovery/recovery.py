"""Recovery: the weight that each unit really got in anybody's training step.

A gradient that weights the units, `g = Gᵀc`, betrays its weights: solve for `c`. Where units are more
than parameters, or alike, or silent, some weights cannot be told; they are named, never guessed. What
no weighting explains is the residual, and where its cause can be told it is named.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from suite import batch as batches
from suite.batch import Batch
from suite.conventions import Convention
from suite.engines.compute import Checked, gradients
from suite.errors import UsageError
from suite.protocols import Losses, Regulariser
from suite.recovery.causes import Cause, clipped_by_norm, why
from suite.recovery.experiment import Experiment
from suite.recovery.naming import coinciding, mistake
from suite.recovery.solve import Group, groups
from suite.recovery.step import Step, gradient_of, in_eval_mode
from suite.units import Column, Units

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Recovery:
    """The weights behind a gradient, and what can be said of them.

    Args:
        units: the units table.
        weights: `[units]` the weight of each unit; nan where it cannot be told.
        error: `[units]` a bound of each weight's error; infinite where it cannot be told.
        identifiable: `[units]` whether the weight can be told from this batch.
        groups: units whose gradients are multiples of each other, with the sum that can be told.
        silent: the units whose gradient is zero.
        residual: the norm of what no weighting of the units explains, relative to the gradient.
        norm: the norm of the gradient.
        condition: by how much the units' gradients, brought to length one, magnify an error at most.
        linear: whether the gradient is a weighting of the units, up to rounding.
        spans: whether the units' gradients span all directions, so that any gradient is a weighting.
        convention: the registered convention whose coefficients these are, times `scale`, or None.
        scale: the gradient over the convention's; None where there is no convention.
        also: the names of the other conventions that give this very gradient on this batch.
        fault: the known mistake among them, where it shows on this batch, or None.
        cause: what was done to the gradient besides weighting, where that can be told, or None.
        engine: the engine that computed the units' gradients.
    """

    units: Units
    weights: Column
    error: Column
    identifiable: NDArray[np.bool_]
    groups: tuple[Group, ...]
    silent: tuple[int, ...]
    residual: float
    norm: float
    condition: float
    linear: bool
    spans: bool
    convention: Convention | None
    scale: float | None
    also: tuple[str, ...]
    fault: Convention | None
    cause: Cause | None
    engine: str

    @property
    def names(self) -> tuple[str, ...]:
        """All conventions that give this gradient on this batch, as it is or times `scale`."""
        return () if self.convention is None else (self.convention.name, *self.also)

    @property
    def frame(self) -> pd.DataFrame:
        """The units table with weights, error bounds and what can be told."""
        return self.units.frame.assign(weight=self.weights, error=self.error, identifiable=self.identifiable)

    def card(self) -> dict[str, Any]:
        """All of it, for machines."""
        return {
            "samples": self.units.n,
            "weights": self.weights.tolist(),
            "error": self.error.tolist(),
            "identifiable": self.identifiable.tolist(),
            "groups": [
                {"units": g.units, "ratios": g.ratios, "total": g.total, "error": g.error}
                for g in self.groups
            ],
            "silent": self.silent,
            "residual": self.residual,
            "norm": self.norm,
            "condition": self.condition,
            "linear": self.linear,
            "spans": self.spans,
            "convention": self.convention and self.convention.name,
            "scale": self.scale,
            "also": self.also,
            "fault": self.fault and self.fault.name,
            "cause": self.cause and {"name": self.cause.name, "says": self.cause.says},
            "engine": self.engine,
        }

    def plot(self, path: str | Path, *, width: str = "two") -> None:
        """Draw the weights, a bar a unit, into a file that ends in .pdf, .svg or .png.

        Args:
            path: of the file.
            width: of one or of `two` columns of a page.

        Raises:
            UsageError: Another ending or width, matplotlib is missing, or the file cannot be written.
        """
        from suite.plotting import style, weights

        shown = weights.of_card(self.card())
        style.save(Path(path), width, lambda figure: weights.draw(figure, shown))

    def __str__(self) -> str:
        from suite.recovery.text import text

        return text(self)


def recover(
    step: Step,
    model: nn.Module,
    batch: Batch,
    losses: Losses,
    *,
    units: Units | None = None,
    regulariser: Regulariser | None = None,
    engine: str = "opacus",
) -> Recovery:
    """The weight that each unit of `batch` got in the gradient of a training step.

    Args:
        step: `step(model, batch)` leaves a gradient in `.grad`, or returns it (`[params]`, a sequence in
            the order of the parameters, or by name); it may call `optimizer.step()`, once.
        model: left as it is, with its buffers, gradients and modes; so are the random states. The
            units are those of the model in eval mode: only there has a sample a loss of its own.
        batch: a tensor, or a tuple, list or dict of tensors, samples along the first axis.
        losses: `losses(model, batch)` gives the unreduced losses, `[samples]` or `[samples, parts]`.
        units: the units table, which says what is in which micro-batch or on which rank, and what
            else conventions ask for; by default it holds samples and parts alone.
        regulariser: `regulariser(model)` gives a scalar, whose gradient is the last unit's.
        engine: the engine that is to compute the units' gradients.

    Raises:
        UsageError: The step fails or leaves no gradient; the losses or the units table do not fit.
        CaseError: No engine computes the units' gradients rightly.
    """
    return recovery(experiment(step, model, batch, losses, units, regulariser, engine))


def experiment(
    step: Step,
    model: nn.Module,
    batch: Batch,
    losses: Losses,
    units: Units | None,
    regulariser: Regulariser | None,
    engine: str,
) -> Experiment:
    """A step with its gradient and the units' gradients."""
    gradient = gradient_of(step, model, batch)
    calm = in_eval_mode(model)
    found = gradients(calm, batch, losses, engine=engine, regulariser=regulariser)
    units = _units(units, found, batch, regulariser is not None)
    return Experiment(step, model, batch, losses, regulariser, units, found, gradient)


def recovery(tried: Experiment) -> Recovery:
    """What the weights behind a step's gradient are, and what they are called."""
    weighting = tried.weighting_of(tried.root)
    solution, found = weighting.solution, weighting.matches
    best = found[0] if found else None
    cause = None
    if not weighting.linear:
        cause = why(tried)
    elif best is not None and best.simplicity is None and not weighting.spans:
        cause = clipped_by_norm(tried, best.column)
    same = coinciding(found)
    return Recovery(
        units=tried.units,
        weights=weighting.shown,
        error=solution.error,
        identifiable=solution.identifiable,
        groups=groups(tried.root.gradients, solution, tried.precision),
        silent=tuple(np.flatnonzero(solution.silent).tolist()),
        residual=solution.residual / solution.size if solution.size > 0 else 0.0,
        norm=solution.size,
        condition=solution.condition,
        linear=weighting.linear,
        spans=weighting.spans,
        convention=None if best is None else best.convention,
        scale=None if best is None else best.scale,
        also=tuple(match.convention.name for match in same[1:]),
        fault=mistake(same),
        cause=cause,
        engine=tried.found.engine,
    )


def _units(given: Units | None, found: Checked, batch: Batch, regulariser: bool) -> Units:  # noqa: FBT001
    count, samples = found.shape[0], batches.size(batch)
    if given is None:
        width = (count - regulariser) // samples
        parts = tuple(map(str, range(width))) if width > 1 else ()
        return Units.of(samples, parts=parts, regulariser=regulariser)
    if len(given) != count:
        raise UsageError(
            f"the units table has {len(given)} units, the losses and the regulariser have {count}"
        )
    return given
