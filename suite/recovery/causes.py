"""What was done to a gradient besides weighting its units: causes that an experiment can tell apart.

Each look changes one thing and runs the step again (without dropout, with other random numbers, at
parameters moved a little), or solves for the weights with one thing taken into account. A cause is
named where that explains the gradient to rounding, and never otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from suite.recovery.experiment import Experiment, Weighting
from suite.recovery.identify import Match, plainness, rounded
from suite.recovery.solve import Root, solve
from suite.recovery.step import Blocks

if TYPE_CHECKING:
    from suite.algebra.units import Column

SEEDS = (1, 2)


@dataclass(frozen=True, eq=False)
class Cause:
    """Something that was done to the gradient, and what is beneath it.

    Args:
        name: in two or three words.
        says: one sentence with its numbers.
        weights: `[units]` the weights beneath it, where they can be told, or None.
        convention: the name of the convention that those are, or None.
        scale: against that convention, or None.
    """

    name: str
    says: str
    weights: Column | None = None
    convention: str | None = None
    scale: float | None = None


def why(tried: Experiment) -> Cause | None:
    """Why no weighting of the units explains the step's gradient, or None where that cannot be told."""
    for look in (_random_layers, _noise, _clipped_values, _by_tensor, _decay):
        cause = look(tried)
        if cause is not None:
            return cause
    return None


def clipped_by_norm(tried: Experiment, column: Column) -> Cause | None:
    """Whether the gradient, a multiple of the weighting `column`, was brought to a fixed norm.

    A threshold betrays itself by staying where it is while the parameters, and with them the norm of
    the weighted gradient, move.
    """
    if not _held(tried, column, list(tried.gradient)):
        return None
    norm = _norm(tried.gradient, list(tried.gradient))
    return Cause(
        "clipped by norm",
        f"the norm stays at {norm:.4g} when the parameters move: the gradient was clipped to it",
    )


def _random_layers(tried: Experiment) -> Cause | None:
    """Dropout, BatchNorm in train mode: gone, with all else the same, when they are switched off."""
    for kinds in (("dropout",), ("BatchNorm",), ("dropout", "BatchNorm")):
        gradient = tried.again(without=kinds)
        if tried.differ(gradient, tried.gradient):
            found = tried.weighting(gradient)
            if found.linear:
                name = " and ".join(kinds) + (" in train mode" if "BatchNorm" in kinds else "")
                return _beneath(name, "the rest is a weighting of the units without it", found)
    return None


def _noise(tried: Experiment) -> Cause | None:
    """Noise, or random inputs: the gradient is another one at the next call."""
    if tried.differ(tried.again(), tried.gradient):
        said = "though torch's, numpy's and Python's random states were the same"
        return Cause("noise", f"the gradient changes from call to call, {said}")
    other = [tried.again(seed=seed) for seed in SEEDS]
    if not any(tried.differ(gradient, tried.gradient) for gradient in other):
        return None
    apart = tried.distance(*other) / 2**0.5
    share = apart / max(tried.size, 1e-300)
    return Cause(
        "noise",
        f"the gradient changes from call to call, by {share:.2g} of its norm: noise was added, or the "
        "inputs are random",
    )


def _clipped_values(tried: Experiment) -> Cause | None:
    """Clipping by value: the entries below the largest are a weighting, and it is held at the others."""
    largest = max(float(part.abs().max()) for part in tried.gradient.values())
    below = {name: part.abs() < largest for name, part in tried.gradient.items()}
    cut = sum(int((~mask).sum()) for mask in below.values())
    if largest == 0.0 or cut < 2:
        return None
    found = tried.weighting(tried.gradient, keep=below)
    if not found.linear or found.spans:
        return None
    full = tried.reduce(found.solution.weights)
    slack = largest * tried.half_digits
    for name, mask in below.items():
        there, given = full[name][~mask], tried.gradient[name][~mask]
        if bool((there * given.sign() < largest - slack).any()):
            return None
    says = f"{cut} entries are held at ±{largest:.6g}; the others are a weighting of the units"
    return _beneath("clipped by value", says, found)


