"""Regression: squared, absolute and Huber error, with one and with several outputs."""

from __future__ import annotations

import cases
from suite.case import Problem, case

DIABETES = "scikit-learn diabetes: 442 patients, 10 measurements, 1 target"
TUMOURS = "scikit-learn breast cancer: 569 tumours, 10 mean measurements, 10 worst ones as targets"


@case(dataset=DIABETES)
def mse() -> Problem:
    """Squared error with one output."""
    return Problem(
        model=lambda: cases.models.mlp(10, 16, 1),
        data=cases.data.diabetes(),
        losses=cases.losses.squared_error,
    )


@case(dataset=TUMOURS)
def mse_several_outputs() -> Problem:
    """Squared error with ten outputs: PyTorch's mean is ten times smaller than the mean over samples."""
    return Problem(
        model=lambda: cases.models.mlp(10, 16, 10),
        data=cases.data.tumours()[:2],
        losses=cases.losses.squared_error,
        columns=lambda _: {"elements": 10},
    )


@case(dataset=DIABETES)
def l1() -> Problem:
    """Absolute error with one output."""
    return Problem(
        model=lambda: cases.models.mlp(10, 16, 1),
        data=cases.data.diabetes(),
        losses=cases.losses.absolute_error,
    )


@case(dataset=DIABETES)
def huber() -> Problem:
    """Huber's loss (δ = 1) with one output."""
    return Problem(
        model=lambda: cases.models.mlp(10, 16, 1),
        data=cases.data.diabetes(),
        losses=cases.losses.huber,
    )
