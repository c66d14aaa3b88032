"""Equivalent hyperparameters: what to type so that another convention's gradient takes the same steps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any, Literal

from suite.equivalence.law import (
    Law,
    Powers,
    Scale,
    as_number,
    check_scale,
    is_finite,
    power_of_two,
    rescaled,
)
from suite.equivalence.laws import law
from suite.equivalence.scales import Scaling
from suite.errors import UsageError, shortened

Clip = Literal["norm", "plain", "value", "tensor", "group"]
"""`norm`: torch's clip_grad_norm_; `plain`: min(1, C/‖g‖); `value`: clip_grad_value_, each entry; `tensor`,
`group`: clip_grad_norm_ of each tensor, or of each of the optimizer's groups, by itself."""


@dataclass(frozen=True)
class Change:
    """What becomes of one hyperparameter, and why."""

    name: str
    old: Any
    new: Any
    exponent: Powers
    why: str


@dataclass(frozen=True)
class Phase:
    """Hyperparameters for the steps `first` to `last`, counted from 1; `last` is None for ever after."""

    first: int
    last: int | None
    hyperparameters: dict[str, Any]


@dataclass(frozen=True)
class Equivalence:
    """The hyperparameters of the new convention, and how far they hold.

    Args:
        optimizer: the name of its class.
        scale: gradient of the new convention / gradient of the old one.
        given: the old hyperparameters.
        hyperparameters: the new ones: those given, and those whose default must change.
        exact: whether they give the same trajectory, up to rounding (none for a power of two), while
            no square of a gradient under- or overflows.
        reason: why so, or why not and the nearest thing that holds.
        changes: each hyperparameter's old and new value, exponent, and why.
        schedule: where one value does not do but a few do, exactly: which, for which steps.
        given_max_norm: the old clip threshold, or None.
        max_norm: the new one.
        clip: how the gradient is clipped.
    """

    optimizer: str
    scale: Scale
    given: dict[str, Any]
    hyperparameters: dict[str, Any]
    exact: bool
    reason: str
    changes: tuple[Change, ...]
    schedule: tuple[Phase, ...] = ()
    given_max_norm: float | None = None
    max_norm: float | None = None
    clip: Clip = "norm"

    def __repr__(self) -> str:
        settings = ", ".join(f"{k}={_literal(v)}" for k, v in self.hyperparameters.items())
        threshold = "" if self.max_norm is None else f", max_norm {self.max_norm!r}"
        exact = "exact" if self.exact else "not exact"
        return f"<Equivalence: {self.optimizer}({settings}){threshold} at scale {self.scale}, {exact}>"

    def _repr_html_(self) -> str:
        """For notebooks: the hyperparameters, whether they are exact, and the lines to paste."""
        from tabulate import tabulate

        rows = [[c.name, _literal(c.old), _literal(c.new), c.why] for c in self.changes]
        body = tabulate(rows, ["hyperparameter", "old", "new", "why"], tablefmt="html", disable_numparse=True)
        exact = "" if self.exact else "not exact: "
        head = f"{self.optimizer}: the gradient becomes {self.scale} times what it was; {exact}{self.reason}."
        return f"<div><p>{escape(head)}</p>{body}<pre>{escape(self.python)}</pre></div>"

    @property
    def python(self) -> str:
        """Lines of Python to paste."""
        return "\n".join([self.construction, *self.clipping])

    @property
    def construction(self) -> str:
        """The line that makes the optimizer."""
        arguments = [f"{k}={_literal(v)}" for k, v in self.hyperparameters.items()]
        rule = law(self.optimizer)
        maker = rule.home or (f"torch.optim.{self.optimizer}" if rule.cls is None else self.optimizer)
        return f"{maker}({', '.join(['model.parameters()', *arguments])})"

    @property
    def clipping(self) -> list[str]:
        """The line that clips, if there is one."""
        if self.max_norm is None:
            return []
        function = "clip_grad_value_" if self.clip == "value" else "clip_grad_norm_"
        loop, of = {
            "tensor": ("for p in model.parameters(): ", "p"),
            "group": ("for group in optimizer.param_groups: ", 'group["params"]'),
        }.get(self.clip, ("", "model.parameters()"))
        return [f"{loop}torch.nn.utils.{function}({of}, {self.max_norm!r})"]


