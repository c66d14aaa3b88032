"""What every command prints on a terminal of 80 columns."""

from __future__ import annotations

import io
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from suite.claim import STEP_PREFIX
from suite.cli.bench_text import table_of
from suite.cli.main import main
from suite.machine import terminal
from suite.report import OPTIMIZERS
from suite.report.run_result import RunResult
from suite.report.text_table import Table
from tests.report.rows import discrepancy, row, rows, write

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


def of_80_columns(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Standard output, from now on: a terminal of 80 columns."""
    made = Terminal()
    monkeypatch.setattr(terminal.shutil, "get_terminal_size", lambda: os.terminal_size((80, 24)))
    monkeypatch.setattr(sys, "stdout", made)
    return made


def require_room(text: str) -> None:
    """No line is longer than 80 characters, but for code and what has no place to break: names, addresses."""
    assert len(text) > 10
    long = [line for line in text.splitlines() if len(line) > 80 and not line.startswith(CODE)]
    assert [line for line in long if " " in line.strip()] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_a_terminal_of_80_columns_has_room(
    command: str, run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = of_80_columns(monkeypatch)
    step = tmp_path / "step.py"
    step.write_text(STEP.read_text(encoding="utf-8"), encoding="utf-8")
    assert main([{"RUN": run, "STEP": str(step)}.get(word, word) for word in command.split()]) == 0
    require_room(shown.getvalue())


def all_kinds() -> list[dict[str, Any]]:
    """A run's rows with all that its end shows: claims, a paper's step, refusals, omissions, failures."""
    of = {"case": "cross-entropy-plus-mse", "batch_size": 8, "batch": "0"}
    paper = {"case": f"{STEP_PREFIX}megatron-lm-2021:context-parallel", "claimed": "x", "note": ""}
    wrong = "the gradient is clipped at 1 and not at 0.5, before the division by the micro-batches"
    step = {
        "gradient": {"formula": "1/(K·V_k)·min(1, C/‖Σ_k g_k‖)·w_u/Σw"}, "optimizer": {},
        "port": {"scales": [1.23456e-7, 6.54321], "direction": 1e-17},
        "converted": {"converted": 1.3e-16, "unchanged": 0.123},
    }  # fmt: skip
    return [
        *rows(("cross-entropy-plus-mse", "one")),
        discrepancy("two", 8, "0", "sum", refused={"opacus": "is wrong for model.0.weight: " + wrong}),
        row("claim", case="claims/gradient-accumulation-27", claim="c", claimed=wrong, measured=wrong * 2,
            verdict="holds only for equal micro-batches", note=""),
        *(
            row("claim", **paper, claim=claim, measured=wrong, numbers=numbers,
                verdict="fails" if claim == "optimizer" else "holds") for claim, numbers in step.items()
        ),
        row("omitted", **of, convention="sum", reason=wrong),
        row("failure", **of, reason=f"RuntimeError: {wrong}"),
    ]  # fmt: skip


def test_a_run_has_room_for_its_tables_and_remarks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shown = of_80_columns(monkeypatch)
    found = RunResult(all_kinds(), OPTIMIZERS)
    monkeypatch.setattr("suite.running.run.run", lambda **_: found)
    monkeypatch.chdir(tmp_path)
    assert main(["run", "--output", "results/run"]) == 1
    text = shown.getvalue()
    require_room(text)
    assert "Left out on a terminal this narrow: unchanged" in text
    headers = {word for line in text.splitlines() for word in re.split(r"\s{2,}", line)}
    assert {"recovered", "direction", "verdict (cases)", "learning rate"} <= headers
    assert all(words in text for words in ("Claims of forum", "Steps of papers", "Failed: ", "Engine opacus"))


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("--target law --examples 1", 0),
        ("--target {mine}:mine --examples 5", 1),
        ("--worst direction --between token-mean mean-of-sequence-means --examples 20", 0),
        ("--worst direction --between expected-batch-size partial-window-over-full-k --examples 1", 0),
    ],
)
def test_what_the_search_says_has_room(
    words: str, code: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shown = of_80_columns(monkeypatch)
    (tmp_path / "mine.py").write_text("def mine(losses, units): return 3 * losses.sum() / 7\n")
    given = words.replace("{mine}", str(tmp_path / "mine.py")).split()
    assert main(["fuzz", *given, "--output", str(tmp_path / "kept")]) == code
    require_room(shown.getvalue().partition("\n\n")[0])  # the script after it stays as it is


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
