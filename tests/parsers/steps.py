"""What a file for `gradsuite recover` defines, and what a reduction for `gradsuite fuzz` returns."""

from __future__ import annotations

from pathlib import Path

from hypothesis import strategies as st

from tests.parsers.cases import HEADER as CASE_HEADER
from tests.parsers.cases import ODD, own_registry
from tests.parsers.parser import Parser, run

HEADER = CASE_HEADER.replace("from suite.case import Problem, case\n", "from suite import Units\n")
NAMES: dict[str, str] = {
    "model": "torch.nn.Linear(3, 1)",
    "batch": "(torch.randn(4, 3), torch.randn(4, 1))",
    "losses": "losses",
    "step": "lambda model, batch: losses(model, batch).mean().backward()",
}
VALUES = (
    *ODD,
    "two", "losses", "Units.of(4)", "Units.of(3)", "Units.of(0)", "Units.of(4, parts=('a', 'b'))",
    "Units.of(4, {'elements': 0})", "Units.of(4, {'elements': nan})", "Units.of(4, {'weight': [0.0] * 4})",
    "Units.of(4, regulariser=True)", "lambda model, batch: None",
    "lambda model, batch: losses(model, batch).sum()",
    "lambda model: None", "lambda model, batch: model.zero_grad()", "lambda model, batch: torch.tensor(1.0)",
    "lambda model, batch: (nan * losses(model, batch)).sum().backward()", "torch.nn.Identity()",
    "lambda model, batch: (losses(model, batch) / 0).sum().backward()",
    "torch.nn.Linear(3, 1).requires_grad_(False)",
    "lambda model, batch: losses(model, batch)[:2].sum().backward()", "torch.nn.Linear(3, 1).half()",
    "(torch.randn(4, 3), torch.randn(5, 1))", "(torch.randn(0, 3), torch.randn(0, 1))",
    "(torch.randn(1, 3), torch.randn(1, 1))",
    "lambda model, batch: losses(model, batch).detach()", "lambda model, batch: losses(model, batch).round()",
    "torch.nn.Sequential(torch.nn.Linear(3, 1), torch.nn.Dropout(0.5))", "lambda losses, units: losses.sum()",
    "lambda losses, units: losses", "lambda losses, units: losses.detach().sum()", "lambda losses, units: 0",
    "lambda losses, units: nan * losses.sum()", "lambda losses, units: losses.sum().half()",
)  # fmt: skip
COMMANDS = (
    ("recover", "drawn.py"),
    ("recover", "drawn.py", "--json"),
    ("recover", "drawn.py", "--expect", "mean"),
    ("recover", "drawn.py:step", "--engine", "loop", "--expect", "clip-each-unit"),
    ("fuzz", "--target", "drawn.py:step", "--examples", "3", "--output", "kept"),
)


def source(names: dict[str, str]) -> str:
    """The file."""
    return HEADER + "".join(f"{name} = {value}\n" for name, value in names.items())


@st.composite
def sources(draw: st.DrawFn) -> str:
    """A file in which one or two names stand for something odd, or for nothing."""
    names = dict(NAMES)
    for _ in range(draw(st.integers(1, 2))):
        name = draw(st.sampled_from([*NAMES, "units", "regulariser"]))
        value = draw(st.sampled_from(["", *VALUES]))
        names[name] = value
        if not value:
            del names[name]
    return source(names)


def _read(given: tuple[tuple[str, ...], str], folder: Path) -> None:
    line, text = given
    (folder / "drawn.py").write_text(text, encoding="utf-8")
    with own_registry():
        run(*line)


PARSER = Parser(
    "steps",
    st.deferred(lambda: st.tuples(st.sampled_from(COMMANDS), sources())),
    _read,
    tuple((command, source(NAMES)) for command in COMMANDS[:4]),
    seconds=20.0,
)
