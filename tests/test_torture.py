"""Whatever comes from outside ends in a result or in one clear line: cases, cards, records, command lines."""

from __future__ import annotations

import contextlib
import io
import os
import random
import re
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import optimizer

import suite
from suite.algebra.pairs import Pair, table
from suite.cli.main import main
from suite.discovery import load_cases
from suite.errors import UsageError
from suite.machine.global_state import pinned
from suite.papers.load import load_card
from suite.records import file as records
from suite.report.heatmap import heatmap
from suite.report.latex import latex_escape
from suite.report.run_result import RunResult
from suite.report.text_table import Table
from tests.papers.test_load import CARD

CASES = Path(__file__).with_name("torture_cases.py")

# Cases.

SOUND = {"first-sound", "last-sound", "all-ignored", "one-sample", "draws"}
SAID = {
    "model-raises": "MemoryError: too large by far",
    "losses-raise": "KeyError: 'mask'",
    "exits": "SystemExit",
    "infinite": "losses are nan or infinite",
    "nan": "1 of the 4 losses are nan or infinite",
    "infinite-gradient": "not finite",
    "far-too-large": "so large that float64 does not hold their squares: scale the losses",
    "too-large": "so large that float64 does not hold their squares",
    "too-small": "so small that float64 does not hold their squares",
    "far-too-small": "so small that float64 does not hold their squares",
    "transposed": "it must be unreduced",
    "three-axes": "it must be unreduced",
    "too-many": "gave [5]; for 4 samples it must be unreduced",
    "detached": "depend on no parameter",
    "complex": "the losses are complex128; they must be real numbers",
    "spoils-its-batch": "the losses change the batch that they are given",
    "no-tensor": "gave list",
    "no-parameters": "no parameter that requires a gradient",
    "all-frozen": "no parameter that requires a gradient",
    "independent": "depend on no parameter",
    "ragged": "all must be the number of samples",
    "empty": "0 samples",
    "no-data": "a batch holds no tensor",
    "no-problem": "it must return a Problem",
    "wrong-columns": "column 'weight' has shape [2",
    "nan-columns": "must be finite",
    "changes-the-world": "does not require grad",
    "leaves-hooks": "disagrees with its own loop",
}


def world() -> dict[str, object]:
    """The global state of the process and of torch."""
    return {
        "random": random.getstate(),
        "numpy.random": np.random.get_state()[1].tolist(),  # noqa: NPY002  others draw from it
        "numpy errors": np.geterr(),
        "torch.random": torch.get_rng_state().tolist(),
        "warnings": list(warnings.filters),
        "environment": dict(os.environ),
        "directory": Path.cwd(),
        "default dtype": torch.get_default_dtype(),
        "default device": torch.get_default_device(),
        "grad mode": torch.is_grad_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "threads": torch.get_num_threads(),
        "anomaly": torch.is_anomaly_enabled(),
        "autocast": (torch.is_autocast_enabled("cpu"), torch.is_autocast_enabled("cuda")),
        "precision": answer(torch.get_float32_matmul_precision),
        "tf32": answer(lambda: torch.backends.cuda.matmul.allow_tf32),
        "tf32 of convolutions": answer(lambda: torch.backends.cudnn.allow_tf32),
        "cudnn": (torch.backends.cudnn.enabled, torch.backends.cudnn.benchmark),
        "cudnn deterministic": torch.backends.cudnn.deterministic,
        "denormals": sys.float_info.min / 2 > 0,
        "hooks": dict(torch.nn.modules.module._global_forward_hooks),
        "hooks of optimizers": dict(optimizer._global_optimizer_post_hooks),
    }


def answer(read: Callable[[], object]) -> object:
    """What torch answers; it refuses where settings of before and after 2.9 were mixed."""
    try:
        return read()
    except RuntimeError:
        return "mixed"


@pytest.fixture(scope="module")
def tortured() -> tuple[RunResult, dict, dict]:
    with pinned(torch.device("cpu")):
        pass  # torch imports more of itself now, once
    before = world()
    report = suite.run(["torture-*"], ["sum", "mean", "element-mean"], from_files=[CASES], check_steps=0)
    return report, before, world()


def test_the_world_is_after_a_run_what_it_was_before(tortured) -> None:
    _, before, after = tortured
    assert before == after


