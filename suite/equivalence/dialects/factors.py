"""What state and weights are multiplied by before a step, where a dialect keeps them otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from suite.equivalence.dialects.translation import PARAM, Schedule
from suite.errors import UsageError

if TYPE_CHECKING:
    from suite.equivalence.dialects.dialect import TranslationContext


def momentum_correction(old_rate: float, new_rate: float) -> float:
    """`η_new/η_old`: by what a velocity that holds the rate is multiplied when the rate changes.

    With `v ← μv + ηg` the old rate lives on in `v` after a drop; multiplied by this factor, the
    velocity goes on as if the rate stood outside, as in PyTorch. The other way round, a PyTorch
    `momentum_buffer` multiplied by the inverse goes on as if the rate stood inside.

    Raises:
        UsageError: The old rate is zero.

    References:
        Goyal et al. 2017, arXiv 1706.02677, remark 2.
    """
    if old_rate == 0:
        raise UsageError("the old learning rate is 0: its velocity holds nothing to correct")
    return new_rate / old_rate


def velocity_factor(context: TranslationContext) -> dict[str, Schedule]:
    """The factor `η(t−1)/η(t)` of torch's buffer that keeps the rate inside the velocity."""
    rate = context.rate
    if rate is None:
        return {}

    def factor(step: int) -> float:
        if step == 1:
            return 1.0
        if rate(step) == 0:
            if any(rate(earlier) for earlier in range(1, step)):
                raise UsageError(
                    f"lr is 0 at step {step}: with the rate inside the velocity the weights still "
                    "move there, and torch's do not; use a small positive rate"
                )
            return 1.0
        return 0.0 if rate(step - 1) == 0 else 1 / momentum_correction(rate(step - 1), rate(step))

    return {"momentum_buffer": Schedule("lr(t−1)/lr(t)", factor)}


def weight_factor(rate: float, decay: float, context: TranslationContext) -> dict[str, Schedule]:
    """The factor `1 − ηλ` of the weights: decoupled decay where torch's optimizer has none."""
    if not decay:
        return {}

    def factor(step: int) -> float:
        return 1 - (rate if context.rate is None else context.rate(step)) * decay

    shown = f"{rate:g}" if context.rate is None else "(the given rate)"
    return {PARAM: Schedule(f"1 − {shown}·{decay:g}", factor)}
