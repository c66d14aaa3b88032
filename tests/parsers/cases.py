"""What a case file says of its cases: names, sizes, columns, parts. Its code is trusted, not its numbers."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from suite.case import cases
from tests.parsers.parser import Parser, run

HEADER = """\
import datetime
import torch
from suite.case import Problem, case

torch.manual_seed(0)
nan, inf = float("nan"), float("inf")


def losses(model, batch):
    x, y = batch
    return (model(x) - y).square().sum(1)


def two(model, batch):
    return torch.stack([losses(model, batch), model(batch[0]).abs().sum(1)], 1)

"""
ODD = (
    "None", "0", "-1", "1", "2", "1.5", "True", "nan", "inf", "-inf", "10**400", "''", "'x'", "'two\\nlines'",
    "'\\ud800'", "()", "(0,)", "(-1,)", "(1, 1)", "(2.0,)", "('2',)", "('2', 2)", "(10**30,)", "[]",
    "[1, 2, 3, 4]", "{}",
    "{'x': 1}", "{1, 2}", "object()", "datetime.date(2026, 1, 1)", "torch.ones(4)", "torch.zeros(0)",
    "torch.ones(4, 2)", "torch.tensor(2)", "[[1, 2], [3]]", "['a', 'b', 'c', 'd']", "[nan] * 4", "[inf] * 4",
    "[-1.0] * 4", "[0] * 4", "[1e308] * 4", "[5e-324] * 4", "[10**400] * 4", "[None] * 4",
    "torch.nn.Linear(3, 1)",
    "lambda *_: None", "lambda *_: 1 / 0", "('a', 'b')", "('a', 'a')", "('', '')", "range(3)", "b'x'", "1j",
    "lambda model: torch.zeros(())", "lambda model: sum(p.square().sum() for p in model.parameters())",
)  # fmt: skip
COLUMNS = ("elements", "positions", "weight", "microbatch", "rank", "term_weight", "sample", "part", "x")
VALID: dict[str, Any] = {
    "case": {"dataset": "'random'", "batch_sizes": "(4,)", "name": "'torture-drawn'"},
    "problem": {
        "model": "lambda: torch.nn.Linear(3, 1)",
        "data": "(torch.randn(8, 3), torch.randn(8, 1))",
        "losses": "losses",
    },
    "columns": {},
}
PARTS = VALID | {
    "problem": VALID["problem"] | {
        "losses": "two", "parts": "('a', 'b')", "term_weight": "(1.0, 0.5)", "max_norm": "0.5",
        "microbatches": "2", "ranks": "2", "max_elements": "4", "part_kind": "'terms'",
        "regulariser": "lambda model: sum(p.square().sum() for p in model.parameters())",
    },
    "columns": {"elements": "[[1, 2]] * 4", "weight": "[1.0, 2.0, 0.5, 0.0]"},
}  # fmt: skip
FIELDS = (
    "model", "data", "losses", "collate", "parts", "part_kind", "term_weight", "regulariser", "max_elements",
    "max_norm", "microbatches", "ranks", "columns",
)  # fmt: skip
COMMANDS = (
    ("list", "cases", "--cases", "drawn.py"),
    ("show", "torture-drawn", "--cases", "drawn.py"),
    ("show", "torture-drawn", "--cases", "drawn.py", "--json"),
    ("run", "--cases", "drawn.py", "--case", "torture-drawn", "--convention", "sum", "--convention",
     "clip-*", "--convention", "weighted-*", "--check-steps", "0", "--output", "out"),
    ("run", "--cases", "drawn.py", "--case", "torture-drawn", "--convention", "mean*", "--check-steps", "2",
     "--optimizer", "SGD", "--output", "out"),
)  # fmt: skip


def source(given: dict[str, dict[str, str]]) -> str:
    """The case file."""
    problem = dict(given["problem"])
    if given["columns"]:
        columns = ", ".join(f"{name!r}: {value}" for name, value in given["columns"].items())
        problem.setdefault("columns", f"lambda batch: {{{columns}}}")
    fields = "".join(f"        {name}={value},\n" for name, value in problem.items())
    decorator = ", ".join(f"{name}={value}" for name, value in given["case"].items())
    return (
        f'{HEADER}\n@case({decorator})\ndef drawn():\n    """Drawn."""\n    return Problem(\n{fields}    )\n'
    )


@st.composite
def sources(draw: st.DrawFn) -> str:
    """A case file of which up to three things are odd, or gone."""
    base = draw(st.sampled_from([VALID, PARTS]))
    given = {name: dict(entries) for name, entries in base.items()}
    for _ in range(draw(st.integers(1, 3))):
        where = draw(st.sampled_from(["case", "problem", "problem", "columns", "columns"]))
        names = {"case": ("dataset", "batch_sizes", "name"), "problem": FIELDS, "columns": COLUMNS}[where]
        name = draw(st.sampled_from(names))
        given[where][name] = draw(st.sampled_from(ODD))
    return source(given)


@contextlib.contextmanager
def own_registry() -> Iterator[None]:
    """Cases that are registered meanwhile are forgotten, and the files that did so."""
    items, modules = dict(cases._items), set(sys.modules)
    try:
        yield
    finally:
        cases._items.clear()
        cases._items.update(items)
        for name in set(sys.modules) - modules:
            if name.startswith("gradsuite_"):
                del sys.modules[name]


def _read(given: tuple[tuple[str, ...], str], folder: Path) -> None:
    line, text = given
    (folder / "drawn.py").write_text(text, encoding="utf-8")
    with own_registry():
        code, shown = run(*line)
    if line[0] == "run":
        assert code == 0 or "Failed:" in shown, "exit code 1 without a word"
        tables = shown.partition("Failed:")[0]
        assert not {"nan", "inf", "-inf"} & set(tables.split()), "a table shows what is no number"


def _inputs() -> st.SearchStrategy[Any]:
    return st.tuples(st.sampled_from(COMMANDS), sources())


PARSER = Parser(
    "cases",
    st.deferred(_inputs),
    _read,
    tuple((command, source(base)) for command in COMMANDS for base in (VALID, PARTS)),
    seconds=20.0,  # a run with a training check takes one
)
