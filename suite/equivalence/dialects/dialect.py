"""What a dialect is: optimizers with names, hyperparameters and formulas of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from suite.equivalence.dialects.translation import Schedule, Translation
from suite.equivalence.law import Scale, is_finite, rescaled
from suite.errors import UsageError, shortened, unknown
from suite.registry import Registry

REQUIRED = object()
"""The default of a hyperparameter that has none."""

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Parameter:
    """One hyperparameter of an optimizer in a dialect.

    Args:
        name: as the dialect spells it.
        key: as `torch.optim` spells what comes nearest; both spellings are accepted.
        default: the dialect's own.
        exponent: `value · s^exponent` takes the same steps with a gradient `s` times as large;
            it may depend on the other hyperparameters.
    """

    name: str
    key: str
    default: Any = REQUIRED
    exponent: int | Callable[[Values], int] = 0

    def scaled(self, values: Values, scale: Scale) -> Any:
        """Its value for a gradient `scale` times as large.

        Raises:
            UsageError: No float holds it.
        """
        exponent = self.exponent if isinstance(self.exponent, int) else self.exponent(values)
        return rescaled(self.name, values[self.key], scale, exponent)


@dataclass(frozen=True)
class TranslationContext:
    """What a translator may need besides the hyperparameters.

    Args:
        batch_size: n, where a dialect divides by it.
        rate: the learning rate of each step, where it is not constant.
    """

    batch_size: int | None = None
    rate: Schedule | None = None


Translator = Callable[[Values, TranslationContext], Translation]


@dataclass(frozen=True)
class Written:
    """An optimizer as a dialect writes it.

    Args:
        name: as the dialect calls it.
        formula: its step.
        parameters: its hyperparameters, with the dialect's defaults.
        translate: gives the translation; None where `torch.optim` has no such optimizer.
        unscaled: why no hyperparameters absorb a scale of the gradient; empty if some do.
        missing: why there is no translation; empty if there is.
    """

    name: str
    formula: str
    parameters: tuple[Parameter, ...] = ()
    translate: Translator | None = None
    unscaled: str = ""
    missing: str = "torch.optim has no such optimizer"

    def values(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All hyperparameters by torch's names, defaults filled in, checked.

        Raises:
            UsageError: A hyperparameter is unknown, missing, given twice, or no number.
        """
        known = {p.name: p for p in self.parameters} | {p.key: p for p in self.parameters}
        spread = _split_betas(given) if "beta1" in known else dict(given)
        values: dict[str, Any] = {}
        for name, value in spread.items():
            if name not in known:
                raise unknown(f"hyperparameter of {self.name}", name, [*known])
            key = known[name].key
            if key in values:
                raise UsageError(f"{self.name}: {name} is given twice, under two names; give it once")
            values[key] = _checked(self.name, name, value, known[name].default)
        for parameter in self.parameters:
            if parameter.key not in values and parameter.default is REQUIRED:
                raise UsageError(f"{self.name} needs {parameter.name}: it has no default, give one")
            values.setdefault(parameter.key, parameter.default)
            if parameter.key in ("beta1", "beta2") and not 0 <= values[parameter.key] < 1:
                given_as = values[parameter.key]
                raise UsageError(f"{self.name}: {parameter.name} is {given_as}, it must be from 0 to below 1")
        return values


@dataclass(frozen=True)
class Dialect:
    """A framework's, a program's or a paper's way to write optimizers.

    Args:
        name: as people type it.
        summary: one line.
        source: where its formulas were read.
        verified: how they were verified, in the words of the paper cards.
        optimizers: by the dialect's own name.
    """

    name: str
    summary: str
    source: str
    verified: str
    optimizers: tuple[Written, ...]

    def __getitem__(self, name: str) -> Written:
        for written in self.optimizers:
            if written.name.lower() == name.lower():
                return written
        raise unknown(f"optimizer of the dialect {self.name!r}", name, self.names)

    @property
    def names(self) -> list[str]:
        """The optimizers that it has, also those that have no translation."""
        return [written.name for written in self.optimizers]

    def card(self) -> dict[str, Any]:
        """All that a person may want to know of it, for `gradsuite show`."""
        translated = [w.name for w in self.optimizers if w.translate]
        others = [w.name for w in self.optimizers if not w.translate]
        return {
            "dialect": self.name,
            "summary": self.summary,
            "optimizers": ", ".join(translated) or "all of torch.optim",
            "without translation": ", ".join(others),
            "source": self.source,
            "verified": self.verified,
        }


dialects: Registry[Dialect] = Registry("dialect")


def rate_schedule(value: Any, what: str) -> Schedule | None:
    """The rates of a sequence, one a step, or of a function of the step; None for a number."""
    if isinstance(value, Schedule):
        return value
    if isinstance(value, Sequence) and not isinstance(value, str):
        rates = [_number(what, "lr", v) for v in value]

        def of_step(step: int) -> float:
            if not 1 <= step <= len(rates):
                raise UsageError(
                    f"{what}: lr has {len(rates)} steps, step {step} is asked for; give more rates"
                )
            return rates[step - 1]

        return Schedule("the given rates", of_step)
    return Schedule("the given rate", value) if callable(value) else None


def _split_betas(given: Mapping[str, Any]) -> dict[str, Any]:
    """`betas`, torch's pair, as the two numbers that other dialects have."""
    spread = dict(given)
    if "betas" in spread:
        pair = spread.pop("betas")
        if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2:
            raise UsageError(f"betas is {pair!r}: two numbers are needed")
        spread |= {"beta1": pair[0], "beta2": pair[1]}
    return spread


def _checked(optimizer: str, name: str, value: Any, default: Any) -> Any:
    if value is None and default is None:
        return None
    if isinstance(default, bool):
        if not isinstance(value, bool | int) or value not in (0, 1):
            raise UsageError(f"{optimizer}: {name} is {value!r}; true or false is needed")
        return bool(value)
    return _number(optimizer, name, value)


def _number(optimizer: str, name: str, value: Any) -> float:
    if not is_finite(value):
        raise UsageError(f"{optimizer}: {name} is {shortened(value)}; a finite number is needed")
    if value < 0:
        raise UsageError(f"{optimizer}: {name} is {value!r}; it must not be negative")
    return float(value)