def test_whatever_a_case_changes_is_taken_back() -> None:
    changes = load_cases([CASES])["torture-first-sound"].build.__globals__["CHANGES"]
    assert changes
    for name, change in changes.items():
        before = world()
        with pinned(torch.device("cpu")):
            known = world()
            change()
            assert world() != known, name
        assert world() == before, name


def test_a_case_that_changes_the_world_is_measured_rightly_or_fails(tortured) -> None:
    report = tortured[0]
    frame, failed = report.discrepancies, {row["case"] for row in report.failures}
    changing = {name for name in {*frame.case, *failed} if name.startswith("torture-changes-")}
    assert len(changing) > 15
    wanted = results(frame, "torture-first-sound")
    for name in changing - failed:
        assert results(frame, name) == wanted, name
    changed = {"the-world", "default-device", "grad-mode", "global-hooks"}
    assert changing & failed == {f"torture-changes-{name}" for name in changed}


def results(frame: pd.DataFrame, case: str) -> list[object]:
    """What was measured of a case, whatever its parameters were."""
    columns = ["batch", "convention", "scale", "verdict"]
    return frame[frame.case == case][columns].to_numpy().tolist()


def test_a_case_without_a_seed_finds_the_same_numbers_whatever_was_drawn_before() -> None:
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002  others draw from it
        asked = {"cases": ["torture-draws"], "conventions": ["sum"], "from_files": [CASES], "check_steps": 0}
        found.append(suite.run(**asked).discrepancies.max_abs.tolist())
    assert found[0] == found[1]


@pytest.mark.parametrize("name", SAID)
def test_a_case_that_misbehaves_is_one_clear_row_an_item(tortured, name: str) -> None:
    reasons = [row["reason"] for row in tortured[0].failures if row["case"] == f"torture-{name}"]
    assert reasons
    assert all(SAID[name] in reason and "\n" not in reason for reason in reasons)


def test_the_others_are_measured_all_the_same(tortured) -> None:
    frame = tortured[0].discrepancies
    assert {f"torture-{name}" for name in SOUND} <= set(frame.case)
    assert results(frame, "torture-first-sound") == results(frame, "torture-last-sound") != []


def test_every_number_of_the_tables_is_finite_or_explained(tortured) -> None:
    rows = tortured[0].of("discrepancy")
    assert rows
    for row in rows:
        for name in ("scale", "cosine", "relative_discrepancy"):
            assert row[name] is not None or row["reason"]
            assert row[name] is None or np.isfinite(row[name])
    shown = str(tortured[0])
    assert "nan" not in shown.split()
    assert "inf" not in shown.split()


def test_a_gradient_that_is_turned_round_is_direction_everywhere() -> None:
    report = suite.run(["turned-round"], ["weighted-*", "sum"], from_files=[CASES], check_steps=1)
    (row,) = [
        row
        for row in report.of("discrepancy")
        if (row["convention"], row["reference"]) == ("weighted-mean", "mean")
    ]
    assert (row["verdict"], row["residual"]) == ("direction", 1.0)
    assert row["scale"] == pytest.approx(-2.6)
    assert row["reason"] == "it points away from the reference's (cosine -1): no learning rate is negative"
    rates = report.learning_rates
    rate = rates[(rates.convention == "weighted-mean") & (rates.reference == "mean")].iloc[0]
    assert (rate.status, rate.reason) == ("impossible", row["reason"])
    pairs = table(report.rows, "turned-round", "mean")
    assert pairs["weighted-mean", "mean"] == Pair(row["scale"], 1.0)
    assert pairs["mean", "weighted-mean"].residual == 1.0
    assert pairs["mean", "weighted-mean"].scale == pytest.approx(1 / row["scale"])
    assert heatmap(report).pairs["weighted-mean", "mean"].residual == 1.0
    assert "direction 1" in str(report)


# Cases that do not end.


def hanging(*cases: str, **how: object) -> RunResult:
    """A run of those, and of a sound one before and after them."""
    asked = ["hangs-not", *(f"hangs-{case}" for case in cases)]
    return suite.run(asked, ["sum"], from_files=[CASES], **how)


