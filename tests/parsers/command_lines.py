"""Command lines: any options of any command, and any value of what has one."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from suite.running.declaration import add_to
from suite.running.options import RunOptions
from tests.parsers.cases import own_registry
from tests.parsers.parser import Parser, run
from tests.report.rows import rows, write

NUMBERS = (
    "0", "1", "2", "32", "-1", "nan", "inf", "-inf", "1e400", "1e-400", "1e308", "5e-324", "1e9999999",
    "1E+99999999999",
    "1/0", "0/1", "1/3", "2**9999", "9" * 400, "9" * 5000, "1_0", "٣", "0x10", "1e", ".", "+", "", " 1 ",
    "1,5",
    f"{'9' * 400}/{'9' * 399}", "1e-9999999", "0.1", "1e300",
)  # fmt: skip
WORDS = (
    "sum", "mean", "clip-mean", "SGD", "Adam", "LBFGS", "keras", "tf1", "optax", "dqn-2015", "*", "[",
    "[!]", "(" * 200, "-" * 9,
    "__import__('os')", "", "two\nlines", "\udcff", "👍🏻", "x" * 5000, "RUN", "missing", ".", "1/1", "2/1",
    "0/2", "1/2", "9" * 30 + "/" + "9" * 31, "tcp://", "cuda:99999999999", "cuda:-1", "float8", "cpu:1",
)  # fmt: skip
VALUES = (
    "lr=", "=", "=1", "lr", "betas=(0.9,0.99)", "betas=(0.9,", "betas=(1,2,3)", "betas=0.9",
    "betas=(nan,inf)",
    "eps=1e999", "lr=nan", "beta_1=1", "lr=True", "lr=None", "lr='x'", "lr={}", "lr=" + "-" * 9000 + "1",
    "lr=" + "(" * 300,
    "lr=" + "[" * 150 + "]" * 150, "lr=" + "1+" * 9000 + "1", "lr=" + "9" * 5000, "lr=1e400", "lr=-1", "lr=0",
    "lr=1j", "lr=b'x'", "lr=0x7f", "weight_decay=-1", "momentum=2", "lr=" + "9" * 400, "lr=\udcff",
    "lr=5e-324", "lr=1e308", "weight_decay=1e308", "eps=0", "eps=1e308", "amsgrad=2", "maximize=x",
    "foreach=1",
    "learning_rate=0.1", "lr=__import__('os').getpid()", "lr=*1", "lr=lambda: 0", "lr=f''", "lr=...",
)  # fmt: skip
FREE = st.one_of(
    st.sampled_from(NUMBERS),
    st.sampled_from(WORDS),
    st.text(st.characters(exclude_characters="\0"), max_size=8),  # no system passes a NUL
    st.integers().map(str),
    st.floats().map(repr),
)
ASSIGNED = st.one_of(
    st.sampled_from(VALUES),
    st.tuples(
        st.sampled_from([
            "lr", "betas", "eps", "weight_decay", "momentum", "dampening", "nesterov", "alpha", "rho", "etas",
            "initial_accumulator_value", "lr_decay", "t0", "lambd", "max_iter", "beta2_decay", "d",
            "ns_steps",
            "learning_rate", "beta_1", "clipnorm", "use_ema", "global_clipnorm", "epsilon", "adjust_lr_fn",
        ]),
        st.one_of(FREE, st.tuples(FREE, FREE).map(lambda pair: f"({pair[0]}, {pair[1]})")),
    ).map("=".join),
)  # fmt: skip
FILES = st.sampled_from(
    ["out", "out.html", "out.svg", "out.txt", "", ".", "no/such", "file", "file/x", "x" * 300]
)
CASES = st.sampled_from(
    [
        "",
        "missing.py",
        ".",
        "file",
        "broken.py",
        "empty.py",
        "..x",
        "x..y",
        "no.such",
        "json",
        "x" * 300 + ".py",
        "\udcff.py",
    ]
)
RUNS = st.sampled_from(
    ["RUN", "RUN/records.jsonl", "missing", "file", ".", "", "x" * 300, "claims/x", "RUN/x.json"]
)

OF_METAVAR = {"PATH": CASES, "DIR": FILES}


def options_of(options: type[RunOptions]) -> dict[str, Any]:
    """All flags that a run declares: what each may be given, or None where it takes nothing."""
    parser = argparse.ArgumentParser(add_help=False)
    add_to(parser, options)
    return {
        flag: None if action.nargs == 0 else OF_METAVAR.get(action.metavar, FREE)
        for action in parser._actions
        for flag in action.option_strings
    }


# The options of each command: those with a value and what it may be, and those without.
OPTIONS: dict[str, dict[str, Any]] = {
    "lr": {
        "--from": FREE, "--to": FREE, "--scale": FREE, "--batch-size": FREE, "--optimizer": FREE,
        "--set": ASSIGNED,
        "--max-norm": FREE, "--elements": FREE, "--micro-batches": FREE, "--ranks": FREE, "--dialect": FREE,
        "--paper": FREE, "--rule": FREE, "--to-batch-size": FREE, "--noise-scale": FREE, "--clip": FREE,
        "--expected-batch-size": FREE, "--max-elements": FREE, "--json": None, "--laws": None,
    },
    "show": {"": FREE, "--json": None, "--cases": CASES},
    "list": {"": FREE, "--json": None, "--cases": CASES},
    "env": {"--device": FREE, "--json": None},
    "recover": {"": CASES, "--expect": FREE, "--engine": FREE, "--json": None},
    "fuzz": {
        "--target": FREE, "--expect": FREE, "--minutes": FREE, "--seed": FREE, "--worst": FREE,
        "--between": FREE, "--no-empty": None, "--output": FILES,
    },
    "run": options_of(RunOptions),
    "rules": {
        "--case": FREE, "--cases": CASES, "--optimizer": FREE, "--batch-size": FREE, "--to-batch-size": FREE,
        "--seed": FREE, "--json": None,
    },
    "bench": {
        "--device": FREE, "--case": FREE, "--cases": CASES, "--engine": FREE, "--units": FREE,
        "--conventions": FREE, "--json": None,
    },
    "table": {
        "": RUNS, "--kind": FREE, "--format": st.sampled_from(["text", "latex", "csv", "x"]),
        "--columns": FREE,
        "--case": FREE, "--convention": FREE, "--caption": FREE, "--label": FREE, "--out": FILES,
    },
    "report": {"": RUNS, "--out": FILES, "--case": FREE},
    "plot": {
        "": RUNS, "--kind": st.sampled_from(["scale", "weights", "noise-scale", "x"]), "--out": FILES,
        "--width": FREE,
        "--case": FREE, "--convention": FREE,
    },
    "diff": {"": RUNS, "--format": FREE},
    "merge": {"": RUNS, "--output": FILES},
    "cite": {"": RUNS},
}  # fmt: skip
NEVER_STARTS = {
    "fuzz": ("--examples", "0"), "run": ("--batch-size", "0"), "rules": ("--lr", "0"), "bench": ("--rounds",
    "0"),
}  # fmt: skip
"""What keeps a command from its work, of minutes: its arguments are what is tried here."""


@st.composite
def lines(draw: st.DrawFn, commands: Sequence[str]) -> tuple[str, ...]:
    """A command with a few of its options, most of them with one value."""
    command = draw(st.sampled_from(commands))
    options = OPTIONS[command]
    line = []
    for _ in range(draw(st.integers(0, 5))):
        name = draw(st.sampled_from(list(options)))
        line += [name] if name else []
        if options[name] is not None:
            line += draw(
                st.lists(options[name], min_size=0 if draw(st.integers(0, 9)) == 9 else 1, max_size=1)
            )
    return (command, *line, *NEVER_STARTS.get(command, ()))


LR = ("lr", "--optimizer", "SGD", "--scale", "2", "--set", "lr=0.1")


def settings() -> st.SearchStrategy[tuple[str, ...]]:
    """Conversions that lack nothing, of odd numbers."""
    optimizers = st.sampled_from([
        ("torch", "SGD"), ("torch", "Adam"), ("torch", "Adagrad"), ("torch", "RMSprop"), ("torch", "LBFGS"),
        ("torch", "Rprop"), ("torch", "Adafactor"), ("torch", "ASGD"), ("torch", "Muon"), ("torch",
        "SparseAdam"),
        ("keras", "SGD"), ("keras", "Adam"), ("tf1", "RMSPropOptimizer"), ("optax", "adam"), ("optax", "sgd"),
        ("sklearn", "SGDClassifier"), ("bert", "AdamWeightDecayOptimizer"), ("adamw-paper", "AdamW"),
        ("tf1", "AdagradOptimizer"),
    ])  # fmt: skip
    scale = st.one_of(
        st.tuples(st.just("--scale"), st.one_of(st.sampled_from(NUMBERS), st.floats().map(repr))),
        st.tuples(st.just("--from"), st.sampled_from(["sum", "mean", "element-mean", "half-sum",
        "batchmean"]),
                  st.just("--to"), st.sampled_from(["sum", "mean", "token-mean", "expected-batch-size"]),
                  st.just("--batch-size"), st.sampled_from(["1", "7", "32", *NUMBERS]),
                  st.just("--elements"), st.sampled_from(["3", *NUMBERS])),
    )  # fmt: skip
    more = st.sampled_from([
        (), ("--json",), ("--max-norm", "1"), ("--max-norm", "nan"), ("--max-norm", "1e400"), ("--max-norm",
        "5e-324"),
        ("--rule", "*", "--batch-size", "8", "--to-batch-size", "9" * 400), ("--rule", "*", "--batch-size",
        "8", "--to-batch-size", "0"),
        ("--rule", "*", "--batch-size", "8", "--to-batch-size", "64", "--noise-scale", "1e-300"),
    ])  # fmt: skip
    given = st.lists(ASSIGNED, max_size=3)
    return st.tuples(optimizers, scale, given, more).map(
        lambda drawn: (
            "lr", "--dialect", drawn[0][0], "--optimizer", drawn[0][1], *drawn[1],
            *(word for value in drawn[2] for word in ("--set", value)), *drawn[3],
        )
    )  # fmt: skip


def _read(line: tuple[str, ...], folder: Path) -> None:
    if line[0] in ("table", "report", "plot", "diff", "merge", "cite"):
        write(folder / "RUN", rows(("one",), (2,)))
    (folder / "file").write_text("no folder")
    (folder / "broken.py").write_text("def broken(:\n")
    (folder / "empty.py").write_text("")
    with own_registry():
        code, shown = run(*line)
    if "--json" in line and code == 0 and shown.startswith(("{", "[")):
        json.loads(shown, parse_constant=_no_number)


def _no_number(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


PARSER = Parser(
    "command-line",
    st.deferred(lambda: lines(list(OPTIONS))),
    _read,
    (LR, ("list",), ("show", "sum"), ("table", "RUN"), ("report", "RUN"), ("diff", "RUN", "RUN"), ("cite",
    "RUN"),
     ("env",)),
    seconds=10.0,
)  # fmt: skip
SETTINGS = Parser("hyperparameters", st.deferred(settings), _read, (LR, (*LR, "--json")))
