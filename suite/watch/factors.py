"""What was done to a gradient between the last backward pass and the optimizer: unscaling, clipping.

The norms that each parameter's gradient had after the last backward pass were seen, and those that the
optimizer uses. Where all changed by one factor, the weights beneath clipping are known with their constant,
which the clipped gradient alone would hide.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from suite.algebra.formula import Formula
from suite.algebra.symbols import CLIP
from suite.conventions import conventions
from suite.recovery.causes.cause import norm_of
from suite.recovery.recorded import ROUND_NORM, RecordedGradient, recover_recorded, round_norm
from suite.recovery.result import Recovery
from suite.recovery.suspects import Suspect
from suite.recovery.text import verdict
from suite.watch.seen import UNCHANGED, SeenUpdate
from suite.watch.update import AuditedUpdate

ALIKE = 1e-4
"""How far the factors of two tensors' norms may be apart that were multiplied by one number in float32."""

MOVED = (
    "Parameters were changed between the model's call and the optimizer's step: the gradient may be that of "
    "other parameters, as sharpness-aware methods take it."
)

LARGE_TENSOR = 1 << 16
"""Numbers in a tensor whose norm float32 tells to four digits only."""


def explained_update(tried: RecordedGradient, seen: SeenUpdate, max_norm: float | None) -> AuditedUpdate:
    """The recovery of an update.

    Args:
        tried: the gradient that the optimizer uses.
        seen: what was seen of it.
        max_norm: the clip threshold, where it is known.
    """
    found = _of_the_last(tried, seen, max_norm)
    mistake = found.mistake or _inside(seen) or ("" if found.linear else _left(tried, seen))
    elsewhere = not found.linear and not mistake and seen.around.moved
    return replace(found, mistake=mistake, notes=(*found.notes, *((MOVED,) if elsewhere else _dropped(seen))))


def _inside(seen: SeenUpdate) -> str:
    """What was done to the gradient while more was to be added to it; empty where nothing was."""
    between = seen.around.between
    if not between:
        return ""
    places = ", ".join(map(str, between))
    return (
        f"after micro-batch {places} (from 0) the accumulated gradient was multiplied by "
        f"{min(between.values()):.3g}, though more was still to be added: clip or scale it before the "
        "optimizer's step only."
    )


def _left(tried: RecordedGradient, seen: SeenUpdate) -> str:
    """That something was left of a gradient before, shown by what remains without it; else empty."""
    left = seen.around.left
    factor = _factor(seen) if seen.around.norms else 1.0
    if tried.few is not None or factor is None or seen.loss_scale != 1 or not left:
        return ""
    whole = {
        name: part / factor - left[name] if name in left else part / factor
        for name, part in tried.gradient.items()
    }
    rest = recover_recorded(replace(tried, gradient=whole))
    if not rest.linear or rest.spans or rest.norm == 0.0:
        return ""
    norm = norm_of(dict(left))
    return (
        f"the gradient was not zero before the first micro-batch (its norm was {norm:.3g}), as without "
        f"zero_grad(). In what was added to it {verdict(rest)}."
    )


def _dropped(seen: SeenUpdate) -> Iterator[str]:
    for count, why in ((seen.around.dropped, "was set to zero"), (seen.around.overflowed, "overflowed")):
        if count:
            some = "1 micro-batch" if count == 1 else f"{count} micro-batches"
            yield f"Before this update the gradient of {some} {why}: no update used it."


def _of_the_last(tried: RecordedGradient, seen: SeenUpdate, max_norm: float | None) -> AuditedUpdate:
    factor, scale = _factor(seen), seen.loss_scale
    net = None if factor is None else factor * scale  # besides unscaling
    if net is None or abs(net - 1) <= UNCHANGED:
        return AuditedUpdate.of(_known(tried, max_norm))
    norm = norm_of(dict(seen.gradient))
    slack = _slack(seen)
    if net < 1 and _is_threshold(norm, max_norm, slack):
        return _clipped(tried, net, "")
    if scale != 1 and net < 1 and _is_threshold(norm * scale, max_norm, slack):
        mistake = (
            f"the gradient was clipped before it was unscaled: its norm is {norm:.4g}, the threshold over "
            f"the loss scale {scale:g}."
        )
        return _clipped(tried, net, mistake)
    note = f"After the last backward pass the gradient was multiplied by {net:.6g}."
    return AuditedUpdate.of(_known(tried, max_norm), notes=(note,))