def test_a_case_that_does_not_end_is_one_row_and_loses_nothing(tmp_path: Path) -> None:
    # Not less: the sound case before it imports an engine, under coverage on a busy machine too.
    report = hanging("holding-the-lock", check_steps=0, time_limit=15, output=tmp_path)
    ((case, reason, seconds),) = [(row["case"], row["reason"], row["seconds"]) for row in report.failures]
    assert case == "hangs-holding-the-lock"
    assert re.fullmatch(
        r"it did not end within 15 s, the time limit, and was stopped in <lambda> "
        r"\(torture_cases.py, line \d+\)",
        reason,
    )
    assert 15 <= seconds < 60
    sound = hanging(check_steps=0, output=tmp_path)  # on with it, in this process
    assert report.discrepancies.equals(sound.discrepancies)
    assert set(report.discrepancies.case) == {"hangs-not"}


@pytest.mark.slow
@pytest.mark.parametrize("processes", [None, 2])
def test_wherever_a_case_hangs_it_is_one_row_and_the_others_run_on(processes: int | None) -> None:
    cases = ["when-built", "asleep", "holding-the-lock", "in-checks"]
    report = hanging(*cases, check_steps=2, time_limit=10, processes=processes)
    assert [row["case"] for row in report.failures] == [f"hangs-{case}" for case in cases]
    assert all("it did not end within 10 s" in row["reason"] for row in report.failures)
    assert set(report.discrepancies.case) == {"hangs-not", "hangs-in-checks"}
    assert {row["case"] for row in report.of("training_check")} == {"hangs-not"}


@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_driver_that_ends_while_a_case_hangs_leaves_no_process(tmp_path: Path, ending: int) -> None:
    command = [
        "run",
        "--cases",
        str(CASES),
        "--case",
        "hangs-not",
        "--case",
        "hangs-asleep",
        "--check-steps",
        "0",
    ]
    run = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "suite",
            *command,
            "--convention",
            "sum",
            "-j",
            "2",
            "--output",
            str(tmp_path),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        # Where the tests run in the background of a shell, Ctrl-C is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    record = tmp_path / "records.jsonl"
    while not record.exists() or b"hangs-not" not in record.read_bytes():
        time.sleep(0.05)
    time.sleep(1)
    run.send_signal(ending)
    run.communicate(timeout=60)  # until the last process has closed its end of the pipes
    assert run.returncode == (130 if ending == signal.SIGINT else -ending)


@pytest.mark.parametrize("limit", [0, -1.0, float("nan"), float("inf")])
def test_a_limit_that_is_none_is_refused(limit: float) -> None:
    with pytest.raises(UsageError, match="--time-limit takes seconds above 0"):
        suite.run(time_limit=limit)


# Paper cards.

LINES = CARD.strip().splitlines()
ODD = ["1e999", "nan", "-inf", "[]", "{}", '""', "true", "1979-05-27", "[[1], [2]]", "-1", "0x7f"]
VALUES = st.one_of(
    st.sampled_from(ODD), st.integers().map(str), st.floats().map(str), st.text(max_size=20).map(repr)
)


@st.composite
def cards(draw: st.DrawFn) -> str:
    """A card with some lines gone, doubled, or of another value."""
    lines = list(LINES)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(lines) - 1))
        key, equals, _ = lines[at].partition(" = ")
        change = draw(st.sampled_from(["drop", "double", "value"]))
        if change == "drop":
            lines[at] = ""
        elif change == "double":
            lines.append(lines[at])
        elif equals:
            lines[at] = f"{key} = {draw(VALUES)}"
    return "\n".join(lines)


def refusal(read, path: Path) -> str:
    """What `read` says against the file; empty where it reads it."""
    try:
        read(path)
    except UsageError as error:
        return str(error)
    return ""