def _by_tensor(tried: Experiment) -> Cause | None:
    """A factor of its own for each parameter: clipping tensor by tensor, frozen tensors."""
    found: list[tuple[Match, dict[str, float]]] = []
    for convention, column in tried.applying:
        if convention.family == "faults":
            continue
        factors = _factors(tried, column)
        if factors is not None:
            top = rounded(max(factors.values(), key=abs), tried.half_digits)
            found.append((Match(convention, top, column), factors))
    if not found:
        return None
    best, factors = min(found, key=lambda pair: plainness(pair[0]))
    name, scale = best.convention.name, best.scale
    norms = {n: _norm(tried.gradient, [n]) for n in factors}
    cut = [n for n in factors if norms[n] > 0 and _held(tried, best.column, [n])]
    rest = [n for n in factors if n not in cut]
    if cut and all(abs(factors[n] / scale - 1) <= tried.half_digits for n in rest):
        held = sorted({f"{norms[n]:.4g}" for n in cut})
        says = f"{len(cut)} of {len(factors)} tensors are clipped, each on its own, to {', '.join(held)}"
        return Cause("clipped tensor by tensor", says, None, name, scale if rest else None)
    listed = ", ".join(f"{n} {factor:.4g}" for n, factor in list(factors.items())[:4])
    more = f" and {len(factors) - 4} more" if len(factors) > 4 else ""
    says = f"each tensor has a factor of its own against {name}: {listed}{more}"
    return Cause("a factor for each tensor", says, None, name, scale)


def _factors(tried: Experiment, column: Column) -> dict[str, float] | None:
    """By parameter, the factor of `column`'s gradient; None where one is no multiple of it."""
    factors = {}
    largest = float(np.abs(column) @ tried.root.norms)
    for name, part in tried.parts.items():
        gradient = part.gradients @ column
        size, whole = float(np.linalg.norm(gradient)), float(np.abs(column) @ part.norms)
        # Where the exact gradient is zero (the key bias of attention) what there is of it is rounding.
        if size <= tried.precision * largest:
            if float(np.linalg.norm(part.side)) > max(tried.half_digits * whole, tried.precision * largest):
                return None
            continue
        factor = float(gradient @ part.side) / size**2
        rest = float(np.linalg.norm(part.side - factor * gradient))
        if rest > tried.half_digits * abs(factor) * whole:
            return None
        factors[name] = factor
    return factors or None


def _decay(tried: Experiment) -> Cause | None:
    """An L2 term: the parameters themselves explain the rest."""
    whole = tried.root
    with_parameters = Root(whole.r, whole.units + 1)
    solution = solve(with_parameters.gradients, whole.side, tried.precision)
    if not solution.identifiable[-1] or not tried.is_linear(solution, with_parameters.norms):
        return None
    rest = Root(
        np.column_stack([whole.gradients, whole.side - solution.weights[-1] * whole.r[:, -2]]),
        whole.units,
    )
    found = tried.weighting_of(rest)
    says = f"{solution.weights[-1]:.6g} × the parameters is part of the gradient"
    return _beneath("an L2 term", says, found)


def _beneath(name: str, says: str, found: Weighting) -> Cause:
    first = found.matches[0] if found.matches else None
    return Cause(
        name,
        says,
        found.shown,
        None if first is None else first.convention.name,
        None if first is None else first.scale,
    )


def _held(tried: Experiment, column: Column, names: list[str]) -> bool:
    """Whether the norm over these parameters stays, while that of `column`'s gradient moves."""
    before, base = _norm(tried.gradient, names), _norm(tried.reduce(column), names)
    for seed in SEEDS:
        gradient, weighted = tried.moved(seed, column)
        drift = abs(_norm(gradient, names) / before - 1)
        expected = abs(_norm(weighted, names) / base - 1)
        if drift <= 0.01 * expected:
            return True
    return False


def _norm(gradient: Blocks, names: list[str]) -> float:
    squares = [gradient[name].double().square().sum() for name in names]
    return float(torch.stack(squares).sum().sqrt())
