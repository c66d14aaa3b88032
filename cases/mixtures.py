"""Mixed losses: several terms, with equal and with different numbers of elements."""

from __future__ import annotations

import cases
from cases.regression import DIABETES, TUMOURS
from suite.case import Problem, case


@case(dataset=DIABETES)
def mse_plus_l1() -> Problem:
    """Squared and absolute error of the same output, weighted 1 and ½."""
    return Problem(
        model=lambda: cases.models.mlp(10, 16, 1),
        data=cases.data.diabetes(),
        losses=cases.losses.squared_and_absolute_error,
        parts=("squared", "absolute"),
        term_weight=(1.0, 0.5),
    )


@case(dataset=TUMOURS + ", and 2 classes")
def cross_entropy_plus_mse() -> Problem:
    """A class and ten measurements at once: each term's own mean changes the mixture."""
    return Problem(
        model=lambda: cases.models.mlp(10, 16, 12),
        data=cases.data.tumours(),
        losses=cases.losses.class_and_reconstruction,
        columns=lambda _: {"elements": [[1, 10]]},
        parts=("class", "measurements"),
        term_weight=(1.0, 0.1),
    )