def equivalent(
    optimizer: str | type,
    hyperparameters: Mapping[str, Any],
    *,
    scale: Scale | str | Scaling,
    max_norm: float | None = None,
    clip: Clip = "norm",
    steps_done: int = 0,
) -> Equivalence:
    """The hyperparameters with which gradients `scale` times as large take the same steps.

    `scale` is the gradient of the new convention divided by that of the old one: from the sum to the
    mean over 32 samples it is 1/32, and the learning rate of SGD becomes 32 times as large. Each
    hyperparameter is multiplied by `scale**exponent`, in rational arithmetic, and rounded once.

    Args:
        optimizer: the name of a class of `torch.optim`, or a class whose law is known.
        hyperparameters: of the old convention; torch's defaults are taken for the others.
        scale: a float, a `fractions.Fraction` or a text such as "1/32", greater than 0, or what
            `scale_between` gives.
        max_norm: the clip threshold C of the old convention, or None.
        clip: how gradients are clipped to it.
        steps_done: how many steps the optimizer has taken; matters where the first steps differ.

    Returns:
        The new hyperparameters, whether they are exact, and why.

    Raises:
        UsageError: The optimizer or a hyperparameter does not exist, or a value or the scale is impossible.

    Examples:
        From the sum over 32 samples to their mean:

        >>> import gradsuite
        >>> found = gradsuite.equivalent("Adam", {"lr": 1e-3, "weight_decay": 0.01}, scale=1 / 32)
        >>> found.hyperparameters
        {'lr': 0.001, 'eps': 3.125e-10, 'weight_decay': 0.0003125}
        >>> found.exact, found.reason
        (True, 'exact, bit for bit: the scale is a power of two')
    """
    ragged = scale.ragged if isinstance(scale, Scaling) else None
    found, scale = law(optimizer), check_scale(scale)
    if not isinstance(hyperparameters, Mapping):
        raise UsageError(
            f"hyperparameters are {shortened(hyperparameters)}: a dict is needed, such as {{'lr': 0.1}}"
        )
    given = {name: as_number(value) for name, value in hyperparameters.items()}
    max_norm = as_number(max_norm)
    settings = found.settings(given)
    used, schedule = _phases(found, settings, given, scale, steps_done)
    new = _new(used, settings, given, scale)
    changes = [
        Change(k, settings[k], v, used.exponents(settings)[k], _why(used, settings, k))
        for k, v in new.items()
    ]
    reasons = [_schedule_reason(schedule), found.caveat(settings, scale) if found.caveat else ""]
    if ragged is not None:
        reasons.append(f"only if {ragged.assumes}; {ragged.text}")
    threshold = None
    if max_norm is not None:
        threshold = _threshold(max_norm, scale)
        changes.append(Change("max_norm", max_norm, threshold, 1, "compared with the gradient"))
        reasons.append(_clip_reason(max_norm, scale, clip))
    obstacles = "; ".join(reason for reason in reasons if reason)
    return Equivalence(
        optimizer=found.name,
        scale=scale,
        given=given,
        hyperparameters=new,
        exact=not obstacles,
        reason=obstacles or exact_reason(found, scale),
        changes=tuple(changes),
        schedule=schedule,
        given_max_norm=max_norm,
        max_norm=threshold,
        clip=clip,
    )


def _new(rule: Law, settings: dict[str, Any], given: dict[str, Any], scale: Scale) -> dict[str, Any]:
    """The hyperparameters that were given, and those whose default must change, after `rule`."""
    new = {}
    for name, exponent in rule.exponents(settings).items():
        value = settings[name]
        if scale != 1:
            value = _implied(value, rule.hyperparameters[name].implied)
            value = rescaled(name, value, scale, exponent)
        if name in given or value != settings[name]:
            new[name] = value if value != settings[name] else settings[name]
    return new


def _implied(value: Any, implied: Any) -> Any:
    if not isinstance(implied, tuple):
        return value
    return tuple(i if v is None else v for v, i in zip(value, implied, strict=True))


def _phases(
    found: Law, settings: dict[str, Any], given: dict[str, Any], scale: Scale, steps_done: int
) -> tuple[Law, tuple[Phase, ...]]:
    """The law that holds for ever, after the schedule of another that holds before."""
    if found.warm_up is None or scale == 1:
        return found, ()
    steps, first = found.warm_up(settings)
    if math.isinf(steps):
        return first, ()
    if steps <= steps_done:
        return found, ()
    early, late = (_new(rule, settings, given, scale) for rule in (first, found))
    names = [name for name in settings if name in early or name in late]
    early, late = ({k: v.get(k, settings[k]) for k in names} for v in (early, late))
    return found, (Phase(1, int(steps), early), Phase(int(steps) + 1, None, late))


def _schedule_reason(schedule: tuple[Phase, ...]) -> str:
    if not schedule:
        return ""
    return (
        f"no constant law: the first {schedule[0].last} steps follow another one; nearest: the values for "
        "all later steps; the schedule, which changes once, is exact"
    )


def _why(rule: Law, settings: dict[str, Any], name: str) -> str:
    entry = rule.hyperparameters[name]
    return f"{entry.flag}: no gradient enters it" if settings.get(entry.flag) else entry.why


def _threshold(max_norm: object, scale: Scale) -> float:
    if not is_finite(max_norm) or not max_norm > 0:  # type: ignore[operator]  # a Real
        raise UsageError(f"max_norm is {shortened(max_norm)}: a finite number greater than 0 is needed")
    return float(rescaled("max_norm", max_norm, scale, 1))


def _clip_reason(max_norm: float, scale: Scale, clip: Clip) -> str:
    if clip in ("plain", "value") or scale == 1:
        return ""
    # C·s/(s·‖g‖ + 1e-6) against C/(‖g‖ + 1e-6), where clipping begins: ‖g‖ = C.
    error = abs(1 - 1 / float(scale)) * 1e-6 / max_norm
    return (
        "torch's clip_grad_norm_ divides by ‖g‖ + 1e-6, which no threshold can follow: the clipped gradient "
        f"is off by at most {_rounded_up(error)} of itself; min(1, C/‖g‖) and clip_grad_value_ are exact"
    )


def _rounded_up(bound: float) -> str:
    """Two digits that are no less than `bound`: a bound that is rounded down is none."""
    digits = 10.0 ** (math.floor(math.log10(bound)) - 1)
    return f"{math.ceil(bound / digits - 1e-6) * digits:.2g}"


def exact_reason(found: Law, scale: Scale) -> str:
    """How exact a law is that nothing speaks against."""
    if scale == 1:
        return "exact: the gradients are the same"
    if power_of_two(scale):
        return "exact, bit for bit: the scale is a power of two"
    float32 = " (ASGD keeps its rate in float32, unless torch's default dtype is float64)"
    return f"exact up to rounding{float32 if found.name == 'ASGD' else ''}"


def _literal(value: Any) -> str:
    """`value` as Python source: numpy's numbers as plain ones."""
    if isinstance(value, tuple | list):
        return f"({', '.join(_literal(v) for v in value)})"
    return repr(value.item() if hasattr(value, "item") else value)
