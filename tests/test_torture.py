"""Whatever comes from outside ends in a result or in one clear line: cases, cards, command lines, names."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import suite
from suite.cli import main
from suite.errors import UsageError
from suite.papers import load
from suite.report import Report
from suite.tables import Table, latex_escape
from tests.test_papers import CARD

CASES = Path(__file__).with_name("torture_cases.py")

# Cases.

SOUND = {"torture-first-sound", "torture-last-sound", "torture-changes-the-world", "torture-leaves-hooks",
         "torture-all-ignored", "torture-one-sample"}  # fmt: skip
SAID = {
    "torture-model-raises": "MemoryError: too large by far",
    "torture-losses-raise": "KeyError: 'mask'",
    "torture-infinite": "losses are nan or infinite",
    "torture-infinite-gradient": "not finite",
    "torture-transposed": "it must be unreduced",
    "torture-three-axes": "it must be unreduced",
    "torture-no-tensor": "gave list",
    "torture-no-parameters": "no parameter that requires a gradient",
    "torture-all-frozen": "no parameter that requires a gradient",
    "torture-independent": "depend on no parameter",
    "torture-ragged": "all must be the number of samples",
    "torture-no-data": "a batch holds a str",
    "torture-wrong-columns": "column 'weight' has shape [2]",
    "torture-nan-columns": "must be finite",
}


def world() -> tuple[object, ...]:
    """The state of torch and of the random numbers."""
    return (
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        torch.are_deterministic_algorithms_enabled(),
        torch.get_num_threads(),
        torch.get_rng_state().tolist(),
        random.getstate(),
        np.random.get_state()[1].tolist(),  # noqa: NPY002  it is this state that is to be kept
        torch.backends.cudnn.benchmark,
    )


@pytest.fixture(scope="module")
def tortured() -> tuple[Report, bool]:
    before = world()
    names = sorted(SOUND | SAID.keys())
    report = suite.run(names, ["sum", "mean", "element-mean"], from_files=[CASES], prove=0)
    return report, world() == before


def test_the_world_is_after_a_run_what_it_was_before(tortured) -> None:
    assert tortured[1]


@pytest.mark.parametrize("name", SAID)
def test_a_case_that_misbehaves_is_one_clear_row_a_batch(tortured, name: str) -> None:
    reasons = [row["reason"] for row in tortured[0].failures if row["case"] == name]
    assert reasons
    assert all(SAID[name] in reason and "\n" not in reason for reason in reasons)


def test_the_others_are_measured_all_the_same(tortured) -> None:
    frame = tortured[0].discrepancies
    assert set(frame.case) == SOUND
    sound = [
        frame[frame.case == name].scale.tolist() for name in ("torture-first-sound", "torture-last-sound")
    ]
    assert sound[0] == sound[1]


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
VALUES = st.one_of(
    st.sampled_from(
        ["1e999", "nan", "-inf", "[]", "{}", '""', "true", "1979-05-27", "[[1], [2]]", "-1", "0x7f"]
    ),
    st.integers().map(str),
    st.floats().map(str),
    st.text(max_size=20).map(repr),
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


def loads_or_says_why(path: Path) -> None:
    try:
        load(path)
    except UsageError as error:
        assert str(error).startswith("card.toml: ")
        assert len(str(error).splitlines()) == 1


@given(text=cards())
def test_a_changed_card_is_read_or_refused_in_one_line(tmp_path_factory, text: str) -> None:
    path = tmp_path_factory.mktemp("cards") / "card.toml"
    path.write_text(text, encoding="utf-8", errors="replace")
    loads_or_says_why(path)


@given(content=st.binary(max_size=200))
def test_any_bytes_are_read_as_a_card_or_refused_in_one_line(tmp_path_factory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("cards") / "card.toml"
    path.write_bytes(content)
    loads_or_says_why(path)


# The command line.

WORDS = st.one_of(
    st.sampled_from([
        "sum", "mean", "clip-mean", "SGD", "Adam", "LBFGS", "lr=0.1", "lr=", "=", "betas=(0.9,0.99)", "eps=1e999",
        "lr=nan", "nan", "inf", "-1", "0", "1e400", "1/0", "1/3", "2**9999", "9" * 400, "keras", "dqn-2015", "*",
        "[", "(" * 200, "__import__('os')", "\x00", "",
    ]),
    st.text(max_size=8),
    st.integers().map(str),
    st.floats().map(str),
)  # fmt: skip
OPTIONS = {
    "lr": ["--from", "--to", "--scale", "--batch-size", "--optimizer", "--set", "--max-norm", "--elements",
           "--micro-batches", "--ranks", "--dialect", "--paper", "--rule", "--to-batch-size", "--noise-scale",
           "--json", "--laws"],
    "show": ["--json", "--cases"],
    "list": ["--json"],
    "recover": ["--expect", "--engine"],
    "fuzz": ["--target", "--expect", "--examples", "--minutes", "--seed", "--worst", "--between"],
    "run": ["--case", "--convention", "--batch-size", "--reference", "--engine", "--device", "--dtype", "--seed",
            "--optimizer", "--prove"],
}  # fmt: skip
NEVER_STARTS = {"fuzz": ["--examples", "0"], "run": ["--batch-size", "0"], "recover": ["no such file"]}
"""What keeps a command from doing its work: its arguments are what is tried here."""


@st.composite
def command_lines(draw: st.DrawFn, command: str) -> list[str]:
    line = [command]
    for _ in range(draw(st.integers(0, 5))):
        line.append(draw(st.sampled_from(OPTIONS[command])))
        line += draw(st.lists(WORDS, max_size=2))
    return [*line, *NEVER_STARTS.get(command, [])]


@pytest.mark.parametrize("command", OPTIONS)
@given(data=st.data())
def test_any_command_line_ends_in_an_exit_code(command: str, data: st.DataObject, capfd) -> None:
    line = data.draw(command_lines(command))
    try:
        code = main(line)
    except SystemExit as left:  # argparse's own way
        code = left.code
    said = capfd.readouterr().err
    assert code in (0, 1, 2)
    assert "Traceback" not in said
    assert code != 2 or said.strip()


# Names.

HOSTILE = ["\\input{/etc/passwd}", "\\write18{rm}", "$x^{2}_{1}$", "a & b \\\\ c", "%", "|", "<script>alert(1)</script>",
           "{}", "~^#", "\\end{document}"]  # fmt: skip


@given(name=st.one_of(st.sampled_from(HOSTILE), st.text(max_size=30)))
def test_a_hostile_name_starts_no_command_of_latex(name: str) -> None:
    shown = latex_escape(name)
    for harmless in (r"\textbackslash{}", r"\textasciitilde{}", r"\textasciicircum{}"):
        shown = shown.replace(harmless, "")
    for sign in "&%$#_{}":
        shown = shown.replace("\\" + sign, "")
    # What is left of commands are the mathematical signs that the tables use.
    rest = shown
    for command in (r"$\cdot$", r"$\times$", "$-$", "$<$", "$>$", r"$\tfrac12$", r"$\neq$", r"$\|$", r"$\theta$",
                    r"$\delta$", r"$\infty$", r"$\propto$", r"$\lambda$", r"$\varepsilon$"):  # fmt: skip
        rest = rest.replace(command, "")
    assert not set("\\$&%#_{}~^") & set(rest)


@given(name=st.one_of(st.sampled_from(HOSTILE), st.text(max_size=30)))
def test_a_hostile_name_breaks_no_row_of_markdown_or_latex(name: str) -> None:
    table = Table("t", "C", ("a", "b"), [[name, "x"], ["y", "z"]])
    plain = Table("t", "C", ("a", "b"), [["n", "x"], ["y", "z"]])
    bars = [line.replace("\\|", "").count("|") for line in table.markdown().splitlines()]
    assert bars == [line.count("|") for line in plain.markdown().splitlines()]
    assert table.latex().count("\\\\") == plain.latex().count("\\\\")
