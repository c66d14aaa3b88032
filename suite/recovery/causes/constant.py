"""A part of the gradient that no sample changes: a penalty, the loss of other data, momentum, a leftover.

The step is run on single samples. What it leaves there and on the batch differs by a weighting of the units
alone, to a factor where it clips: that difference has the weights, and what is left is the same part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from suite.algebra.units import Column
from suite.errors import UsageError
from suite.loops import batch as batches
from suite.recovery.causes.cause import SEEDS, Cause, Trial, beneath, norm_of
from suite.recovery.causes.clipping import held_whole
from suite.recovery.losses import even
from suite.recovery.solve import Root, roots, solve, together
from suite.recovery.step import GradientByName

NAME = "a part that no sample changes"
NAMED = 3


def unchanged_part(trial: Trial) -> Cause | None:
    """A part that is the same on every piece of the batch, beside a weighting of the units."""
    tried, samples = trial.tried, batches.size(trial.tried.batch)
    if not tried.reruns or tried.random or tried.coarse or samples < 2:
        return None
    found = _weights(trial, [[row] for row in sorted({0, samples // 2, samples - 1})])
    if found is None:
        found = _weights(trial, [list(rows) for rows in even(samples, 1)[0]])
    if found is None:
        return None
    column, scaled = found
    if scaled and held_whole(tried) is None:
        return None
    whole = trial.as_is.root
    weighted = Root(np.column_stack([whole.gradients, whole.gradients @ column]), whole.units)
    beneath_it = trial.as_is.weighting_of(weighted)
    given = tried.reduce(column)
    part = {name: trial.gradient[name].double() - given[name].double() for name in trial.gradient}
    cause = beneath(*_named(trial, part, column), beneath_it)
    # What is the regulariser's is the same whatever the samples, too.
    return replace(cause, weights=np.where(tried.units.data, beneath_it.shown, np.nan))


def _weights(trial: Trial, pieces: list[list[int]]) -> tuple[Column, bool] | None:
    """The weights of the batch's units, and whether pieces are scaled; None where there is no such part.

    On a piece the step leaves `αg + Σ w_u g_u`: units of other samples have the weight `−αc_u` there.
    """
    tried = trial.tried
    inside = [np.isin(tried.units.sample, rows) | ~tried.units.data for rows in pieces]
    columns: list[Column] = []
    scaled = False
    for rows in pieces:
        try:
            chosen = batches.select(tried.batch, torch.tensor(rows, device="cpu"))
            left = tried.again(batch=chosen, without=trial.without)
        except UsageError:
            return None
        both = together(roots(tried.blocks, [trial.gradient, left]))
        root = Root(both.r, both.units + 1)
        solution = solve(root.gradients, root.side, tried.precision)
        factor = solution.weights[-1]
        known = solution.identifiable | solution.silent
        if solution.rank == len(root.r) or not known.all() or factor <= tried.half_digits:
            return None
        if solution.residual > tried.half_digits * solution.size:
            return None
        columns.append(-solution.weights[:-1] / factor)
        scaled |= bool(abs(factor - 1) > tried.half_digits)
    column = np.full(len(tried.units), np.nan)
    for other, own in zip(columns, inside, strict=True):
        column = np.where(own, column, other)
    column[~tried.units.data] = 0.0
    agree = all(
        bool((np.abs(other - column)[~own] <= tried.half_digits * np.abs(column).max()).all())
        for other, own in zip(columns, inside, strict=True)
    )
    return (column, scaled) if np.isfinite(column).all() and agree else None


def _named(trial: Trial, part: GradientByName, column: Column) -> tuple[str, str]:
    """What the part is, as far as the parameters tell: in a word, and in a sentence."""
    tried = trial.tried
    own = {name: p.detach().double() for name, p in tried.model.named_parameters()}
    largest = norm_of(part)
    heard = [name for name in part if norm_of(part, [name]) > tried.half_digits * largest]
    more = f" and {len(heard) - NAMED} more" if len(heard) > NAMED else ""
    of = "" if len(heard) == len(part) else f" of {', '.join(heard[:NAMED])}{more}"
    squares, signs = _mixed([part[n] for n in heard], [own[n] for n in heard], tried.half_digits)
    if squares or signs:
        name = "L2 and L1 terms" if squares and signs else "an L2 term" if squares else "an L1 term"
        terms = [f"{squares:.6g} × the parameters{of}"] * bool(squares)
        terms += [f"{signs:.6g} × the signs of {'these' if squares else f'the parameters{of}'}"] * bool(signs)
        return name, f"{' and '.join(terms)} {'are' if len(terms) > 1 else 'is'} part of the gradient"
    factors = [_factor(part[n], own[n], tried.half_digits) for n in heard]
    listed = ", ".join(f"{f:.4g} × {n}" for n, f in list(zip(heard, factors, strict=True))[:NAMED] if f)
    if all(factor is not None for factor in factors):
        return NAME, f"{listed}{more} are part of the gradient, as of a penalty on norms"
    share = f"{largest / norm_of(trial.gradient):.2%} of the gradient"
    if _stays(trial, part, column):
        return NAME, (
            f"{share} is the same whatever the samples and the parameters, as momentum is, or a gradient "
            "that was not set to zero before"
        )
    return NAME, (
        f"{share} is the same whatever the samples, as of a penalty on the parameters, which `regulariser` "
        "can give, or of a loss of other data than the batch"
    )


def _mixed(parts: list[Tensor], own: list[Tensor], digits: float) -> tuple[float, float]:
    """The factors of the parameters and of their signs, where these are all; else zeros."""
    side = torch.cat([part.flatten() for part in parts]).cpu()
    values = torch.cat([p.flatten() for p in own]).cpu()
    matrix = torch.stack([values, values.sign()], 1)
    factors = torch.linalg.lstsq(matrix, side[:, None]).solution[:, 0]
    if float((side - matrix @ factors).norm()) > digits * float(side.norm()):
        return 0.0, 0.0
    heard = factors.abs() * matrix.norm(dim=0) > digits * side.norm()
    squares, signs = (float(f) if said else 0.0 for f, said in zip(factors, heard, strict=True))
    return squares, signs


def _factor(part: Tensor, own: Tensor, digits: float) -> float | None:
    """By how much one tensor is multiplied; None where it is no multiple."""
    square = float(own.square().sum())
    factor = float((part * own).sum()) / square if square > 0.0 else 0.0
    return factor if float((part - factor * own).norm()) <= digits * float(part.norm()) else None


def _stays(trial: Trial, part: Mapping[str, Tensor], column: Column) -> bool:
    """Whether the part is the same where the parameters are moved."""
    for seed in SEEDS:
        gradient, weighted = trial.tried.moved(seed, column, trial.without)
        if weighted is None:
            return False
        rest = {name: gradient[name].double() - weighted[name].double() - part[name] for name in part}
        if norm_of(rest) > trial.tried.half_digits * norm_of(gradient):
            return False
    return True
