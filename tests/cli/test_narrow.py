"""What every command prints on a terminal of 80 columns."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from suite.cli.bench_text import table_of
from suite.cli.main import main
from suite.machine import terminal
from suite.report.text_table import Table
from tests.report.rows import rows, write

STEP = Path(__file__).parents[2] / "suite" / "cli" / "templates" / "my_step.py.txt"


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write(tmp_path_factory.mktemp("narrow") / "run", rows()))


LR = "lr --from mean --to mean-of-microbatch-means --batch-size 32 --micro-batches 4 --elements 10"
COMMANDS = [
    "list", "list conventions", "list cases", "list papers", "list frameworks", "list claims",
    "show mean-of-rank-means", "show dp-sgd-2016", "show trl:grpo", "show mse", "env", "lr --laws",
    f"{LR} --optimizer SGD", f"{LR} --optimizer RAdam",
    "lr --from sum --to mean --batch-size 48 --optimizer SGD --set lr=0.1 --set momentum=0.9",
    "table RUN", "table RUN --kind learning_rates", "table papers", "diff RUN RUN", "recover STEP",
]  # fmt: skip
CODE = ("torch.optim.", "torch.nn.", "tf.keras.", "  torch.")
"""Begins what is pasted elsewhere, and is not broken."""


@pytest.mark.parametrize("command", COMMANDS)
def test_a_terminal_of_80_columns_has_room(
    command: str, run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = tmp_path / "step.py"
    step.write_text(STEP.read_text(encoding="utf-8"), encoding="utf-8")
    shown = Terminal()
    monkeypatch.setattr(terminal.shutil, "get_terminal_size", lambda: os.terminal_size((80, 24)))
    monkeypatch.setattr(sys, "stdout", shown)
    assert main([{"RUN": run, "STEP": str(step)}.get(word, word) for word in command.split()]) == 0
    text = shown.getvalue()
    assert len(text) > 10
    long = [line for line in text.splitlines() if len(line) > 80 and not line.startswith(CODE)]
    assert [line for line in long if " " in line.strip()] == []  # a name or an address has no place to break


def test_a_narrow_table_leaves_out_what_it_can_do_without_and_says_so() -> None:
    made = Table(
        "t", "c", ["first", "more", "last"], [["a word " * 3, "b" * 16, "c" * 16]] * 2, spare=["more"]
    )
    assert "more" in made.text(80).splitlines()[2]
    shown = made.text(44)
    assert "more" not in shown.splitlines()[2]
    assert shown.endswith("Left out on a terminal this narrow: more.")
    assert made.text() == made.text(200)


def test_no_word_is_broken_where_there_is_room_for_words() -> None:
    found = Table(
        "t", "c", ["convention", "hyperparameter"], [["mean-of-microbatch-means", "a b c " * 20]]
    ).text(50)
    assert "microbatch-" in found
    assert "hyperparameter" in found


def bench_rows() -> list[dict[str, object]]:
    numbers = dict.fromkeys(("tables", "tables_checked", "reduced", "reduced_checked"), 1234.5)
    known = {"case": "cross-entropy-convolution", "units": 32, "params": 5000, "conventions": 12}
    done = {"chunks": 12, "peak": 1e9, "ordinary": 0.1, "ordinary_peak": 1e9, **numbers}
    return [
        known | {"engine": "torch-func"} | done,
        known | {"engine": "opacus", "refused": "is wrong " * 20},
    ]


def test_benchmarks_have_a_table_a_case_where_the_name_has_no_room() -> None:
    shown = table_of(bench_rows(), 80).splitlines()
    assert max(map(len, shown)) <= 80
    assert shown[0] == "cross-entropy-convolution: 32 units, 5000 parameters"
    assert table_of(bench_rows(), None).splitlines()[1].startswith("cross-entropy-convolution  32")


def test_prose_is_broken_between_words_and_indented_as_it_was() -> None:
    assert terminal.wrapped("a bb ccc\n  dd ee ff", 6) == "a bb\nccc\n  dd\n    ee\n    ff"
    assert terminal.wrapped("a " * 99, None) == "a " * 99