def _known(tried: RecordedGradient, max_norm: float | None) -> Recovery:
    """The recovery; a threshold of clipping is said where the norm reaches it."""
    if max_norm is not None and tried.few is None and _is_threshold(tried.size, max_norm, ALIKE):
        tried = replace(tried, units=replace(tried.units, max_norm=max_norm))
    return recover_recorded(tried)


def _clipped(tried: RecordedGradient, factor: float, mistake: str) -> AuditedUpdate:
    beneath = replace(recover_recorded(tried.divided(factor)), restored=())
    explanation = beneath.explanation
    suspects = tuple(s for s in beneath.suspects if not _by_a_factor(s, tried))
    formulas = tuple(formula * Formula(((CLIP, 1),)) for formula in explanation.formulas[:1])
    values = None if explanation.values is None else factor * explanation.values
    found = replace(
        beneath,
        suspects=suspects,
        weights=factor * beneath.weights,
        error=factor * beneath.error,
        norm=factor * beneath.norm,
        scale=None if beneath.scale is None else factor * beneath.scale,
        groups=tuple(
            replace(
                group, total=group.total and factor * group.total, error=group.error and factor * group.error
            )
            for group in beneath.groups
        ),
        explanation=replace(
            explanation,
            formulas=formulas,
            values=values,
            constant=explanation.constant and factor * explanation.constant,
        ),
    )
    return AuditedUpdate.of(
        found, factor=factor, beneath=replace(beneath, suspects=suspects), mistake=mistake
    )


def _by_a_factor(suspect: Suspect, tried: RecordedGradient) -> bool:
    """Whether a mistake differs from what may be meant by a factor only, which clipping hides.

    A division that is made after the last backward pass is part of what clipping is seen to have done.
    """
    fault = suspect.fault
    if fault.against is None or conventions[fault.against].missing(tried.units) is not None:
        return False
    gram = np.eye(len(tried.units))  # the mistakes of clipping are no factors
    found, meant = (c.coefficients(tried.units, gram) for c in (fault, conventions[fault.against]))
    norms = float(np.linalg.norm(found) * np.linalg.norm(meant))
    return abs(float(found @ meant)) >= (1 - 1e-12) * norms


def _is_threshold(norm: float, max_norm: float | None, slack: float) -> bool:
    """Whether a norm is that of a clipped gradient."""
    if max_norm is not None:
        return abs(norm / max_norm - 1) <= ALIKE
    return round_norm(norm, slack) is not None


def _slack(seen: SeenUpdate) -> float:
    """How far from its threshold clipping may leave a norm: it adds up squares in float32."""
    return ALIKE if max(part.numel() for part in seen.gradient.values()) > LARGE_TENSOR else ROUND_NORM


def _factor(seen: SeenUpdate) -> float | None:
    """What all tensors were multiplied by after the last backward pass; None where that is not one number."""
    norms = seen.around.norms
    if norms is None or not norms.keys() >= seen.gradient.keys():
        return None
    before = math.sqrt(sum(norms[name] ** 2 for name in seen.gradient))
    after = norm_of(dict(seen.gradient))
    if not (0.0 < before < math.inf and after > 0.0):
        return None
    factor = after / before
    for name, part in seen.gradient.items():
        norm = float(part.double().square().sum().sqrt())
        apart = abs(norm - factor * norms[name])
        if apart > ALIKE * factor * norms[name] + UNCHANGED * after:
            return None
    return factor
