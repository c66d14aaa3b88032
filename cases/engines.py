"""Models that an engine gets wrong: the check refuses it, and the next engine takes over."""

from __future__ import annotations

import cases
from cases.classification import DIGITS
from suite.case import Problem, case


@case(dataset=DIGITS, batch_sizes=(8,))
def channels_last_convolution() -> Problem:
    """Cross-entropy of a convolution on channels-last images.

    Opacus 1.6 gives wrong per-sample gradients here without a word; the run shows its refusal.
    """
    return Problem(
        model=cases.models.channels_last,
        data=cases.data.images(),
        losses=cases.losses.cross_entropy,
    )
