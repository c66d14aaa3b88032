"""What is done to single entries: some are set to zero, or all are rounded, after the backward pass."""

from __future__ import annotations

import torch
from torch import Tensor

from suite.recovery.causes.cause import Cause, Trial, beneath
from suite.recovery.step import GradientByName

ROUNDED_TO = (torch.bfloat16, torch.float16)
FEWEST = 16  # entries that are of few digits by chance: one in 2^13 each


def zeroed_entries(trial: Trial) -> Cause | None:
    """Entries without a gradient, as sparsification and masks leave them; the others are a weighting."""
    kept = {name: part != 0 for name, part in trial.gradient.items()}
    if all(bool(mask.all()) for mask in kept.values()) or not any(bool(mask.any()) for mask in kept.values()):
        return None
    found = trial.tried.weighting(trial.gradient, keep=kept)
    if not found.linear or found.spans or not found.solution.identifiable.any():
        return None
    full = trial.tried.reduce(found.solution.weights)
    largest = max(float(part.abs().max()) for part in full.values())
    cut = sum(int((full[n][~m].abs() > trial.tried.half_digits * largest).sum()) for n, m in kept.items())
    total = sum(mask.numel() for mask in kept.values())
    if cut == 0:
        return None
    says = f"{cut} of {total} entries are zero that would not be; the others are a weighting of the units"
    return beneath("entries set to zero", says, found)


def rounded_entries(trial: Trial) -> Cause | None:
    """All entries have the digits of a narrow format, and are a convention's rounded to it."""
    for narrow in ROUNDED_TO:
        if not _has_digits_of(trial.gradient, narrow):
            continue
        for convention, column in trial.as_is.applying:
            weighted = trial.tried.reduce(column)
            if convention.family == "faults" or not _rounds_to(weighted, trial.gradient, narrow, trial):
                continue
            name = str(narrow).removeprefix("torch.")
            says = (
                f"all entries have the digits of {name}: they are those of {convention.name}, rounded after "
                "the backward pass, as compressed communication rounds them"
            )
            return Cause(f"rounding of {name}", says, column, convention.name, 1.0)
    return None


def _has_digits_of(gradient: GradientByName, narrow: torch.dtype) -> bool:
    wide = [part for part in gradient.values() if part.dtype in (torch.float32, torch.float64)]
    entries = sum(int((part != 0).sum()) for part in wide)
    return len(wide) == len(gradient) and entries >= FEWEST and all(_same(p, p.to(narrow)) for p in wide)


def _same(wide: Tensor, narrow: Tensor) -> bool:
    return bool(torch.equal(wide, narrow.to(wide)))


def _rounds_to(weighted: GradientByName, given: GradientByName, narrow: torch.dtype, trial: Trial) -> bool:
    """Whether each entry is the nearest of the format, up to the rounding of the units' gradients."""
    largest = max(float(part.abs().max()) for part in weighted.values())
    floor = trial.tried.precision * largest + float(torch.finfo(narrow).smallest_normal) * 2**-10
    half = 0.5 * float(torch.finfo(narrow).eps)
    return all(
        bool(((given[name] - part).abs() <= 1.01 * half * part.abs() + floor).all())
        for name, part in weighted.items()
    )
