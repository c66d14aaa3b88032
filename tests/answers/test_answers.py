# ruff: noqa: E501  one line a kind
"""The kinds of input that were badly answered once: each with inputs of its own, and what is said today.

`KINDS` is the list. A kind whose answer needs more than one line to check has a test further down, which is
named there.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

import gradsuite
from suite.cli.main import main
from suite.errors import UsageError
from suite.report.page.sections import slug
from suite.report.text_table import Table
from tests.answers.files import CASES, STEPS

RUN = ["run", "--quick", "--engine", "loop", "--convention", "sum", "--batch-size", "4"]
CODECS = ("cp1252", "cp437", "ascii")


@dataclass(frozen=True)
class Kind:
    """A kind of input.

    Args:
        name: what it is.
        command: words after `gradsuite`; `{…}` are files of the fixture `inputs`.
        code: the exit code.
        says: what standard error or output says.
        shell: what stands around the command on a command line of its own: `{}` is the command.
    """

    name: str
    command: str
    code: int
    says: str = ""
    shell: str = ""


KINDS = [
    *(Kind(f"01 output in {c}", "show clip-each-unit", 0, "min(1, C/", f"PYTHONIOENCODING={c} {{}}") for c in CODECS),
    Kind("02 a full disk behind standard output", "list", 1, "standard output cannot be written: No space", "{} > /dev/full"),
    Kind("02 help on a full disk", "--help", 1, "cannot be written", "{} > /dev/full"),
    Kind("02 closed output", "list", 0, "", "{} >&-"),
    Kind("02 closed error stream", "show maen", 2, "", "{} 2>&-"),
    Kind("02 a full disk behind standard error", "show maen", 2, "", "{} 2>/dev/full"),
    Kind("02 a reader that leaves", "list --json", 0, "", "set -o pipefail; {} | head -1"),
    Kind("04 sys.exit(0) in a step", "recover {exit in a step}", 2, "the step failed (exit_in_a_step.py:9): SystemExit: 0"),
    Kind("04 sys.exit(0) in the losses", "recover {exit in the losses}", 2, "the losses failed (exit_in_the_losses.py:"),
    Kind("05 a module that is added", "recover {a module that is added}", 2, "replaces, adds or removes parameters (9.weight"),
    Kind("05 a parameter that is replaced", "recover {a parameter that is replaced}", 2, "parameters (0.weight)"),
    Kind("05 half()", "recover {half}", 0, "the storage of parameters (half(), to() or .data)"),
    Kind("12 a table over its records", "table {run} --out {run}/records.jsonl", 2, "a file of records, which would be lost"),
    Kind("12 a page over the records of another", "report {run} --out {folder}/records.jsonl.gz", 2, "would be lost"),
    Kind("12 a figure over what it reads", "plot {run} --kind scale --out {linked}.svg", 2, "would be lost"),
    Kind("13 a compressed bomb", "table {bomb}", 2, "when it is unpacked: no record is so dense"),
    Kind("13 a pipe as a record", "table {pipe}", 2, "holds no run"),
    Kind("13 a pipe as weights", "plot {pipe} --kind weights --out w.svg", 2, "is no file"),
    Kind("13 a pipe as a step", "recover {pipe.py}", 2, "no Python file"),
    Kind("13 few file descriptors", "run -j 4 --case mse", 2, "ulimit -n 1024", "ulimit -n 12; {}"),
    Kind("14 python -OO", "list rules", 0, "No summaries: Python runs with -OO", "PYTHONOPTIMIZE=2 {}"),
    Kind("15 a hook on a parameter", "recover {a hook on a parameter}", 0, "hooks on parameters: hooks on 0.weight"),
    Kind("15 a hook after accumulation", "recover {a hook after accumulation}", 0, "2.weight and 1 more change the gradient"),
    Kind("16 a batch that is changed", "recover {a batch that is changed}", 0, "changed inputs: the step changes its batch"),
    Kind("17 spectral_norm", "recover {spectral_norm}", 0, "(spectral_norm in train mode: "),
    Kind("17 the old spectral_norm", "recover {the old spectral_norm}", 0, "(spectral_norm in train mode: "),
    Kind("17 a tracked InstanceNorm", "recover {InstanceNorm}", 0, "(InstanceNorm in train mode: "),
    Kind("18 names in capitals", "show MEAN", 2, "did you mean 'mean'"),
    Kind("18 options in capitals", "run --case MSE", 2, "did you mean 'mse'"),
    Kind("19 a time that is none", "run --time-limit soon", 2, "as 90, 90s, 5m or 1h30m; 'soon' was given"),
]  # fmt: skip


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    folder = tmp_path_factory.mktemp("answers")
    found = {"folder": str(folder), "run": str(folder / "run")}
    for name, text in {**STEPS, **CASES}.items():
        file = folder / f"{name.replace(' ', '_')}.py"
        file.write_text(text)
        found[name] = str(file)
    (folder / "answers_neighbour.py").write_text("")
    (folder / "answers_later.py").write_text("")
    gradsuite.run("mse", "sum", batch_sizes=4, engine="loop", quick=True, output=folder / "run")
    (folder / "run2.svg").symlink_to(folder / "run" / "records.jsonl")
    found["linked"] = str(folder / "run2")
    (folder / "bomb.gz").write_bytes(gzip.compress(bytes(2**26 + 1), 1))
    found["bomb"] = str(folder / "bomb.gz")
    for name, key in (("pipe.json", "pipe"), ("pipe.py", "pipe.py")):
        os.mkfifo(folder / name)
        found[key] = str(folder / name)
    yield found
    sys.path[:] = [entry for entry in sys.path if entry != str(folder)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_each_kind_is_answered(
    kind: Kind, inputs: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [
        re.sub(r"\{([^}]+)\}", lambda found: inputs[found[1].replace("~", " ")], word)
        for word in re.sub(r"\{[^}]+\}", lambda f: f[0].replace(" ", "~"), kind.command).split()
    ]
    if kind.shell:
        command = " ".join(["env", f"'{sys.executable}'", "-m", "suite", *words])
        line = kind.shell.replace("{}", command)
        done = subprocess.run(
            ["/usr/bin/env", "bash", "-c", line], capture_output=True, timeout=60, check=False
        )
        code, said = done.returncode, (done.stdout + done.stderr).decode(errors="replace")
    else:
        monkeypatch.chdir(inputs["folder"])
        code = main(words)
        said = "".join(capsys.readouterr())
    assert code == kind.code, said
    assert kind.says in said
    assert "Traceback" not in said


def test_03_a_message_with_half_a_character_is_one_failed_row(
    inputs: dict[str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    cases = ["--case", "first-named", "--case", "second-sound"]
    assert main([*RUN, *cases, "--cases", inputs["half a character"], "--output", str(tmp_path / "run")]) == 1
    assert "ValueError: cannot read donn\\udce9es.csv" in capsys.readouterr().out
    assert main(["table", str(tmp_path / "run")]) == 0  # the other was measured, and the record can be read


def test_04_sys_exit_in_a_reduction_is_a_counter_example(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text("import sys\ndef mine(losses, units): sys.exit(0)\n")
    target = f"{tmp_path / 'mine.py'}:mine"
    assert main(["fuzz", "--target", target, "--examples", "5", "--output", str(tmp_path / "kept")]) == 1
    assert "it raised SystemExit: 0" in capsys.readouterr().out


@pytest.mark.parametrize("more", [[], ["-j", "1"]], ids=["here", "in a process"])
def test_06_what_a_case_prints_is_in_no_table(
    more: list[str], inputs: dict[str, str], capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = ["--cases", inputs["prints"], "--case", "prints-much", "--output", str(tmp_path / "run")]
    assert main([*RUN, *more, *arguments]) == 0
    shown = capfd.readouterr()
    assert shown.out.startswith("Discrepancy of conventions")
    assert not {"loaded", "built", "C"} & set(shown.out.splitlines())
    assert {"built", "C"} <= set(shown.err.splitlines())


def test_06_what_a_step_prints_is_in_no_json(
    inputs: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["recover", inputs["a step that prints"], "--json"]) == 0
    shown = capfd.readouterr()
    assert json.loads(shown.out)["convention"] == "mean"
    assert {"loaded", "loss", "C"} <= set(shown.err.splitlines())


def test_07_a_case_file_imports_its_neighbours_then_and_later(inputs: dict[str, str], tmp_path: Path) -> None:
    found = gradsuite.run(
        "with-neighbour", "sum", from_files=inputs["a neighbour"], quick=True, engine="loop"
    )
    assert not found.failures


def test_08_relative_paths_survive_a_case_file_that_goes_elsewhere(
    inputs: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(inputs["folder"])
    file, out = Path(inputs["another folder"]).name, "went"
    gradsuite.run("goes-elsewhere", "sum", from_files=[file], quick=True, engine="loop", output=out)
    assert Path.cwd() == Path(inputs["folder"]).resolve()
    assert {"records.jsonl", "discrepancies.csv"} <= {path.name for path in Path(out).iterdir()}


def test_09_names_in_other_alphabets_have_ids_of_their_own() -> None:
    names = ["задача", "задание", "数据", "mse", "x"]
    assert len({slug("case", name) for name in names}) == len(names)


def test_10_cells_that_begin_like_a_formula_are_texts_in_a_spreadsheet(
    inputs: dict[str, str], tmp_path: Path
) -> None:
    gradsuite.run(
        "=1+1", "sum", from_files=inputs["foreign names"], engine="loop", quick=True, output=tmp_path
    )
    assert "\n'=1+1," in (tmp_path / "discrepancies.csv").read_text()
    table = Table("t", "c", ["name", "value"], [["@SUM(A1)", "-1e-3"], ["+x", "–"]])
    assert table.csv() == "name,value\n'@SUM(A1),-1e-3\n'+x,–\n"


def test_11_escapes_from_outside_are_shown_and_not_obeyed(
    inputs: dict[str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = ["--cases", inputs["escapes"], "--case", "paints", "--output", str(tmp_path / "run")]
    assert main([*RUN, *arguments]) == 2
    assert main(["show", "paints", "--cases", inputs["escapes"]]) == 0
    assert main(["show", "\x1b[31mred"]) == 2
    shown = "".join(capsys.readouterr())
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "ValueError: in \\x1b[5mred" in shown


def test_18_in_python_things_are_taken_for_what_they_mean() -> None:
    more = {"engine": "loop", "quick": True}
    found = gradsuite.run(cases="mse", conventions="sum", batch_sizes=4, device=torch.device("cpu"),
                          dtype=torch.float32, time_limit=None, **more)  # fmt: skip
    assert {row["batch_size"] for row in found.of("discrepancy")} == {4}
    assert {row["dtype"] for row in found.of("discrepancy")} == {"float32"}
    converted = gradsuite.equivalent("SGD", {"lr": torch.tensor(0.125)}, scale="1/32")
    assert converted.hyperparameters == {"lr": 4.0}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"cases": 3}, "cases has 3: names or glob patterns are needed"),
        ({"batch_sizes": 2.5}, "a batch size must be a whole number, 2.5 was given"),
        ({"seed": "a"}, "the seed must be a whole number, 'a' was given"),
        ({"dtype": torch.int64}, "no dtype is named 'int64'"),
        ({"time_limit": "5x"}, "a time is needed"),
        ({"processes": "two"}, "the number of processes must be a whole number"),
        ({"optimizers": 1}, "optimizers has 1"),
    ],
)
def test_18_a_mistake_in_python_gets_one_line(given: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        gradsuite.run(**{"cases": "mse", **given})


@pytest.mark.parametrize("scale", ["a", "1/0", "", None, [1], "nan"])
def test_18_a_scale_that_is_none_gets_one_line(scale: object) -> None:
    with pytest.raises(UsageError, match="the scale is"):
        gradsuite.equivalent("SGD", {"lr": 0.1}, scale=scale)


@pytest.mark.parametrize("option", [("--seed", "1"), ("--dtype", "float64")], ids=["seed", "dtype"])
def test_18_diff_of_two_seeds_or_formats_says_so(
    option: tuple[str, str], inputs: dict[str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main([*RUN, "--case", "mse", *option, "--output", str(tmp_path / "run")]) == 0
    assert main(["diff", inputs["run"], str(tmp_path / "run")]) == 2
    assert f"the runs have no row in common: {option[0][2:]} " in capsys.readouterr().err


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_20_a_signal_says_how_to_go_on_as_an_interrupt_does(name: str, tmp_path: Path) -> None:
    given = [
        "run",
        "--engine",
        "loop",
        "--convention",
        "sum",
        "--case",
        "mse",
        "--output",
        str(tmp_path / "run"),
    ]
    command = [sys.executable, "-m", "suite", *given]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    end = time.monotonic() + 60
    while not (tmp_path / "run" / "records.jsonl").exists() and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(getattr(signal, name))
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + getattr(signal, name)
    assert "what was measured is kept" in said.lower()
    assert f"gradsuite {' '.join(given)}" in said


def test_21_the_tex_says_which_packages_it_needs() -> None:
    plain = Table("t", "c", ["name"], [["mean"]])
    wrapped = Table("t", "c", ["name", "why"], [["задача", "½"]], paragraphs=["why"])
    assert plain.latex().startswith("% \\usepackage{booktabs}\n\\begin{table}")
    assert wrapped.latex().startswith(
        "% \\usepackage{booktabs} \\usepackage{tabularx} \\usepackage{amsmath}; compile with XeLaTeX"
    )


def test_the_list_counts_twenty_one_kinds() -> None:
    named = {kind.name[:2] for kind in KINDS} | {
        found[1] for name in globals() if (found := re.match(r"test_(\d\d)_", name))
    }
    assert named == {f"{k:02}" for k in range(1, 22)}
