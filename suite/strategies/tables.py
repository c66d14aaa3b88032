"""Units tables: parts, uneven and empty elements, zero weights, ragged and empty groups, a regulariser."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from suite.algebra.columns import DECLARED, NEEDS, NUMBER_SETTINGS, UNIT_COLUMNS
from suite.algebra.units import Units
from suite.errors import UsageError, unknown

PartKind = Literal["terms", "copies"]
PART_KINDS: tuple[PartKind, ...] = ("terms", "copies")
OPTIONAL_NEEDS = tuple(need for need in NEEDS if need not in PART_KINDS)
MAX_PARTS = 3
WIDTHS = (2, 3)
ARGUMENTS = ("parts", "part_kind", "regulariser", *NUMBER_SETTINGS)
"""Of `Units.of`, besides the columns."""

# What is plain comes first: that is what an example shrinks to.
_GROUPS = _MORE = (0, 1, 2, 3)
DRAWN_COLUMNS: Mapping[str, tuple[float, ...]] = {
    "elements": (1, 2, 3, 0),
    "positions": _MORE,  # than elements
    "weight": (1.0, 3.0, 0.25, 0.0),
    "microbatch": _GROUPS,
    "rank": _GROUPS,
}
"""What is drawn for a sample; elements are drawn for each of its parts."""
_EMPTY = ("elements", "weight")
"""Whose last choice is none, or no weight, which `empty` allows."""
DRAWN_TERMS: Mapping[str, tuple[float, ...]] = {"term_weight": (1.0, 10.0, 0.5, 0.0)}
"""What is drawn for a loss term."""
DRAWN_NUMBERS: Mapping[str, tuple[tuple[float, ...], Callable[[Any, Any], float]]] = {
    "window": (_MORE, lambda of, more: max(2, int(of["microbatch"].max()) + 1) + more),
    "world_size": (_MORE, lambda of, more: max(2, int(of["rank"].max()) + 1) + more),
    "max_elements": (_MORE, lambda of, more: max(1, int(of["elements"].max())) + more),
    "expected_batch_size": (_MORE, lambda of, more: float(len(of["elements"]) + more)),
    "moving_average": ((100.0, 0.0, 3.5), lambda _, drawn: drawn),
    "max_norm": ((1.0, 0.125, 100.0), lambda _, drawn: drawn),
    "added_to_norm": ((0.0, 1e-6, 0.5), lambda _, drawn: drawn),
}
"""What is drawn for a table, and what that makes of its columns."""
NOT_DRAWN = {
    "sample": "`Units.of` fills it in",
    "part": "`Units.of` fills it in",
    "values": "a case that states nothing has it: most conventions do not apply then",
}
_GRADIENTS = (0.0, 1.0, -1.0, 2.0, -2.0, 3.0, -3.0, 0.5, -0.5, 0.1, -0.7, 3.3, 1e-3)

Gradients = NDArray[np.float64]


def units(
    needs: tuple[str, ...] = (),
    *,
    min_samples: int = 1,
    max_samples: int = 6,
    empty: bool = True,
    extras: bool = True,
) -> st.SearchStrategy[Units]:
    """A units table that has all that `needs` asks for, and at times what else a table may hold.

    Samples may be ignored (no elements) and weigh nothing, micro-batches and ranks be of any size and
    order, some of them empty, and the window be partial.

    Args:
        needs: keys of `suite.algebra.columns.NEEDS`, as conventions have them: `conventions[name].needs`.
        min_samples: the smallest batch.
        max_samples: the largest batch.
        empty: whether units without elements, and weights of zero, may be drawn.
        extras: whether a table may hold what `needs` does not ask for: parts, a regulariser, …

    Raises:
        UsageError: There is no such need, or two of them exclude each other.
    """
    kind_of(needs)  # at once, not when the first is drawn
    drawn = tables(needs, (min_samples, max_samples), max_params=0, empty=empty, extras=extras)
    return drawn.map(lambda pair: pair[0])


@st.composite
def tables(
    draw: st.DrawFn,
    needs: tuple[str, ...],
    size: tuple[int, int],
    *,
    max_params: int,
    empty: bool,
    extras: bool,
) -> tuple[Units, Gradients]:
    """A units table, and `[units, params]` numbers.

    All that a sample may have is drawn together, and what this table lacks is dropped in the end: so a
    sample, a part, a parameter or a column can go without anything else being changed.
    """
    kind = kind_of(needs)
    fields = {
        name: (choices[:-1] if name in _EMPTY and not empty else choices,)
        * (MAX_PARTS if name == "elements" else 1)
        for name, choices in DRAWN_COLUMNS.items()
    }
    fields["gradient"] = (_GRADIENTS,) * (MAX_PARTS * max_params)
    samples = draw(st.lists(_choices(sum(fields.values(), ())), min_size=size[0], max_size=size[1]))
    columns = dict(zip(fields, _split(samples, [len(tables) for tables in fields.values()]), strict=True))
    last = np.array(draw(_choices((_GRADIENTS,) * max_params)))
    settings = draw(_settings(columns))
    terms = {name: draw(_choices((choices,) * MAX_PARTS)) for name, choices in DRAWN_TERMS.items()}
    flags = [(False, True)] * len(OPTIONAL_NEEDS)
    several, kind_drawn, width, params, *present = draw(
        _choices(((False, True), PART_KINDS, WIDTHS, range(1, max(max_params, 1) + 1), *flags))
    )
    several, kind = (several and extras) or kind is not None, kind or kind_drawn
    width, params = (width if several else 1), min(params, max_params)
    there = dict(zip(OPTIONAL_NEEDS, present, strict=True))
    needed = {name for name in OPTIONAL_NEEDS if name in needs or (there[name] and extras)}

    columns["elements"] = columns["elements"][:, :width]
    columns["positions"] = columns["elements"] + columns["positions"]
    gradient = columns.pop("gradient").reshape(len(samples), MAX_PARTS, max_params)
    rows = gradient[:, :width, :params].reshape(len(samples) * width, params)
    if several and kind == "terms":
        columns |= {name: np.array(drawn[:width]) for name, drawn in terms.items()}
    table = Units.of(
        len(samples),
        {name: column for name, column in columns.items() if _is_in(name, needed)},
        parts=tuple(f"part{p}" for p in range(width)) if several else (),
        part_kind=kind if several else "terms",
        regulariser="regulariser" in needed,
        **{name: value for name, value in settings.items() if _is_in(name, needed)},
    )
    rows = np.vstack([rows, last[None, :params]]) if "regulariser" in needed else rows
    return table, np.asarray(rows, dtype=np.float64)


def _is_in(name: str, needed: set[str]) -> bool:
    """Whether a table that has what is `needed` has this column or setting."""
    need = DECLARED[name].need
    return need is None or need.name in needed


def _choices(tables: Sequence[Sequence[Any]]) -> st.SearchStrategy[list[Any]]:
    """One entry of each table. All come of one draw, byte by byte: that is ten times faster than many."""
    return st.binary(min_size=len(tables), max_size=len(tables)).map(
        lambda chosen: [table[byte % len(table)] for table, byte in zip(tables, chosen, strict=True)]
    )


def _split(rows: list[list[Any]], widths: list[int]) -> list[NDArray[Any]]:
    """The columns of `rows`, `[samples, width]` each."""
    ends = np.cumsum([0, *widths])
    return [np.array([row[a:b] for row in rows]) for a, b in itertools.pairwise(ends)]


def _settings(columns: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """What a table holds besides its columns."""
    choices = [of for of, _ in DRAWN_NUMBERS.values()]
    return _choices(choices).map(
        lambda drawn: {
            name: value(columns, one)
            for one, (name, (_, value)) in zip(drawn, DRAWN_NUMBERS.items(), strict=True)
        }
    )


def kind_of(needs: tuple[str, ...]) -> PartKind | None:
    """Which kind of parts `needs` asks for."""
    for need in needs:
        if need not in NEEDS:
            raise unknown("need of a units table", need, NEEDS)
    if {"terms", "term_weight"} & set(needs):
        if "copies" in needs:
            raise UsageError("the parts of a sample are loss terms or augmented copies: no table has both")
        return "terms"
    return "copies" if "copies" in needs else None


def source(table: Units) -> str:
    """The Python that makes this table, without what `Units.of` fills in itself."""
    width = max(len(table.parts), 1)
    columns = []
    for name in UNIT_COLUMNS:
        values = getattr(table, name)
        if values is None or name in ("sample", "part"):
            continue
        entries = values[table.data].reshape(-1, width)
        if name == "elements" and (entries == 1).all():
            continue
        columns.append(f"{name!r}: {_literal(name, entries)}")
    arguments = [str(table.n)]
    if columns:
        arguments.append(f"{{{', '.join(columns)}}}")
    plain = Units.of(1)
    arguments += [
        f"{name}={getattr(table, name)!r}"
        for name in ARGUMENTS
        if getattr(table, name) != getattr(plain, name)
    ]
    return f"Units.of({', '.join(arguments)})"


def _literal(name: str, entries: Any) -> str:
    """`[samples, parts]` values as short as `Units.of` takes them."""
    if DECLARED[name].by == "term":
        return repr(entries[0].tolist())
    if (entries == entries[:, :1]).all():
        entries = entries[:, 0]
    whole = entries.astype(int) if (entries == entries.astype(int)).all() else entries
    return repr(whole.tolist())
