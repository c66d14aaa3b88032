"""Clipping: by norm, by value, tensor by tensor or group by group."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from suite.algebra.units import Column
from suite.recovery.causes.cause import SEEDS, Cause, Trial, beneath, norm_of
from suite.recovery.causes.rows import Piece, own_share, plainest
from suite.recovery.experiment import Experiment
from suite.recovery.identify import Match, match_plainness, rounded

BY_NORM = "clipped by norm"
SILENT_SHOWN = 3


def clipped_by_norm(tried: Experiment, column: Column) -> Cause | None:
    """Whether the gradient, a multiple of the weighting `column`, was brought to a fixed norm.

    A threshold betrays itself by staying where it is while the parameters, and with them the norm of
    the weighted gradient, move.
    """
    if not Trial(tried, (), tried.gradient).held(column, list(tried.gradient)):
        return None
    norm = norm_of(tried.gradient)
    if norm > norm_of(tried.reduce(column)):  # clipping makes nothing longer
        return Cause(
            "brought to a norm",
            f"the norm stays at {norm:.4g} when the parameters move: the gradient was normalised to it, or "
            "is a longer one that was clipped to it",
        )
    return Cause(BY_NORM, _stays(norm))


def held_whole(tried: Experiment) -> str | None:
    """What shows that the whole gradient, whatever it is, has a fixed norm; None where nothing does.

    Its direction moves with the parameters, by hundreds of times more than its norm does, each time.
    """
    before = norm_of(tried.gradient)
    for seed in SEEDS:
        gradient, _ = tried.moved(seed)
        moved = tried.distance(gradient, tried.gradient) / before
        if moved <= tried.half_digits or abs(norm_of(gradient) / before - 1) > 1e-3 * moved:
            return None
    return _stays(before)


def _stays(norm: float) -> str:
    return f"the norm stays at {norm:.4g} when the parameters move: the gradient was clipped to it"


def clipped_values(trial: Trial) -> Cause | None:
    """Clipping by value: the entries below the largest are a weighting, and it is held at the others."""
    largest = max(float(part.abs().max()) for part in trial.gradient.values())
    below = {name: part.abs() < largest for name, part in trial.gradient.items()}
    cut = sum(int((~mask).sum()) for mask in below.values())
    if largest == 0.0 or cut < 2:
        return None
    found = trial.tried.weighting(trial.gradient, keep=below)
    if not found.linear or found.spans:
        return None
    full = trial.tried.reduce(found.solution.weights)
    slack = largest * trial.tried.half_digits
    for name, mask in below.items():
        there, given = full[name][~mask], trial.gradient[name][~mask]
        if bool((there * given.sign() < largest - slack).any()):
            return None
    says = f"{cut} entries are held at ±{largest:.6g}; the others are a weighting of the units"
    return beneath("clipped by value", says, found)


def by_tensor(trial: Trial) -> Cause | None:
    """A factor of its own for each parameter: clipping tensor by tensor or in groups, frozen tensors."""
    tried = trial.as_is
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
    best, factors = min(found, key=lambda pair: match_plainness(pair[0]))
    clipped = _clipped_groups(trial, best, factors)
    if clipped is not None:
        return plainest(clipped, [match for match, _ in found])
    name, scale = best.convention.name, best.scale
    own = {n: p.detach() for n, p in tried.model.named_parameters()}
    pieces = [Piece(f, norm_of(trial.gradient, [n]), norm_of(own, [n])) for n, f in factors.items()]
    share = own_share(pieces, scale, tried.half_digits, "tensors")
    if share is not None:
        told = replace(share, name="clipped tensor by tensor", convention=name)
        return plainest(told, [match for match, _ in found])
    silent = _silent(factors, scale, tried.half_digits)
    if silent is not None:
        return Cause("tensors without a gradient", silent, scale * best.column, name, scale)
    listed = ", ".join(f"{n} {factor:.4g}" for n, factor in list(factors.items())[:4])
    more = f" and {len(factors) - 4} more" if len(factors) > 4 else ""
    says = f"each tensor has a factor of its own against {name}: {listed}{more}"
    return Cause("a factor for each tensor", says, None, name, scale)


def _silent(factors: dict[str, float], scale: float, digits: float) -> str | None:
    """The tensors without a gradient, where all others are a multiple by `scale`."""
    silent = [name for name, factor in factors.items() if abs(factor) <= digits * abs(scale)]
    rest = [factor for name, factor in factors.items() if name not in silent]
    if not silent or any(abs(factor / scale - 1) > digits for factor in rest):
        return None
    more = f" and {len(silent) - SILENT_SHOWN} more" if len(silent) > SILENT_SHOWN else ""
    listed = ", ".join(silent[:SILENT_SHOWN])
    return (
        f"{len(silent)} of {len(factors)} tensors have none ({listed}{more}); that of the others is a "
        "weighting of the units"
    )


def _clipped_groups(trial: Trial, best: Match, factors: dict[str, float]) -> Cause | None:
    """Tensors clipped each on its own, or groups of tensors of one factor, each clipped as one."""
    name, scale = best.convention.name, best.scale
    held = lambda names: trial.held(best.column, names)  # noqa: E731  said twice below
    cut = [n for n in factors if norm_of(trial.gradient, [n]) > 0 and held([n])]
    rest = [n for n in factors if n not in cut]
    if cut and all(abs(factors[n] / scale - 1) <= trial.tried.half_digits for n in rest):
        norms = sorted({f"{norm_of(trial.gradient, [n]):.4g}" for n in cut})
        says = f"{len(cut)} of {len(factors)} tensors are clipped, each on its own, to {', '.join(norms)}"
        return Cause("clipped tensor by tensor", says, None, name, scale if rest else None)
    groups = _groups(factors, trial.tried.half_digits)
    cuts = [group for group in groups if norm_of(trial.gradient, group) > 0 and held(group)]
    rest = [n for group in groups if group not in cuts for n in group]
    if not cuts or len(groups) == len(factors):
        return None
    if any(abs(factors[n] / scale - 1) > trial.tried.half_digits for n in rest):
        return None
    told = "; ".join(
        f"{len(group)} tensors ({group[0]}{', …' if len(group) > 1 else ''}) to "
        f"{norm_of(trial.gradient, group):.4g}"
        for group in cuts
    )
    says = f"{told}" + (f"; the other {len(rest)} are not clipped" if rest else "")
    return Cause("clipped in groups of tensors", says, None, name, scale if rest else None)


def _groups(factors: dict[str, float], digits: float) -> list[list[str]]:
    """Tensors by their factors, those of one factor together."""
    found: list[list[str]] = []
    for name, factor in factors.items():
        near = [g for g in found if abs(factors[g[0]] - factor) <= digits * abs(factor)]
        if near:
            near[0].append(name)
        else:
            found.append([name])
    return found


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
