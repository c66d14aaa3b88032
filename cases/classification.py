"""Classification: cross-entropy with and without class weights, a regulariser and augmented copies."""

from __future__ import annotations

import numpy as np

import cases
from suite.case import Problem, case

DIGITS = "scikit-learn digits: 1797 images of 8 × 8 pixels, 10 classes"
WINE = "scikit-learn wine: 178 wines, 13 measurements, 3 cultivars"


@case(dataset=DIGITS)
def cross_entropy_mlp() -> Problem:
    """Cross-entropy of a multilayer perceptron."""
    return Problem(
        model=lambda: cases.models.mlp(64, 32, 10),
        data=cases.data.digits(),
        losses=cases.losses.cross_entropy,
    )


@case(dataset=DIGITS)
def cross_entropy_convolution() -> Problem:
    """Cross-entropy of a convolutional net with GroupNorm."""
    return Problem(
        model=cases.models.convolutional,
        data=cases.data.images(),
        losses=cases.losses.cross_entropy,
    )


@case(dataset=WINE)
def cross_entropy_class_weights() -> Problem:
    """Cross-entropy with class weights 0, 1 and 5: three frameworks divide by three things."""
    return Problem(
        model=lambda: cases.models.mlp(13, 16, 3),
        data=cases.data.wine(),
        losses=cases.losses.cross_entropy,
        columns=lambda batch: {"weight": np.array([0.0, 1.0, 5.0])[batch[1].cpu()]},
    )


@case(dataset=DIGITS)
def cross_entropy_l2() -> Problem:
    """Cross-entropy with the L2 regulariser ½·0.01·‖θ‖² in the loss."""
    return Problem(
        model=lambda: cases.models.mlp(64, 32, 10),
        data=cases.data.digits(),
        losses=cases.losses.cross_entropy,
        regulariser=lambda model: 0.01 * cases.losses.half_squared_norm(model),
    )


@case(dataset=DIGITS)
def augmented_copies() -> Problem:
    """Cross-entropy of four copies of each image: as it is, and moved left, right and up."""
    return Problem(
        model=cases.models.convolutional,
        data=cases.data.shifted_images(),
        losses=cases.losses.cross_entropy_of_copies,
        parts=("as it is", "left", "right", "up"),
        part_kind="copies",
    )