@given(content=st.one_of(cards().map(lambda t: t.encode(errors="replace")), st.binary(max_size=200)))
def test_a_card_is_read_or_refused_in_one_line(tmp_path_factory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("cards") / "card.toml"
    path.write_bytes(content)
    said = refusal(load_card, path)
    assert said == "" or said.startswith("card.toml: ")
    assert "\n" not in said


# Records.


@pytest.fixture(scope="module")
def record(tmp_path_factory) -> bytes:
    folder = tmp_path_factory.mktemp("record")
    suite.run(["torture-first-sound"], ["sum"], from_files=[CASES], check_steps=0, output=folder)
    return (folder / "records.jsonl").read_bytes()


PIECES = st.one_of(
    st.binary(max_size=4), st.sampled_from([b"null", b"1e999", b"{", b"[" * 100_000, b"\xff", b"\n"])
)


@given(data=st.data(), new=PIECES)
def test_a_changed_record_is_read_or_refused_in_one_line(record: bytes, tmp_path_factory, data, new) -> None:
    at = data.draw(st.integers(0, len(record)))
    gone = data.draw(st.sampled_from([0, 1, 2, 50, len(record)]))
    path = tmp_path_factory.mktemp("record") / "records.jsonl"
    path.write_bytes(record[:at] + new + record[at + gone :])
    assert "\n" not in refusal(records.read, path)


# The command line.

WORDS = st.one_of(
    st.sampled_from([
        "sum", "mean", "clip-mean", "SGD", "Adam", "LBFGS", "lr=0.1", "lr=", "=", "betas=(0.9,0.99)",
        "eps=1e999", "lr=nan", "nan", "inf", "-1", "0", "1e400", "1/0", "1/3", "2**9999", "9" * 400, "keras",
        "dqn-2015", "*", "[", "(" * 200, "__import__('os')", "\x00", "",
    ]),
    st.text(max_size=8),
    st.integers().map(str),
    st.floats().map(str),
)  # fmt: skip
OPTIONS = {
    "lr": [
        "--from", "--to", "--scale", "--batch-size", "--optimizer", "--set", "--max-norm", "--elements",
        "--micro-batches", "--ranks", "--dialect", "--paper", "--rule", "--to-batch-size", "--noise-scale",
        "--json", "--laws",
    ],
    "show": ["--json"],
    "list": ["--json"],
    "recover": ["--expect", "--engine"],
    "fuzz": ["--target", "--expect", "--minutes", "--seed", "--worst", "--between"],
    "run": [
        "--case", "--convention", "--batch-size", "--reference", "--engine", "--device", "--dtype", "--seed",
        "--optimizer", "--check-steps",
    ],
}  # fmt: skip
NEVER_STARTS = {"fuzz": ["--examples", "0"], "run": ["--batch-size", "0"], "recover": ["no such file"]}
"""What keeps a command from its work: its arguments are what is tried here."""


@st.composite
def command_lines(draw: st.DrawFn, command: str) -> list[str]:
    line = [command]
    for _ in range(draw(st.integers(0, 5))):
        line.append(draw(st.sampled_from(OPTIONS[command])))
        line += draw(st.lists(WORDS, max_size=2))
    return [*line, *NEVER_STARTS.get(command, [])]


@pytest.mark.parametrize("command", OPTIONS)
@given(data=st.data())
def test_any_command_line_ends_in_an_exit_code(command: str, data: st.DataObject) -> None:
    line = data.draw(command_lines(command))
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            code = main(line)
        except SystemExit as left:  # argparse's own way
            code = left.code
    assert code in (0, 1, 2)
    assert code != 2 or said.getvalue().strip()


# Names.

NAMES = st.one_of(
    st.sampled_from([
        "\\input{/etc/passwd}", "\\write18{rm}", "$x^{2}_{1}$", "a & b \\\\ c", "%", "|", "{}", "~^#",
        "<script>alert(1)</script>", "\\end{document}", "two\nlines", '" onload="x',
    ]),
    st.text(max_size=30),
)  # fmt: skip


@given(name=NAMES)
def test_a_hostile_name_starts_no_command_of_latex(name: str) -> None:
    shown = latex_escape(name)
    for harmless in (r"\textbackslash{}", r"\textasciitilde{}", r"\textasciicircum{}"):
        shown = shown.replace(harmless, "")
    for sign in "&%$#_{}":
        shown = shown.replace("\\" + sign, "")
    # What is left of commands are the mathematical signs that the tables use, in dollars.
    rest = re.sub(r"\$(\\[a-z]+[0-9]*|\\\||\^2|[-<>])\$", "", shown)
    assert not set("\\$&%#_{}~^") & set(rest)


@given(name=NAMES)
def test_a_hostile_name_breaks_no_row_of_a_table(name: str) -> None:
    table = Table("t", "C", ("a", "b"), [[name, "x"], ["y", "z"]])
    plain = Table("t", "C", ("a", "b"), [["n", "x"], ["y", "z"]])
    bars = [line.replace("\\|", "").count("|") for line in table.markdown().split("\n")]
    assert bars == [line.count("|") for line in plain.markdown().split("\n")]
    assert table.latex().count("\\\\\n") == plain.latex().count("\\\\\n")
    assert table.html().count("<") == plain.html().count("<")
