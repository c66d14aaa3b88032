"""A recovery as text for people: what was found, then the weights, one line for each that differs."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from suite.algebra.units import Column, Units
from suite.recovery.findings import Findings

LINES = 24


def text(found: Findings) -> str:
    """The report."""
    lines = [_headline(found), *_remarks(found), "", *table(found)]
    return "\n".join(lines)


def table(found: Findings) -> list[str]:
    """The weights, neighbours that are the same on one line; the first lines only of a long table.

    Where the step is no weighting these are the weights beneath the cause, or else the nearest ones.
    """
    weights, error = found.weights, found.error
    head = []
    if not found.linear:
        beneath = None if found.cause is None else found.cause.weights
        weights = weights if beneath is None else beneath
        error = np.full(len(weights), 1e-6 * np.nanmax(np.abs(weights), initial=0.0))
        head = [
            "The weights beneath it:"
            if beneath is not None
            else "The nearest weights, for what they are worth:"
        ]
    runs = _runs(weights, error)
    rows = [
        (_label(found.units, first, last), *_shown(weights[first : last + 1], error[first], found.units.n))
        for first, last in runs[:LINES]
    ]
    wide = max(len(row[0]) for row in rows)
    lines = [f"  {label:{wide}}  {shown:>12}  {share}".rstrip() for label, shown, share in rows]
    if len(runs) > LINES:
        lines.append(f"  … {len(runs) - LINES} lines more: .frame has them all")
    return head + lines


def _runs(weights: Column, error: Column) -> list[tuple[int, int]]:
    """Neighbouring units, first and last, whose weights are the same within their error."""
    runs: list[tuple[int, int]] = []
    for unit, weight in enumerate(weights):
        first = runs[-1][0] if runs else unit
        unknown = np.isnan(weight) and np.isnan(weights[first])
        same = unknown or abs(weight - weights[first]) <= error[unit] + error[first]
        if runs and same and np.isnan(weight) == np.isnan(weights[first]):
            runs[-1] = (first, unit)
        else:
            runs.append((unit, unit))
    return runs


def share_of_n(weight: float, n: int, error: float = 0.0) -> str:
    """`weight` as a small fraction of 1/n (`2/n`, `1/n`, `0`), or empty where it is none."""
    near = Fraction(weight * n).limit_denominator(12)
    if abs(float(near) - weight * n) > max(n * error, 1e-9) or abs(near.numerator) > 99:
        return ""
    if near == 0:
        return "0"
    below = "n" if near.denominator == 1 else f"({near.denominator}n)"
    return f"{near.numerator}/{below}"


def _headline(found: Findings) -> str:
    count, n = len(found.weights), found.units.n
    units = f"{count} units of {n} samples" if count != n else f"{n} samples"
    if found.norm == 0.0:
        return f"{units}: the step's gradient is zero."
    if not found.linear:
        cause = found.cause
        said = f"{cause.name}: {cause.says}" if cause else "its cause cannot be told"
        return (
            f"{units}: the step is no weighting of them; {found.residual:.2%} of the gradient is something "
            f"else ({said})."
        )
    if found.convention is None:
        return f"{units}: the weights are those of no registered convention."
    scale = "" if found.scale == 1 else f"{found.scale:.6g} × "
    clipped = f" ({found.cause.name}: {found.cause.says})" if found.cause else ""
    known = found.identifiable.sum() + len(found.silent) == count
    what = "weights are those of" if known else "gradient is that of"
    return f"{units}: the {what} {scale}{found.convention.name}{clipped}."


def _remarks(found: Findings) -> list[str]:
    lines = []
    if found.fault is not None:
        lines.append(f"A known mistake: {found.fault.summary} ({found.fault.name})")
    lines += [suspect.says for suspect in found.suspects]
    others = [name for name in found.also if found.fault is None or name != found.fault.name]
    if others:
        lines.append(f"The same on this batch: {', '.join(others)}.")
    if found.cause is not None and found.cause.convention is not None and not found.linear:
        factor = found.cause.scale
        scale = "" if factor in (None, 1) else f"{factor:.6g} × "
        lines.append(f"Beneath it the weights are those of {scale}{found.cause.convention}.")
    if found.spans:
        lines.append(
            "The units' gradients span all parameters: any gradient is a weighting of these units, so "
            "only a larger model or a smaller batch can tell."
        )
    for group in found.groups:
        names = ", ".join(_label(found.units, unit, unit) for unit in group.units)
        what = "have the same gradient" if group.duplicates else "have parallel gradients"
        known = (
            "not even their sum can be told"
            if group.total is None
            else f"only their {'sum' if group.duplicates else 'weighted sum'} can be told: {group.total:.6g}"
        )
        lines.append(f"{names} {what}: {known}.")
    if found.silent:
        names = ", ".join(_label(found.units, unit, unit) for unit in found.silent[:8])
        more = f" and {len(found.silent) - 8} more" if len(found.silent) > 8 else ""
        lines.append(f"{names}{more}: no gradient, so no weight can be told.")
    grouped = {unit for group in found.groups for unit in group.units} | set(found.silent)
    rest = [int(u) for u in np.flatnonzero(~found.identifiable) if u not in grouped]
    if rest:
        lines.append(f"{len(rest)} units depend on others' gradients: their weights cannot be told.")
    if found.drawn and found.linear:
        lines.append("The losses draw random numbers: the step and the losses were given the same ones.")
    if found.restored:
        names = ", ".join(found.restored[:6])
        more = f" and {len(found.restored) - 6} more" if len(found.restored) > 6 else ""
        lines.append(f"Changed, and put back after each run: {names}{more}.")
    lines.append(
        f"Residual {found.residual:.2g}, condition {found.condition:.2g}, "
        f"error at most {np.max(found.error[found.identifiable], initial=0.0):.2g}."
    )
    return lines


def _shown(weights: Column, error: float, n: int) -> tuple[str, str]:
    """A run's weight as a number, and as a fraction of 1/n where it is one."""
    if np.isnan(weights[0]):
        return "cannot tell", ""
    weight = float(weights.mean())
    share = share_of_n(weight, n, error)
    if share:  # a round number, where the weight is one within its error
        weight = float(Fraction(weight * n).limit_denominator(12)) / n
    return f"{weight:.6g}", share


def _label(units: Units, first: int, last: int) -> str:
    def one(unit: int) -> str:
        if not units.data[unit]:
            return "regulariser"
        part = f" {units.parts[units.part[unit]]}" if len(units.parts) > 1 else ""
        return f"{units.sample[unit]}{part}"

    kind = "" if not units.data[first] else ("sample " if first == last else "samples ")
    return kind + (one(first) if first == last else f"{one(first)} – {one(last)}")
