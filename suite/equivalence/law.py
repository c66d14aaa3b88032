"""What a law is: for one optimizer, the exponent of the scale for each hyperparameter and state buffer.

If every gradient is multiplied by `s`, and each hyperparameter by `s**exponent`, the weights follow the
same trajectory, and each state buffer holds `s**exponent` times what it held. Scales are exact: `s` is
a float or a fraction, a hyperparameter is multiplied in rational arithmetic and rounded once.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from html import escape
from numbers import Rational, Real
from typing import Any

from suite.equivalence.other_names import MEANT
from suite.errors import UsageError, shortened, spelling, unknown
from suite.registry import Registry

Scale = float | Fraction
Powers = int | tuple[int, ...]
Hyperparameters = Mapping[str, Any]


@dataclass(frozen=True)
class Entry:
    """How one hyperparameter goes with the scale.

    Args:
        default: its value where nobody gives one.
        exponent: of the scale; a tuple where the hyperparameter is a tuple.
        why: the reason, in a few words.
        flag: the option under which the exponent is 0 instead; may be empty.
        implied: what a None in the default stands for, where that must be known to be changed.
    """

    default: Any
    exponent: Powers = 0
    why: str = "no gradient enters it"
    flag: str = ""
    implied: Any = None

    @property
    def is_number(self) -> bool:
        """Whether it is a number or a tuple of numbers, and no option."""
        return is_number(self.default) or (self.default is None and self.exponent != 0)

    def under(self, settings: Hyperparameters) -> Powers:
        """The exponent under these `settings`."""
        return 0 if self.flag and settings.get(self.flag) else self.exponent


@dataclass(frozen=True)
class Law:
    """The row of exponents of one optimizer.

    Args:
        name: of the optimizer's class.
        hyperparameters: by name, as the constructor calls them.
        state: the exponent of each buffer that the optimizer keeps for a parameter.
        source: where the formula can be read.
        limits: why no constant law holds always, and the nearest thing that does; empty where one does.
        caveat: why the law is not exact under some settings and scale; empty where it is.
        warm_up: for how many first steps another law holds, and which.
        cls: the optimizer's class, where it is not torch's own.
        home: where another package has it, such as `lion_pytorch.Lion`; empty for torch's own.
        install: what people install for that.
        unconverted: why the state of a run that is under way is not converted; empty where it is.
    """

    name: str
    hyperparameters: Mapping[str, Entry]
    state: Mapping[str, int]
    source: str
    limits: str = ""
    caveat: Callable[[Hyperparameters, Scale], str] | None = None
    warm_up: Callable[[Hyperparameters], tuple[float, Law]] | None = None
    cls: type | None = field(default=None, compare=False)
    home: str = ""
    install: str = ""
    unconverted: str = ""

    @property
    def class_name(self) -> str:
        """Of the optimizer, without its package."""
        return self.name.rpartition(":")[2]

    def __repr__(self) -> str:
        powers = ", ".join(f"{name}: {e.exponent}" for name, e in self.hyperparameters.items() if e.exponent)
        return f"<Law of {self.name}: exponents of the scale {powers or 'all 0'}>"

    def _repr_html_(self) -> str:
        """For notebooks: the exponent of each hyperparameter, and of each state buffer."""
        from tabulate import tabulate

        rows = [[name, str(entry.exponent), entry.why] for name, entry in self.hyperparameters.items()]
        rows += [[f"state {name!r}", str(power), ""] for name, power in self.state.items()]
        head = ["multiply by a power of the scale", "exponent", "why"]
        body = tabulate(rows, head, tablefmt="html", disable_numparse=True)
        holds = f"<p>Holds: {escape(self.limits or 'exactly')}.</p>"
        return f"<div><p>{escape(self.name)}</p>{body}{holds}</div>"

    def settings(self, given: Hyperparameters) -> dict[str, Any]:
        """`given`, checked, with the defaults for all that is not given.

        Raises:
            UsageError: A hyperparameter does not exist or has a value that it cannot have.
        """
        for name, value in given.items():
            if name not in self.hyperparameters:
                raise UsageError(
                    f"{self.name} has no hyperparameter {name!r}; it has {', '.join(self.hyperparameters)}"
                )
            _check(self.name, name, value, self.hyperparameters[name])
        return {name: entry.default for name, entry in self.hyperparameters.items()} | dict(given)

    def exponents(self, settings: Hyperparameters) -> dict[str, Powers]:
        """The exponent of each hyperparameter under `settings`."""
        return {name: entry.under(settings) for name, entry in self.hyperparameters.items()}


LAWS: Registry[Law] = Registry("law")


def law(optimizer: str | type) -> Law:
    """The law of an optimizer, by name or by class.

    A class of the same name that is not torch's own is not taken for torch's.

    Args:
        optimizer: the name of a class of `torch.optim`, a class of another package that has a law
            (`lion_pytorch:Lion`, or `Lion` alone), or a class.

    Returns:
        The law: for each hyperparameter and state buffer, its exponent of the scale.

    Raises:
        UsageError: There is no law for it.

    Examples:
        >>> from suite import law
        >>> {name: entry.exponent for name, entry in law("SGD").hyperparameters.items() if entry.exponent}
        {'lr': -1, 'weight_decay': 1}
        >>> law("SGD").state
        {'momentum_buffer': 1}
    """
    if not isinstance(optimizer, str | type):
        if not hasattr(optimizer, "param_groups"):
            raise UsageError(f"{shortened(optimizer)} is no optimizer: its name or its class is needed")
        optimizer = type(optimizer)  # one that was made
    name = optimizer if isinstance(optimizer, str) else optimizer.__name__
    if isinstance(optimizer, type):
        named = [rule for rule in LAWS if rule.class_name == name]
        found = next((rule for rule in named if _governs(rule, optimizer)), None)
        if found is None:
            raise UsageError(
                f"no law is known for {optimizer.__module__}.{optimizer.__qualname__}: "
                f"read its update and register one, suite.equivalence.register_law({name}, lr=…, state={{…}})"
            )
        return found
    if name in LAWS:
        return LAWS[name]
    endings = [rule for rule in LAWS if rule.class_name == name]
    if len(endings) == 1:
        return endings[0]
    meant = MEANT.get(spelling(name))
    error = str(unknown("optimizer", name, LAWS.names, meant=() if meant is None else (meant,)))
    own = [rule.name for rule in LAWS if not rule.home]
    known = (
        f"laws exist for {', '.join(own)}, and {len(LAWS) - len(own)} of other packages "
        "(gradsuite lr --laws); register_law adds your own"
    )
    raise UsageError(error if "did you mean" in error else f"no law is known for {name!r}: {known}")


def _governs(rule: Law, cls: type) -> bool:
    if rule.cls is not None:
        return cls is rule.cls
    if rule.home:
        return f"{cls.__module__}.".startswith(f"{rule.home.partition('.')[0]}.")
    return f"{cls.__module__}.".startswith("torch.optim.")


def check_scale(scale: object) -> Scale:
    """`scale`, if it is a number by which a law can multiply; a `Scaling` stands for its own.

    Raises:
        UsageError: It is no number, zero, negative, infinite or nan.
    """
    scale = as_number(getattr(scale, "scale", scale))
    if isinstance(scale, str):
        number = number_in(scale)
        scale = scale if number is None else number
    elif isinstance(scale, Decimal):
        with suppress(ValueError):
            scale = Fraction(scale)
    if isinstance(scale, bool) or not isinstance(scale, Real):
        raise UsageError(f"the scale is {scale!r}: a number greater than 0 is needed")
    if not is_finite(scale) or float(scale) == 0:
        raise UsageError(f"the scale is {shortened(scale)}: a finite number greater than 0 is needed")
    if scale < 0:
        raise UsageError(
            f"the scale is {scale}: a negative one turns descent into ascent; "
            f"give {-scale} and set the optimizer's maximize"
        )
    return as_fraction(scale) if isinstance(scale, Rational) else float(scale)


def number_in(text: str) -> Scale | None:
    """The very number that a text such as "1/32" is; None where it is none."""
    try:
        near = float(text)
    except ValueError:
        near = 1.0  # a fraction, perhaps
    if near == 0 or not is_finite(near):
        return near  # Fraction would write 1e999999999 out
    with suppress(ValueError, ZeroDivisionError):
        return Fraction("".join(text.split()))
    return None


def as_number(value: object) -> Any:
    """The number in a tensor or an array of one, as it may stand for a rate; anything else as it is."""
    if isinstance(value, Real | str) or getattr(value, "ndim", None) != 0:
        return value
    item = getattr(value, "item", None)
    return value if item is None else item()


def as_fraction(number: Real | Fraction | float) -> Fraction:
    """The very number, whether it is Python's or NumPy's."""
    if isinstance(number, Rational):
        return Fraction(int(number.numerator), int(number.denominator))
    return Fraction(float(number))


def power_of_two(scale: Scale) -> bool:
    """Whether multiplying by `scale` only moves the exponent of a float, and rounds nothing."""
    ratio = as_fraction(scale)
    return ratio.numerator.bit_count() == 1 == ratio.denominator.bit_count()


def rescaled(name: str, value: Any, scale: Scale, exponent: Powers) -> Any:
    """`value · scale**exponent`, rounded once; tuples element by element, None and options as they are.

    Raises:
        UsageError: The result is too large or too small for a float.
    """
    if isinstance(value, tuple | list):
        powers = exponent if isinstance(exponent, tuple) else (exponent,) * len(value)
        return tuple(rescaled(name, v, scale, p) for v, p in zip(value, powers, strict=True))
    if not exponent or value is None or isinstance(value, bool | str):
        return value
    assert isinstance(exponent, int)  # noqa: S101  a tuple of exponents belongs to a tuple
    product = as_fraction(value) * as_fraction(scale) ** exponent
    if product and not sys.float_info.min <= abs(product) <= sys.float_info.max:
        raise UsageError(
            f"{name}={value} times {float(scale):g}**{exponent} does not fit a float: "
            "take a scale nearer to 1"
        )
    return float(product)


def is_number(value: Any) -> bool:
    """Whether a default is a number, or a tuple with one in it."""
    values = value if isinstance(value, tuple | list) else (value,)
    return any(isinstance(v, Real) and not isinstance(v, bool) for v in values)


def _check(optimizer: str, name: str, value: Any, entry: Entry) -> None:
    default = entry.default
    if getattr(value, "ndim", 0):
        raise UsageError(f"{optimizer}: {name} is an array {list(value.shape)}: one number is needed")
    if value == default and default == math.inf:  # which means that nothing bounds it
        return
    problem = ""
    if isinstance(default, bool):
        problem = "" if isinstance(value, bool) else "True or False"
    elif isinstance(default, tuple):
        fits = isinstance(value, tuple | list) and len(value) == len(default)
        if not fits or not all(
            is_finite(v) or (v is None and d is None) for v, d in zip(value, default, strict=True)
        ):
            problem = f"{len(default)} numbers"
        elif name == "betas" and not all(v is None or 0 <= v < 1 for v in value):
            problem = "at least 0 and less than 1, each of them"
    elif is_number(default) or (entry.exponent and default is None):
        problem = "" if is_finite(value) else "a finite number"
        if not problem and name in ("lr", "eps") and value < 0:
            problem = "not negative"
    if problem:
        given = shortened(value)
        raise UsageError(f"{optimizer}: {name} is {given}, it must be {problem} (default: {default!r})")


def is_finite(value: object) -> bool:
    """Whether it is a number, not nan, and such as a float holds."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that no float holds
        return False
