"""Units tables: parts, uneven and empty elements, zero weights, ragged and empty groups, a regulariser."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from hypothesis import strategies as st

from suite.errors import UsageError, unknown
from suite.units import NEEDS, Units

Kind = Literal["terms", "copies"]
KINDS: tuple[Kind, ...] = ("terms", "copies")
OPTIONAL = (
    "positions", "weight", "term_weight", "microbatches", "ranks", "regulariser", "max_elements",
    "expected_batch_size", "max_norm",
)  # fmt: skip

SETTINGS = (
    "parts", "part_kind", "regulariser", "window", "world_size", "expected_batch_size", "max_elements",
    "max_norm", "added_to_norm",
)  # fmt: skip

# What is plain comes first: that is what an example shrinks to.
COUNTS = st.sampled_from([1, 2, 3, 4, 0])
FULL_COUNTS = st.sampled_from([1, 2, 3, 4])
WEIGHTS = st.sampled_from([1.0, 3.0, 0.25, 0.0])
TERM_WEIGHTS = st.sampled_from([1.0, 10.0, 0.5, 0.0])
THRESHOLDS = st.sampled_from([1.0, 0.125, 100.0])
ADDED = st.sampled_from([0.0, 1e-6, 0.5])


@st.composite
def units(draw: st.DrawFn, needs: tuple[str, ...] = (), *, max_samples: int = 6, empty: bool = True) -> Units:
    """A units table that has all that `needs` asks for, and at times what else a table may hold.

    Samples may be ignored (no elements) and weigh nothing, micro-batches and ranks be of any size and
    order, some of them empty, and the window be partial.

    Args:
        draw: given by Hypothesis.
        needs: keys of `suite.units.NEEDS`, as conventions have them: `conventions[name].needs`.
        max_samples: the largest batch.
        empty: whether units without elements, and weights of zero, may be drawn.

    Raises:
        UsageError: There is no such need, or two of them exclude each other.
    """
    kind = _kind(needs)
    samples = draw(st.integers(1, max_samples))
    several = kind is not None or draw(st.booleans())
    kind = kind or (draw(st.sampled_from(KINDS)) if several else "terms")
    width = draw(st.integers(2, 3)) if several else 1
    counts, weights = (COUNTS, WEIGHTS) if empty else (FULL_COUNTS, WEIGHTS.filter(bool))
    elements = draw(_column(counts, samples * width)).reshape(samples, width)
    names = [
        name for name in OPTIONAL
        if (name in needs or draw(st.booleans())) and (name != "term_weight" or (several and kind == "terms"))
    ]  # fmt: skip
    columns: dict[str, Any] = {"elements": elements}
    if "positions" in names:
        columns["positions"] = elements + draw(st.integers(0, 3))
    if "weight" in names:
        columns["weight"] = draw(_column(weights, samples))
    if "term_weight" in names:
        columns["term_weight"] = draw(_column(TERM_WEIGHTS, width))
    for need, name in (("microbatches", "microbatch"), ("ranks", "rank")):
        if need in names:
            columns[name] = draw(_column(st.integers(0, min(samples, 3)), samples))
    return Units.of(
        samples,
        columns,
        parts=tuple(f"part{p}" for p in range(width)) if several else (),
        part_kind=kind,
        regulariser="regulariser" in names,
        **draw(_settings(names, columns)),
    )


@st.composite
def _settings(draw: st.DrawFn, names: list[str], columns: dict[str, Any]) -> dict[str, Any]:
    """What a table holds besides its columns."""
    elements = columns["elements"]
    found: dict[str, Any] = {}
    for name, total in (("microbatch", "window"), ("rank", "world_size")):
        if name in columns:
            found[total] = max(2, int(columns[name].max()) + 1) + draw(st.integers(0, 2))
    if "max_elements" in names:
        found["max_elements"] = draw(st.integers(max(1, int(elements.max())), 8))
    if "expected_batch_size" in names:
        found["expected_batch_size"] = float(len(elements) + draw(st.integers(0, 3)))
    if "max_norm" in names:
        found |= {"max_norm": draw(THRESHOLDS), "added_to_norm": draw(ADDED)}
    return found


def _column(entries: st.SearchStrategy[Any], length: int) -> st.SearchStrategy[Any]:
    return st.lists(entries, min_size=length, max_size=length).map(np.array)


def _kind(needs: tuple[str, ...]) -> Kind | None:
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
