"""A formula: a product of whole powers of quantities, such as `1/(K·V_k)`, `w_u/Σw` or `n/L`.

The coefficients of a convention are one, and so is the scale between two conventions. What its symbols are
worth on a batch, `suite.algebra.quantities` knows; which formula gives some weights,
`suite.algebra.search` finds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from suite.algebra.symbols import SYMBOLS, cost, is_column, is_fixed, numeral, rank

SUPERSCRIPTS = {1: "", 2: "²", 3: "³", 4: "⁴"}
_FUNCTIONS = re.compile(r"min\(1, (?:[^()]|\([^)]*\))*\)|\[[^]]*\]|[^\W\d]*#?Σ?\w*\([^)]*≠0\)")


@dataclass(frozen=True)
class Formula:
    """A product of whole powers of symbols.

    Args:
        powers: symbol and exponent of each factor. Zero powers are dropped, and factors are brought into
            the order in which they are written.
        negative: whether the product is to be taken times −1.
    """

    powers: tuple[tuple[str, int], ...] = ()
    negative: bool = False

    def __post_init__(self) -> None:
        kept = sorted(((name, power) for name, power in self.powers if power), key=lambda p: rank(p[0]))
        object.__setattr__(self, "powers", tuple(kept))

    @classmethod
    def parse(cls, text: str) -> Formula:
        """The formula that `text` is, in the way that `str` writes one: `"w_u/(K·V_k)"`.

        Raises:
            ValueError: A factor of `text` is no known symbol and no whole number.
        """
        functions: list[str] = []

        def hide(match: re.Match[str]) -> str:
            functions.append(match[0])
            return f"\0{len(functions) - 1}\0"

        over, _, under = _FUNCTIONS.sub(hide, text).partition("/")
        powers: dict[str, int] = {}
        for side, sign in ((over, 1), (under.strip("()"), -1)):
            for factor in filter(None, side.split("·")):
                base = factor.rstrip("²³⁴")
                power = next((p for p, mark in SUPERSCRIPTS.items() if mark and factor.endswith(mark)), 1)
                name = re.sub("\0(\\d+)\0", lambda match: functions[int(match[1])], base)
                if name == "1":
                    continue
                if name not in SYMBOLS and not name.isdigit():
                    raise ValueError(f"formula {text!r}: {name!r} is no symbol")
                powers[name] = powers.get(name, 0) + sign * power
        return cls(tuple(powers.items()))

    def __str__(self) -> str:
        over = "·".join(_written(name, power) for name, power in self.powers if power > 0) or "1"
        under = [_written(name, -power) for name, power in self.powers if power < 0]
        sign = "−" if self.negative else ""
        if not under:
            return sign + over
        return f"{sign}{over}/({'·'.join(under)})" if len(under) > 1 else f"{sign}{over}/{under[0]}"

    def __mul__(self, other: Formula) -> Formula:
        powers = dict(self.powers)
        for name, power in other.powers:
            powers[name] = powers.get(name, 0) + power
        return Formula(tuple(powers.items()), self.negative != other.negative)

    def __truediv__(self, other: Formula) -> Formula:
        return self * other.inverse

    @property
    def inverse(self) -> Formula:
        """One over this formula."""
        return Formula(tuple((name, -power) for name, power in self.powers), self.negative)

    @property
    def symbols(self) -> tuple[str, ...]:
        """Its symbols, numerals included, in the order in which they are written."""
        return tuple(name for name, _ in self.powers)

    @property
    def varies(self) -> bool:
        """Whether a quantity in it has a value of its own at each unit."""
        return any(is_column(name) for name in self.symbols)

    @property
    def fixed(self) -> bool:
        """Whether its value is the same on all batches of one size."""
        return all(map(is_fixed, self.symbols))

    @cached_property
    def complexity(self) -> float:
        """What orders formulas that give the same numbers: the plainest has the least."""
        return sum(cost(name, power) for name, power in self.powers) + 0.5 * self.negative

    def value(self, known: Mapping[str, float]) -> float:
        """Its value on a batch with these quantities; nan where one of them is not known."""
        factors = {
            name: known.get(name, math.nan) if (worth := numeral(name)) is None else worth
            for name in self.symbols
        }
        over = math.prod(factors[name] ** power for name, power in self.powers if power > 0)
        under = math.prod(factors[name] ** -power for name, power in self.powers if power < 0)
        return (-over if self.negative else over) / under if under else math.nan

    def replaced(self, rules: Mapping[str, Formula]) -> Formula:
        """This formula with the formulas of `rules` in the place of their symbols."""
        found = Formula((), self.negative)
        for name, power in self.powers:
            factor = rules.get(name, Formula(((name, 1),)))
            for _ in range(abs(power)):
                found = found * factor if power > 0 else found / factor
        return found


def simplest(formulas: Iterable[Formula]) -> list[Formula]:
    """Those of the least complexity, within a rounding of it."""
    ordered = sorted(formulas, key=lambda formula: formula.complexity)
    return [f for f in ordered if f.complexity <= ordered[0].complexity + 1e-9]


def _written(name: str, power: int) -> str:
    if numeral(name) is not None:
        return str(int(name) ** power) if name.isdigit() else name + SUPERSCRIPTS.get(power, f"^{power}")
    plain = name in SYMBOLS or " " not in name or name.startswith("(")
    return (name if plain else f"({name})") + SUPERSCRIPTS.get(power, f"^{power}")
