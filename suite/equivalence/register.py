"""Laws of one's own: an optimizer's row of exponents, held against a short training before it is believed."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from suite.equivalence.law import LAWS, Entry, Law, Powers, is_number
from suite.errors import UsageError, one_line, place

LAW_SCALE = 4.0
"""A power of two: an exact law then leaves nothing but equal weights."""
LAW_STEPS = 8
HOLDS = 1e-11
"""What a law that holds may leave, relative to the weights, where it rounds: 8 steps of float64."""
PROBE = 0.0625
"""In the place of a hyperparameter whose default is zero: no exponent shows in zero."""


def register_law(
    optimizer: str | type,
    *,
    state: Mapping[str, int] | None = None,
    defaults: Mapping[str, Any] | None = None,
    source: str = "registered by hand",
    check: bool = True,
    **exponents: Powers,
) -> Law:
    """Register the law of an optimizer of one's own.

    A class of `torch.optim.Optimizer` is trained for a few steps first, once with gradients four times as
    large and the hyperparameters that the law then gives: with its defaults, and with each number that is
    zero by default set to another one.

    Args:
        optimizer: its class, whose signature gives the defaults, or its name.
        state: the exponent of each state buffer.
        defaults: of the hyperparameters, where they are not to be read from the class.
        source: where the formula can be read.
        check: whether it is trained; leave it out for one that needs more than gradients.
        **exponents: of each hyperparameter that is a number or a tuple of numbers; options need none.

    Returns:
        The law.

    Raises:
        UsageError: A law of this name exists, a numeric hyperparameter has no exponent, or training shows
            that the law does not hold.

    Examples:
        >>> import gradsuite
        >>> class Lion:
        ...     def __init__(self, params, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0): ...
        >>> law = gradsuite.register_law(Lion, lr=0, betas=0, weight_decay=0, state={"exp_avg": 1})
        >>> gradsuite.equivalent(Lion, {"lr": 1e-4}, scale=32).hyperparameters
        {'lr': 0.0001}
    """
    signature: dict[str, Any] = dict.fromkeys(exponents)
    if isinstance(optimizer, type):
        arguments = list(inspect.signature(optimizer).parameters.values())[1:]  # the first is params
        named = [p for p in arguments if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        signature |= {p.name: None if p.default is p.empty else p.default for p in named}
    signature |= defaults or {}
    name = optimizer if isinstance(optimizer, str) else optimizer.__name__
    silent = [k for k, v in signature.items() if k not in exponents and is_number(v)]
    if silent:
        raise UsageError(
            f"the law of {name} says nothing of {', '.join(silent)}: give each its exponent, 0 if it has none"
        )
    entries = {k: Entry(v, exponents.get(k, 0), "as registered") for k, v in signature.items()}
    cls = None if isinstance(optimizer, str) else optimizer
    law = LAWS.add(Law(name, entries, dict(state or {}), source, cls=cls))
    if check and cls is not None and _trains(cls):
        try:
            _require_holds(law)
        except Exception as error:
            LAWS.remove(name)
            if isinstance(error, UsageError):
                raise
            raise UsageError(
                f"the law of {name} could not be tried{place(error)}: {one_line(error)}; mend the optimizer, "
                "or give check=False"
            ) from error
    return law


def _trains(cls: type) -> bool:
    """Whether this is an optimizer of torch's kind; torch is not imported to ask."""
    torch = sys.modules.get("torch")
    return torch is not None and issubclass(cls, torch.optim.Optimizer)


def _require_holds(law: Law) -> None:
    """Train both sides, under each setting that a law says something of.

    Raises:
        UsageError: The weights part, or the optimizer does not work.
    """
    from suite.equivalence.equivalent import equivalent
    from suite.equivalence.probe import probe
    from suite.equivalence.trajectory import check_training
    from suite.machine.global_state import on_host

    tried = 0
    for settings in _settings(law):
        wanted = equivalent(law.cls or law.name, settings, scale=LAW_SCALE)
        try:
            with on_host():
                model, reference, other = probe(LAW_SCALE)
                found = check_training(model, reference, other, wanted, steps=LAW_STEPS)
        except UsageError:
            if settings != law.settings({}) and tried:
                continue  # it does not take this setting beside the others
            raise
        tried += 1
        if found.converted > HOLDS:
            new = wanted.hyperparameters
            listed = ", ".join(f"{k} {v!r} → {new.get(k, v)!r}" for k, v in settings.items())
            raise UsageError(
                f"the law of {law.name} does not hold: with gradients {LAW_SCALE:g} times as large and "
                f"{listed}, the weights are {found.converted:.2g} of their norm away after {LAW_STEPS} "
                f"steps ({found.unchanged:.2g} with all as it was). Correct the exponents, or give "
                "check=False for a law that holds in part"
            )


def _settings(law: Law) -> Iterator[dict[str, Any]]:
    """The defaults, all that are numbers; then each of them that is zero as another number."""
    numbers = {k: e.default for k, e in law.hyperparameters.items() if is_number(e.default)}
    if "lr" in law.hyperparameters:
        numbers.setdefault("lr", PROBE)
    yield numbers
    for name, value in numbers.items():
        if isinstance(value, float | int) and value == 0:
            yield {**numbers, name: PROBE}
