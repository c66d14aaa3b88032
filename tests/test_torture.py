"""Whatever comes from outside ends in a result or in one clear line: cases, cards, records, command lines."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import suite
from suite import records
from suite.cli import main
from suite.errors import UsageError
from suite.papers import load
from suite.report import Report
from suite.table import Table, latex_escape
from tests.test_papers import CARD

CASES = Path(__file__).with_name("torture_cases.py")

# Cases.

SOUND = {"torture-first-sound", "torture-last-sound", "torture-all-ignored", "torture-one-sample"}
SAID = {
    "model-raises": "MemoryError: too large by far",
    "losses-raise": "KeyError: 'mask'",
    "exits": "SystemExit",
    "infinite": "losses are nan or infinite",
    "infinite-gradient": "not finite",
    "transposed": "it must be unreduced",
    "three-axes": "it must be unreduced",
    "no-tensor": "gave list",
    "no-parameters": "no parameter that requires a gradient",
    "all-frozen": "no parameter that requires a gradient",
    "independent": "depend on no parameter",
    "ragged": "all must be the number of samples",
    "empty": "0 samples",
    "no-data": "a batch holds a str",
    "no-problem": "NoneType",
    "wrong-columns": "column 'weight' has shape [2",
    "nan-columns": "must be finite",
    "changes-the-world": "does not require grad",
    "leaves-hooks": "disagrees with its own loop",
}


def world() -> tuple[object, ...]:
    """The global state of torch."""
    return (
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        torch.are_deterministic_algorithms_enabled(),
        torch.get_num_threads(),
        torch.get_rng_state().tolist(),
        torch.backends.cudnn.benchmark,
    )


@pytest.fixture(scope="module")
def tortured() -> tuple[Report, bool]:
    before = world()
    report = suite.run(["torture-*"], ["sum", "mean", "element-mean"], from_files=[CASES], prove=0)
    return report, world() == before


def test_the_world_is_after_a_run_what_it_was_before(tortured) -> None:
    assert tortured[1]


@pytest.mark.parametrize("name", SAID)
def test_a_case_that_misbehaves_is_one_clear_row_an_item(tortured, name: str) -> None:
    reasons = [row["reason"] for row in tortured[0].failures if row["case"] == f"torture-{name}"]
    assert reasons
    assert all(SAID[name] in reason and "\n" not in reason for reason in reasons)


def test_the_others_are_measured_all_the_same(tortured) -> None:
    frame = tortured[0].discrepancies
    assert set(frame.case) == SOUND
    first, last = (frame[frame.case == f"torture-{name}-sound"].scale.tolist() for name in ("first", "last"))
    assert first == last


def test_every_number_of_the_tables_is_finite_or_explained(tortured) -> None:
    for row in tortured[0].of("discrepancy"):
        for name in ("scale", "cosine", "relative_discrepancy"):
            assert row[name] is not None or row["reason"]
            assert row[name] is None or np.isfinite(row[name])
    shown = str(tortured[0])
    assert "nan" not in shown.split()
    assert "inf" not in shown.split()


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
    said = refusal(load, path)
    assert said == "" or said.startswith("card.toml: ")
    assert "\n" not in said


# Records.


@pytest.fixture(scope="module")
def record(tmp_path_factory) -> bytes:
    folder = tmp_path_factory.mktemp("record")
    suite.run(["torture-first-sound"], ["sum"], from_files=[CASES], prove=0, output=folder)
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
        "--optimizer", "--prove",
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
