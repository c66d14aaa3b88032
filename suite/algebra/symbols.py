"""The symbols of formulas: what each stands for, in which units column it is read, how readily it is named.

Symbols with an index vary between units (`V_k` is that of the unit's micro-batch `k`); the others are one
number of the whole batch.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from suite.algebra.columns import DECLARED

Kind = Literal["factor", "number", "column"]


@dataclass(frozen=True)
class Symbol:
    """One quantity that a formula may name.

    Args:
        name: as it is printed.
        meaning: what it is, to be read after "the".
        kind: a `factor` that people multiply with (weights, clipping), a `number` of the whole batch, or a
            `column` of counts, by unit.
        cost: how much it adds to the complexity of a formula as a divisor.
        needs: what the units table must hold for it, a key of `suite.algebra.columns.DECLARED`, or `parts`.
        fixed: whether batches of one size have it in common.
    """

    name: str
    meaning: str
    kind: Kind
    cost: float
    needs: str = ""
    fixed: bool = False


CLIP, CLIP_TIMES_N, CLIP_OVER_N = "min(1, C/‖g‖)", "min(1, C/‖n·g‖)", "min(1, (C/n)/‖g‖)"
WHOLE_CLIPS = (CLIP, CLIP_TIMES_N, CLIP_OVER_N)
"""Of the gradient that the rest of the formula gives; a norm of n times the gradient is that of a sum."""
CLIP_UNIT, CLIP_MICROBATCH, CLIP_RANK = "min(1, C/‖g_u‖)", "min(1, C/‖g_k‖)", "min(1, C/‖g_r‖)"
KEPT, WEIGHED = "[m_u>0]", "[w_u≠0]"


def _factor(name: str, meaning: str, needs: str, cost: float = 1.0) -> Symbol:
    return Symbol(name, meaning, "factor", cost, needs)


def _number(name: str, cost: float, meaning: str, needs: str = "", *, fixed: bool = True) -> Symbol:
    return Symbol(name, meaning, "number", cost, needs, fixed)


def _column(name: str, cost: float, meaning: str, needs: str) -> Symbol:
    return Symbol(name, meaning, "column", cost, needs)


def _declared(name: str, cost: float = 1.2) -> Symbol:
    """The symbol of a column or setting as it stands in the table."""
    it = DECLARED[name]
    kind: Kind = "factor" if it.column else "number"
    return Symbol(it.symbol, it.meaning, kind, cost, name, fixed=not it.column)


_KNOWN = (
    _factor(CLIP, "clip factor of the whole gradient", "max_norm"),
    _factor(CLIP_TIMES_N, "clip factor of n times the gradient", "max_norm", 1.6),
    _factor(CLIP_OVER_N, "clip factor of the whole gradient at C/n", "max_norm", 1.7),
    _factor(CLIP_MICROBATCH, "clip factor of the micro-batch's mean gradient", "max_norm"),
    _factor(CLIP_RANK, "clip factor of the rank's mean gradient", "max_norm"),
    _factor(CLIP_UNIT, "clip factor of the unit's gradient", "max_norm"),
    _declared("weight", 1.0),
    _declared("term_weight", 1.0),
    _factor(KEPT, "1 where the unit has elements and 0 where it has none", "elements", 0.8),
    _factor(WEIGHED, "1 where the unit has a weight and 0 where its weight is zero", "weight", 0.9),
    _number("n", 1.0, "samples"),
    _number("V", 1.0, "valid tokens", "positions", fixed=False),
    _number("Σm", 1.0, "elements", "elements", fixed=False),
    _number("T", 1.6, "positions a sample, padding counted", "positions", fixed=False),
    _number("d", 1.2, "elements a sample", "elements"),
    _declared("max_elements", 1.5),
    _number("K", 1.0, "micro-batches", "microbatch"),
    _declared("window", 1.2),
    _number("R", 1.0, "ranks with data", "rank"),
    _declared("world_size", 1.3),
    _declared("expected_batch_size", 1.1),
    _number("P", 1.3, "parts a sample", "parts"),
    _number("Σw", 1.0, "sum of the weights", "weight", fixed=False),
    _number("Σwm", 1.1, "sum of weight × elements", "weight", fixed=False),
    _number("#(w≠0)", 1.3, "units whose weight is not zero", "weight", fixed=False),
    _number("Σm(w≠0)", 1.4, "elements of units whose weight is not zero", "weight", fixed=False),
    _column("m_u", 1.4, "elements of the unit", "elements"),
    _column("V_u", 1.4, "valid tokens of the unit", "elements"),
    _column("m_i", 1.0, "elements of the sample", "elements"),
    _column("V_i", 1.0, "valid tokens of the sample", "elements"),
    _column("T_i", 1.5, "positions of the sample, padding counted", "positions"),
    _column("V_t", 1.1, "elements of the loss term", "parts"),
    *(
        _column(name + label, cost + more, f"{meaning} of the unit's {group}", needs)
        for label, group, needs, more in (
            ("_k", "micro-batch", "microbatch", 0.0),
            ("_r", "rank", "rank", 0.0),
            ("_kr", "micro-batch on its rank", "microbatch", 0.2),
            ("_kt", "loss term in its micro-batch", "microbatch", 0.4),
            ("_rt", "loss term on its rank", "rank", 0.4),
        )
        for name, meaning, cost in (
            ("n", "samples", 1.1),
            ("V", "elements", 1.0),
            ("Σw", "sum of the weights", 1.3),
        )
        if name != "n" or not label.endswith("t")
    ),
    _column("Σw_i", 1.4, "sum of the weights of the sample", "weight"),
    _column("Σw_t", 1.3, "sum of the weights of the loss term", "weight"),
    _column("K_r", 1.3, "micro-batches of the unit's rank", "microbatch"),
)
_NAMES = {symbol.name for symbol in _KNOWN}

SYMBOLS: Mapping[str, Symbol] = {
    symbol.name: symbol
    for symbol in (
        *_KNOWN,
        *(_declared(name) for name, it in DECLARED.items() if it.meaning and it.symbol not in _NAMES),
    )
}
"""By name, in the order in which a product is written."""

LEGEND = (
    "n samples, d elements a sample, V valid tokens, T padded length, Lmax longest length allowed, "
    "K micro-batches of W in a full window, R ranks with data of S, L expected batch size, "
    "P parts a sample"
)
"""Of the symbols that tables of scales usually hold."""

_NUMERAL = re.compile(r"\d+(\.\d+)?")
NAMED_COST = 1.4
"""Of a number that the caller named."""
TWO_COST, DECIMAL_COST, LITERAL_COST = 1.8, 2.0, 3.5
"""Of a factor 2; of a weight, which people write, and 0.7 more a digit; of another whole number as a
divisor, which nobody can look up."""


def numeral(name: str) -> float | None:
    """What a numeral is worth, `32` or `0.3`; None for a symbol and for a name."""
    return float(name) if _NUMERAL.fullmatch(name) else None


def cost(name: str, power: int) -> float:
    """How much `name` to the power `power` adds to the complexity of a formula.

    People divide by counts and multiply with weights, once. Whatever else they do is rarer.
    """
    symbol = SYMBOLS.get(name)
    weight = symbol is None and _is_weight(name, power)
    base = _weight_cost(name) if weight else _named_cost(name) if symbol is None else symbol.cost
    factor = weight if symbol is None else symbol.kind == "factor"
    usual = power > 0 if factor else power < 0
    once = base if usual else 1.5 * base + (1.0 if symbol is not None and symbol.kind == "factor" else 0.0)
    return once + (abs(power) - 1) * 1.5 * base


def _named_cost(name: str) -> float:
    if numeral(name) is None:
        return NAMED_COST
    return TWO_COST if name == "2" else LITERAL_COST


def _is_weight(name: str, power: int) -> bool:
    """Whether people write this number before a loss: 0.3, 5 or 10."""
    return numeral(name) is not None and ("." in name or (power > 0 and name != "2"))


def _weight_cost(name: str) -> float:
    return DECIMAL_COST + 0.7 * len(name.replace(".", "").strip("0"))


def is_fixed(name: str) -> bool:
    """Whether batches of one size have this quantity in common."""
    return numeral(name) is not None or (name in SYMBOLS and SYMBOLS[name].fixed)


def in_legend(name: str) -> bool:
    """Whether `LEGEND` has the symbol, or it needs none."""
    return numeral(name) is not None or name in {"n", "d", "V", "T", "Lmax", "K", "W", "R", "S", "L", "P"}


def implied(needs: Collection[str]) -> set[str]:
    """The numbers that belong to a convention with these needs: those of any batch, and what it asks for."""
    columns = {name for name, it in DECLARED.items() if it.need is not None and it.need.name in needs}
    columns |= {"", "elements", "positions"} | ({"parts"} if {"terms", "copies"} & set(needs) else set())
    return {name for name, symbol in SYMBOLS.items() if symbol.kind == "number" and symbol.needs in columns}


def is_column(name: str) -> bool:
    """Whether the symbol stands for a value of its own at each unit."""
    return name in SYMBOLS and SYMBOLS[name].kind != "number" and name not in WHOLE_CLIPS


@lru_cache(maxsize=4096)
def rank(name: str) -> tuple[int, int, str]:
    """The place of a symbol in a product: numerals, factors, numbers, named numbers, counts by unit."""
    if numeral(name) is not None:
        return 0, 0, name
    if name not in SYMBOLS:
        return 3, 0, name
    place = {"factor": 1, "number": 2, "column": 4}[SYMBOLS[name].kind]
    return place, list(SYMBOLS).index(name), name
