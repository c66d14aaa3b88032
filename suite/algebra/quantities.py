"""What the symbols of formulas are worth on one batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from suite.algebra.columns import DECLARED
from suite.algebra.formula import Formula
from suite.algebra.gram import clip_factor, norm, unit_norms
from suite.algebra.symbols import (
    CLIP_MICROBATCH,
    CLIP_OVER_N,
    CLIP_RANK,
    CLIP_TIMES_N,
    CLIP_UNIT,
    KEPT,
    WEIGHED,
    WHOLE_CLIPS,
    numeral,
)
from suite.algebra.units import Column, Index, Units, per

if TYPE_CHECKING:
    from suite.algebra.gram import Gram


@dataclass(frozen=True, eq=False)
class Quantities:
    """The quantities of one batch, by symbol.

    Args:
        units: the units table that they were read from.
        numbers: one number each, of the whole batch.
        columns: `[units]` each, what varies between units; nan for the regulariser, of which a formula says
            nothing.
        searched: the symbols that a search tries. The others can be evaluated, but say the same as one of
            these: `V_k` is `n_k` where every sample has one element.
        same_as: for each symbol that is not searched, the formula of searched ones that it equals.
        gram: `[units, units]` the Gram matrix, which clip factors follow from; None where it is not known.
    """

    units: Units
    numbers: Mapping[str, float]
    columns: Mapping[str, Column]
    searched: tuple[str, ...]
    same_as: Mapping[str, Formula] = field(default_factory=dict)
    gram: Gram | None = None

    @classmethod
    def of(
        cls,
        units: Units,
        *,
        numbers: Mapping[str, float] | None = None,
        columns: Mapping[str, ArrayLike] | None = None,
        gram: Gram | None = None,
    ) -> Quantities:
        """What `units` knows, and what the caller knows of the batch besides.

        Args:
            units: the table.
            numbers: further numbers by name, to be read after "the": `"non-zero entries of batch[1]"`.
            columns: further columns by name, `[units]`.
            gram: `[units, units]` the Gram matrix; with a clip threshold in the table, clip factors follow.
        """
        counted = {name: np.where(units.data, column, np.nan) for name, column in _columns(units)}
        if gram is not None and units.max_norm is not None:
            counted |= dict(_clipping(units, gram))
        known = dict(_numbers(units))
        same_as = _same_as(units, known)
        given = {name: np.asarray(column, dtype=np.float64) for name, column in (columns or {}).items()}
        named = {name: float(value) for name, value in (numbers or {}).items()}
        unlikely = _unlikely(units)
        searched = [name for name in (*known, *counted) if name not in same_as and name not in unlikely]
        return cls(
            units=units,
            numbers=known | named,
            columns=counted | given,
            searched=tuple(dict.fromkeys((*searched, *named, *given))),
            same_as=same_as,
            gram=gram,
        )

    def value(self, formula: Formula) -> float:
        """What a formula of numbers is worth; nan where a symbol is not known, or varies between units."""
        return formula.value(self.numbers)

    def column(self, formula: Formula) -> Column:
        """`[units]` what a formula is worth at each unit; nan for the regulariser, or where it is not known.

        A clip factor of the whole gradient is that of the gradient which the rest of the formula gives.
        """
        found = np.full(len(self.units), -1.0 if formula.negative else 1.0)
        clips = 1.0
        for name, power in formula.powers:
            if name in WHOLE_CLIPS:
                continue
            factor = self._factor(name)
            with np.errstate(divide="ignore"):
                found = found * factor**power if power > 0 else found / factor**-power
        found = np.where(self.units.data, found, np.nan)
        for name, power in formula.powers:
            if name in WHOLE_CLIPS:
                clips *= self._clip(name, found) ** power
        return found * clips

    def said(self, formula: Formula) -> Formula:
        """`formula` in the symbols that are searched: without those that say the same here."""
        return formula.replaced(self.same_as)

    def _factor(self, name: str) -> Column:
        worth = numeral(name)
        if worth is not None:
            return np.asarray(worth)
        if name in self.columns:
            return self.columns[name]
        return np.asarray(self.numbers.get(name, np.nan))

    def _clip(self, name: str, rest: Column) -> float:
        if self.gram is None or self.units.max_norm is None:
            return np.nan
        return float(whole_clip(self.units, name, norm(self.gram, self.units.column(rest))))


def whole_clip(units: Units, name: str, sizes: Column | float) -> Column:
    """What a clip factor of `suite.algebra.symbols.WHOLE_CLIPS` is worth for gradients of these norms."""
    sizes = sizes * units.n if name == CLIP_TIMES_N else sizes
    threshold = units.require("max_norm") / (units.n if name == CLIP_OVER_N else 1)
    return clip_factor(sizes, threshold, units.added_to_norm)


def quantities(units: Units) -> dict[str, float]:
    """What the scales of conventions are made of on one batch, as a record keeps it."""
    known, total = dict(_numbers(units)), float(units.total()[0])
    left_out = {"V", "Σm"} if total == 0 else {"d", "Σm"} if units.positions is not None else {"V"}
    if "d" in known:
        left_out.add("Σm")
    if units.values is not None:
        left_out |= {"d", "Σm"}  # nobody said what they are
    return {name: value for name, value in known.items() if value > 0 and name not in left_out}


def _numbers(units: Units) -> Iterator[tuple[str, float]]:
    total = max(float(units.total()[0]), 1.0)
    per_sample = np.unique(units.sample_total()[units.data])
    yield "n", units.n
    yield "V", total
    yield "Σm", total
    if units.positions is not None:
        yield "T", max(float(units.total(units.positions)[0]), 1.0) / units.n
    if len(per_sample) == 1 and per_sample[0] > 0:
        yield "d", float(per_sample[0])
    if units.max_elements is not None:
        yield "Lmax", units.max_elements
    if units.microbatch is not None:
        yield from (("K", units.groups("microbatch")), ("W", units.window))
    if units.rank is not None:
        yield from (("R", units.groups("rank")), ("S", units.world_size))
    if units.expected_batch_size is not None:
        yield "L", units.expected_batch_size
    if units.parts:
        yield "P", len(units.parts)
    if units.weight is not None:
        present = units.weight != 0
        yield "Σw", _or_one(units.total(units.weight)[0])
        yield "Σwm", _or_one(units.total(units.weight * units.elements)[0])
        yield "#(w≠0)", max(float(units.total(present.astype(float))[0]), 1.0)
        yield "Σm(w≠0)", max(float(units.total(units.elements * present)[0]), 1.0)
    yield from _as_it_stands(units, columns=False)


def _columns(units: Units) -> Iterator[tuple[str, Column]]:
    for name in ("m_u", "V_u"):
        yield name, units.elements
    for name in ("m_i", "V_i"):
        yield name, _counts(units.sample_total())
    yield KEPT, (units.elements > 0).astype(float)
    if units.positions is not None:
        yield "T_i", _counts(_by(units, (units.sample,), units.positions))
    if units.weight is not None:
        yield "w_u", units.weight
        yield WEIGHED, (units.weight != 0).astype(float)
        if units.parts:
            yield "Σw_i", _over(_by(units, (units.sample,), units.weight))
            yield "Σw_t", _over(_by(units, (units.part,), units.weight))
    if units.term_weight is not None:
        yield "λ_t", units.term_weight
    if units.parts:
        yield "V_t", _counts(units.total(by="part"))
    yield from _group_columns(units)
    yield from _as_it_stands(units, columns=True)


def _as_it_stands(units: Units, *, columns: bool) -> Iterator[tuple[str, Any]]:
    """The columns, or the settings, that a formula may name without counting or adding anything up."""
    for name, it in DECLARED.items():
        needed = () if it.need is None else (it.need.name,)
        value = getattr(units, name)
        if it.meaning and it.column == columns and value is not None and units.missing(needed) is None:
            yield it.symbol, value


def _group_columns(units: Units) -> Iterator[tuple[str, Column]]:
    """Totals over micro-batches and ranks, over the cells of both, and over the loss terms in each."""
    indices = {"k": units.microbatch, "r": units.rank, "t": units.part if units.parts else None}
    for label in ("k", "r", "kr", "kt", "rt"):
        index = [indices[letter] for letter in label]
        by = tuple(i for i in index if i is not None)
        if len(by) < len(index):
            continue
        if not label.endswith("t"):
            yield f"n_{label}", _counts(_distinct(units, by))
        yield f"V_{label}", _counts(_by(units, by, units.elements))
        if units.weight is not None:
            yield f"Σw_{label}", _over(_by(units, by, units.weight))
    if units.microbatch is not None and units.rank is not None:
        yield "K_r", _distinct(units, (units.rank,), units.microbatch)


def _clipping(units: Units, gram: Gram) -> Iterator[tuple[str, Column]]:
    """The clip factors of units, and of the means of micro-batches and ranks with the regulariser in them."""

    def factor(size: Column | float) -> Column:
        return clip_factor(size, units.require("max_norm"), units.added_to_norm)

    yield CLIP_UNIT, np.where(units.data, factor(unit_norms(gram)), np.nan)
    for name, by, index in (
        (CLIP_MICROBATCH, "microbatch", units.microbatch),
        (CLIP_RANK, "rank", units.rank),
    ):
        if index is None:
            continue
        means = units.column(per(units.total(by=by)))  # type: ignore[arg-type]
        found = np.full(len(units), np.nan)
        for group in np.unique(index[units.data]):
            inside = (index == group) & units.data
            found[inside] = factor(norm(gram, np.where(inside | ~units.data, means, 0.0)))
        yield name, found


def _same_as(units: Units, known: Mapping[str, float]) -> dict[str, Formula]:
    """The symbols that say what another one says, because of what this table is."""
    tokens = units.positions is not None
    single = bool((units.elements[units.data] == 1).all()) and len(units.parts) <= 1
    rules: dict[str, str] = {}
    if tokens:
        rules |= {"Σm": "V", "m_u": "V_u", "m_i": "V_i", "d": "V/n"}
    elif "d" in known:
        rules |= {"V": "n·d", "Σm": "n·d", "V_u": "m_u", "V_i": "d", "m_i": "d"}
    else:
        rules |= {"V": "Σm", "V_u": "m_u", "V_i": "m_i"}
    if bool((units.elements[units.data] == 1).all()) and units.data.sum() == units.n * max(
        1, len(units.parts)
    ):
        rules |= {"V_t": "n"}
    if units.weight is not None and bool((units.elements[units.data] == 1).all()):
        rules |= {"Σwm": "Σw", "Σm(w≠0)": "#(w≠0)"}
    if single and not tokens:
        counts = {f"V_{label}": f"n_{label}" for label in ("k", "r", "kr")}
        rules |= {"m_u": "1", "V_u": "1", "m_i": "1", "V_i": "1", KEPT: "1", **counts}
    elif bool((units.elements[units.data] > 0).all()):
        rules |= {KEPT: "1"}
    if units.weight is not None and bool((units.weight[units.data] != 0).all()):
        rules |= {WEIGHED: "1", "#(w≠0)": "n·P" if units.parts else "n", "Σm(w≠0)": "V"}
    rules |= _nested(units)
    found = {name: Formula.parse(text) for name, text in rules.items()}
    # A formula may hold a symbol that has a rule of its own: V_kr is V_k, which is n_k.
    for _ in found:
        found = {name: formula.replaced(found) for name, formula in found.items()}
    return found


def _unlikely(units: Units) -> set[str]:
    """What nobody divides by: a total over a position of all sequences, or over a copy of all samples."""
    if units.positions is None and units.part_kind == "terms":
        return set()
    return {"V_t", "Σw_t", "V_kt", "V_rt", "Σw_kt", "Σw_rt"}


def _nested(units: Units) -> dict[str, str]:
    """A micro-batch that is on one rank only is the micro-batch on its rank, and the other way round."""
    k, r = units.microbatch, units.rank
    if k is None or r is None:
        return {}
    pairs = len(np.unique(np.stack([k, r])[:, units.data], axis=1).T)
    for count, label in ((units.groups("microbatch"), "_k"), (units.groups("rank"), "_r")):
        if pairs == count:
            return {f"{name}_kr": f"{name}{label}" for name in ("n", "V", "Σw")}
    return {}


def _by(units: Units, by: tuple[Index, ...], values: Column) -> Column:
    """`[units]` the sum of `values` over the units that agree in all of `by`."""
    cell = _cells(by)
    return np.asarray(np.bincount(cell, weights=np.where(units.data, values, 0.0))[cell], np.float64)


def _distinct(units: Units, by: tuple[Index, ...], of: Index | None = None) -> Column:
    """`[units]` how many samples (or others) the units that agree in all of `by` belong to."""
    of = units.sample if of is None else of
    cell = _cells(by)
    found = np.zeros(len(units))
    _, first = np.unique(np.stack([cell, of]), axis=1, return_index=True)
    found[first[units.data[first]]] = 1.0
    return np.asarray(np.bincount(cell, weights=found)[cell], np.float64)


def _cells(by: tuple[Index, ...]) -> NDArray[np.intp]:
    return np.unique(np.stack(by), axis=1, return_inverse=True)[1].reshape(-1)


def _counts(column: Column) -> Column:
    """An empty group divides by one, as in `suite.algebra.units.per`."""
    return np.maximum(column, 1.0)


def _over(sums: Column) -> Column:
    return np.where(sums == 0.0, 1.0, sums)


def _or_one(total: float) -> float:
    return float(total) if total != 0 else 1.0
