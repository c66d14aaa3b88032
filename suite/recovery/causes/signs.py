"""Gradients of which the signs alone are left."""

from __future__ import annotations

import torch

from suite.recovery.causes.cause import Cause, Trial

SIGNS = "signs alone"
SIGNED = 16  # entries that agree in sign by chance: one in 2^16


def signs_alone(trial: Trial) -> Cause | None:
    """All entries are as large as each other, with the signs of a convention's gradient."""
    entries = torch.cat([part.flatten().double() for part in trial.gradient.values()])
    size = float(entries.abs().max())
    heard = entries != 0
    if int(heard.sum()) < SIGNED or bool((entries[heard].abs() < size * (1 - 1e-6)).any()):
        return None
    names = []
    for convention, column in trial.as_is.applying:
        weighted = trial.tried.reduce(column)
        signs = torch.cat([weighted[name].flatten().double() for name in trial.gradient]).sign()
        # Where the exact gradient is zero, what there is of it is rounding.
        agree = (signs == entries.sign()) | (signs == 0) | ~heard
        if convention.family != "faults" and bool(agree.all()):
            names.append(convention.name)
    if not names:
        return None
    name = "mean" if "mean" in names else names[0]
    return Cause(SIGNS, f"all entries are ±{size:.6g}: of the gradient of {name} only the signs are left")
