"""What Hypothesis draws to break a reader: bytes that were changed, and trees of which a leaf is odd."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

TOKENS = (
    b"", b"0", b"-1", b"null", b"true", b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-0.0", b"9" * 400,
    b"9" * 5000, b"1" + b"0" * 18, b'""', b"[]", b"{}", b"[" * 100_000, b'{"a":' * 5000, b"{", b"}", b"]",
    b'"', b"\\", b"\\ud800", b"\\u0000", b"\xff", b"\x00", b"\xef\xbb\xbf", b"\n", b"\r\n", b"\r",
    "\u2028".encode(), "٣".encode(), "👍🏻".encode(), b",", b":", b"=", b"#", b"'''", b'"kind": "done", ',
    b'"schema": 1, ', b'"schema": 3, ', b"1979-05-27", b"07:32:00", b"0x7f", b"1_0",
)  # fmt: skip
DEEP: Any = []
for _ in range(300):
    DEEP = [DEEP]
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 1e308, -1e308, 5e-324, -0.0, 0.5, float("nan"), float("inf"),
    float("-inf"), 10**400, 2**63, 2**53 + 1, "", " ", "x", "x" * 3000, "nan", "1", "\x00", "\ud800",
    "two\nlines",
    "\u2028", "👍🏻", "٣", "</script>", "{{7*7}}", "%s", "\\input{x}", "a|b", "../..", "threads/", "*", [],
    {}, [None], [0],
    [[]], ["x"], {"": 0}, {"x": None}, {"x": "y"}, DEEP,
)  # fmt: skip


@st.composite
def changed_bytes(draw: st.DrawFn, valid: Sequence[bytes], tokens: Sequence[bytes] = TOKENS) -> bytes:
    """Bytes like one of `valid`, with a few changes: flips, cuts, gaps, insertions, splices, repetitions."""
    data = draw(st.sampled_from(valid))
    for _ in range(draw(st.integers(1, 4))):
        at, width = draw(st.integers(0, len(data))), draw(st.sampled_from([1, 2, 5, 30, 400]))
        change = draw(st.sampled_from(["insert", "replace", "flip", "gap", "cut", "double", "splice"]))
        if change in ("insert", "replace"):
            new = draw(st.one_of(st.sampled_from(tokens), st.binary(max_size=6)))
            data = data[:at] + new + data[at + (0 if change == "insert" else width) :]
        elif change == "flip" and data:
            at = min(at, len(data) - 1)
            data = data[:at] + bytes([data[at] ^ (1 << draw(st.integers(0, 7)))]) + data[at + 1 :]
        elif change == "gap":
            data = data[:at] + data[at + width :]
        elif change == "cut":
            data = data[:at]
        elif change == "double":
            data = data[: at + width] + data[at:]
        else:
            other = draw(st.sampled_from(valid))
            data = data[:at] + other[draw(st.integers(0, len(other))) :]
    return data


LEAVES = st.one_of(
    st.sampled_from(ODD),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.lists(st.floats(), max_size=3),
    st.dictionaries(st.text(max_size=4), st.integers(), max_size=2),
)


@st.composite
def changed_tree(
    draw: st.DrawFn, valid: Sequence[Any], leaves: st.SearchStrategy[Any] = LEAVES, most: int = 3
) -> Any:
    """A tree of lists and dictionaries like one of `valid`, of which a few entries are odd, gone or twice."""
    tree = copy.deepcopy(draw(st.sampled_from(valid)))
    for _ in range(draw(st.integers(1, most))):
        places = list(_places(tree))
        if not places:
            return draw(leaves)
        holder, key = places[draw(st.integers(0, len(places) - 1))]
        change = draw(st.sampled_from(["odd", "odd", "odd", "gone", "name", "twice", "moved"]))
        if change == "odd":
            holder[key] = copy.deepcopy(draw(leaves))
        elif change == "moved":
            other, name = places[draw(st.integers(0, len(places) - 1))]
            holder[key] = copy.deepcopy(other[name])
        elif change == "gone":
            del holder[key]
        elif change == "twice" and isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key]))
        elif isinstance(holder, dict):
            holder[draw(st.text(max_size=6))] = holder[key] if change == "twice" else holder.pop(key)
    return tree


def _places(tree: Any, depth: int = 0) -> Any:
    """Every holder and key in the tree, as deep as anything valid is."""
    if depth > 6:
        return
    entries = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in list(entries):
        yield tree, key
        yield from _places(value, depth + 1)
