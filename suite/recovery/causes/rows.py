"""A factor of its own for each row of the tensors; clipping to a share of each parameter's own norm."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from torch import Tensor

from suite.recovery.causes.cause import Cause, Trial
from suite.recovery.experiment import Experiment
from suite.recovery.identify import Match, match_plainness, rounded
from suite.recovery.step import GradientByName

FLOOR = 1e-2  # the norm of a parameter below which thresholds are a constant


@dataclass(frozen=True)
class Piece:
    """A part of the gradient that has one factor.

    Args:
        factor: against the convention.
        size: its norm.
        own: the norm of the parameters there.
    """

    factor: float
    size: float
    own: float


def by_row(trial: Trial) -> Cause | None:
    """A factor of its own for each row of the weights, as clipping of units leaves one."""
    tried = trial.as_is
    found: list[tuple[Match, list[Piece]]] = []
    for convention, column in tried.applying:
        if convention.family == "faults":
            continue
        pieces = _pieces(tried, trial.gradient, tried.reduce(column))
        if pieces:
            top = rounded(max((piece.factor for piece in pieces), key=abs), tried.half_digits)
            found.append((Match(convention, top, column), pieces))
    if not found:
        return None
    best, pieces = min(found, key=lambda pair: match_plainness(pair[0]))
    name = best.convention.name
    share = own_share(pieces, best.scale, tried.half_digits, "rows")
    if share is not None:
        told = replace(share, name="clipped row by row", convention=name)
        return plainest(told, [match for match, _ in found])
    lowest = min(pieces, key=lambda piece: abs(piece.factor)).factor
    says = f"each row of a tensor has a factor of its own against {name}: {lowest:.4g} to {best.scale:.4g}"
    return Cause("a factor for each row", says, None, name, best.scale)


def plainest(cause: Cause, found: list[Match]) -> Cause:
    """The cause beneath which there is the mean, where clipping leaves no scale that would tell."""
    mean = cause.scale is None and any(match.convention.name == "mean" for match in found)
    return replace(cause, convention="mean") if mean else cause


def own_share(pieces: list[Piece], scale: float, digits: float, what: str) -> Cause | None:
    """That pieces are held at a share of the norm of their own parameters; None where they are not."""
    cut = [piece for piece in pieces if abs(piece.factor / scale - 1) > digits]
    all_of_them = len(cut) >= len(pieces) - 1  # the largest factor may be a clipped one
    cut = pieces if all_of_them else cut
    asked = [piece.size / piece.own for piece in cut if piece.own > FLOOR]
    if len(asked) < 2 or min(asked) == 0.0 or max(asked) - min(asked) > digits * max(asked):
        return None
    says = (
        f"{len(cut)} of {len(pieces)} {what} are held at {asked[0]:.4g} × the norm of their own parameters, "
        "as adaptive clipping and trust ratios hold them"
    )
    return Cause("", says, None, None, None if all_of_them else scale)


def _pieces(tried: Experiment, gradient: GradientByName, weighted: GradientByName) -> list[Piece]:
    """The factors of the rows; none where a row is no multiple, or where nothing could fail."""
    parameters = {name: p.detach() for name, p in tried.model.named_parameters()}
    found: list[Piece] = []
    rows = 0
    largest = max(float(part.double().norm()) for part in weighted.values())
    for name, given in gradient.items():
        several = given.ndim > 1 and given[0].numel() > 1
        for side, part, own in _rows(given, weighted[name], parameters[name], several=several):
            size = float(part.norm())
            if size <= tried.precision * largest:
                if float(side.norm()) > tried.half_digits * largest:
                    return []
                continue
            factor = float(part @ side) / size**2
            rest = float((side - factor * part).norm())
            if rest > tried.half_digits * abs(factor) * max(size, tried.precision * largest):
                return []
            rows += several
            found.append(Piece(factor, float(side.norm()), float(own.norm())))
    return found if rows > 1 else []


def _rows(
    given: Tensor, weighted: Tensor, own: Tensor, *, several: bool
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    parts = [each.double().reshape(len(each) if several else 1, -1) for each in (given, weighted, own)]
    yield from zip(*(part.unbind() for part in parts), strict=True)
