"""Units tables: parts, uneven and empty elements, zero weights, ragged and empty groups, a regulariser."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from suite.algebra.units import NEEDS, Units
from suite.errors import UsageError, unknown

Kind = Literal["terms", "copies"]
KINDS: tuple[Kind, ...] = ("terms", "copies")
OPTIONAL = (
    "positions", "weight", "term_weight", "microbatches", "ranks", "regulariser", "max_elements",
    "expected_batch_size", "max_norm",
)  # fmt: skip

# What a column or a setting is needed for, where that has another name.
NEED = {
    "microbatch": "microbatches", "window": "microbatches", "rank": "ranks", "world_size": "ranks",
    "added_to_norm": "max_norm",
}  # fmt: skip
MAX_PARTS = 3
WIDTHS = (2, 3)
SETTINGS = (
    "parts", "part_kind", "regulariser", "window", "world_size", "expected_batch_size", "max_elements",
    "max_norm", "added_to_norm",
)  # fmt: skip

# What is plain comes first: that is what an example shrinks to.
COUNTS = (1, 2, 3, 0)
WEIGHTS = (1.0, 3.0, 0.25, 0.0)
TERM_WEIGHTS = (1.0, 10.0, 0.5, 0.0)
GROUPS = EXTRA = (0, 1, 2, 3)
THRESHOLDS = (1.0, 0.125, 100.0)
ADDED = (0.0, 1e-6, 0.5)
NUMBERS = (0.0, 1.0, -1.0, 2.0, -2.0, 3.0, -3.0, 0.5, -0.5, 0.1, -0.7, 3.3, 1e-3)

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
        needs: keys of `suite.algebra.units.NEEDS`, as conventions have them: `conventions[name].needs`.
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
    counts = COUNTS if empty else COUNTS[:-1]
    fields = {
        "elements": (counts,) * MAX_PARTS,
        "padding": (EXTRA,),
        "weight": (WEIGHTS if empty else WEIGHTS[:-1],),
        "microbatch": (GROUPS,),
        "rank": (GROUPS,),
        "gradient": (NUMBERS,) * (MAX_PARTS * max_params),
    }
    samples = draw(st.lists(_choices(sum(fields.values(), ())), min_size=size[0], max_size=size[1]))
    columns = dict(zip(fields, _split(samples, [len(tables) for tables in fields.values()]), strict=True))
    last = np.array(draw(_choices((NUMBERS,) * max_params)))
    settings = draw(_settings(columns))
    term_weight = draw(_choices((TERM_WEIGHTS,) * MAX_PARTS))
    several, kind_drawn, width, params, *present = draw(
        _choices(
            ((False, True), KINDS, WIDTHS, range(1, max(max_params, 1) + 1), *[(False, True)] * len(OPTIONAL))
        )
    )
    several, kind = (several and extras) or kind is not None, kind or kind_drawn
    width, params = (width if several else 1), min(params, max_params)
    names = {
        name for name, there in zip(OPTIONAL, present, strict=True) if name in needs or (there and extras)
    }

    columns["elements"] = columns["elements"][:, :width]
    columns["positions"] = columns["elements"] + columns.pop("padding")
    gradient = columns.pop("gradient").reshape(len(samples), MAX_PARTS, max_params)
    rows = gradient[:, :width, :params].reshape(len(samples) * width, params)
    if several and kind == "terms":
        columns["term_weight"] = np.array(term_weight[:width])
    table = Units.of(
        len(samples),
        {k: v for k, v in columns.items() if k == "elements" or NEED.get(k, k) in names},
        parts=tuple(f"part{p}" for p in range(width)) if several else (),
        part_kind=kind if several else "terms",
        regulariser="regulariser" in names,
        **{name: value for name, value in settings.items() if NEED.get(name, name) in names},
    )
    rows = np.vstack([rows, last[None, :params]]) if "regulariser" in names else rows
    return table, np.asarray(rows, dtype=np.float64)


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
    elements = columns["elements"]

    def of(drawn: list[Any]) -> dict[str, Any]:
        window, world, longest, expected, max_norm, added = drawn
        return {
            "window": max(2, int(columns["microbatch"].max()) + 1) + window,
            "world_size": max(2, int(columns["rank"].max()) + 1) + world,
            "max_elements": max(1, int(elements.max())) + longest,
            "expected_batch_size": float(len(elements) + expected),
            "max_norm": max_norm,
            "added_to_norm": added,
        }

    return _choices((EXTRA, EXTRA, EXTRA, EXTRA, THRESHOLDS, ADDED)).map(of)


def kind_of(needs: tuple[str, ...]) -> Kind | None:
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
    for name in ("elements", "positions", "weight", "microbatch", "rank", "term_weight"):
        values = getattr(table, name)
        if values is None:
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
        for name in SETTINGS
        if getattr(table, name) != getattr(plain, name)
    ]
    return f"Units.of({', '.join(arguments)})"


def _literal(name: str, entries: Any) -> str:
    """`[samples, parts]` values as short as `Units.of` takes them."""
    if name == "term_weight":
        return repr(entries[0].tolist())
    if (entries == entries[:, :1]).all():
        entries = entries[:, 0]
    whole = entries.astype(int) if (entries == entries.astype(int)).all() else entries
    return repr(whole.tolist())
