# ruff: noqa: E501  one line a kind
"""The kinds of input that were badly answered once: each with inputs of its own, and what is said today.

`KINDS` is the list. A kind whose answer needs more than one line to check has a test further down, which is
named there.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
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
        out: an encoding of standard output, `closed`, or the file that it is.
        err: the same of standard error.
    """

    name: str
    command: str
    code: int
    says: str = ""
    shell: str = ""
    out: str = ""
    err: str = ""


KINDS = [
    *(Kind(f"01 output in {c}", "show clip-each-unit", 0, "min(1, C/", out=c) for c in CODECS),
    Kind("02 a full disk behind standard output", "list", 1, "standard output cannot be written: No space", out="/dev/full"),
    Kind("02 help on a full disk", "--help", 1, "cannot be written", "{} > /dev/full"),
    Kind("02 closed output", "list", 0, out="closed"),
    Kind("02 closed error stream", "show maen", 2, err="closed"),
    Kind("02 a full disk behind standard error", "show maen", 2, err="/dev/full"),
    Kind("02 a reader that leaves", "list --json", 0, "", "set -o pipefail; {} | head -1"),
    Kind("04 sys.exit(0) in a step", "recover {exit in a step}", 2, "the step failed (exit_in_a_step.py:9): SystemExit: 0"),
    Kind("04 sys.exit(0) in the losses", "recover {exit in the losses}", 2, "the losses failed (exit_in_the_losses.py:"),
    Kind("04 os._exit(0) in a step", "recover {os._exit in a step}", 2, "the step failed (os._exit_in_a_step.py:9): SystemExit: os._exit(0)"),
    Kind("04 a process that a step forks ends", "recover {a step that forks}", 0, "the weights are those of mean"),
    Kind("04 a step that closes standard output", "recover {a step that closes}", 0, "the weights are those of mean"),
    Kind("05 a module that is added", "recover {a module that is added}", 2, "replaces, adds or removes parameters (9.weight"),
    Kind("05 a parameter that is replaced", "recover {a parameter that is replaced}", 2, "parameters (0.weight)"),
    Kind("05 half()", "recover {half}", 0, "the storage of parameters (half(), to(), share_memory() or .data)"),
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
    Kind("22 a command that is another", "runn", 2, "no command is named 'runn': did you mean 'run'? `gradsuite --help`"),
    Kind("22 a command that looks like none", "papers", 2, "no command is named 'papers': there are 17; `gradsuite --help` names them"),
    Kind("22 the beginning of an option", "run --conv sum", 2, "no option is named '--conv': did you mean '--convention'?"),
    Kind("22 one hyphen", "run -case mse", 2, "no option is named '-case': did you mean '--case'?"),
    Kind("22 a dash of a word processor", "run –quick", 2, "'–quick' begins with a dash that is no hyphen: type --quick"),
    Kind("22 a case without its option", "run mse", 2, "gradsuite run: 'mse' is one word too many: cases are chosen by --case"),
    Kind("22 an option before the command", "--case mse run", 2, "the command comes first"),
    Kind("22 a choice that is another", "table {run} --format latx", 2, "no --format is named 'latx': did you mean 'latex'?"),
    Kind("22 a number with a point", "run --seed 1.5", 2, "--seed: a whole number is needed, '1.5' was given"),
    Kind("22 a number below zero", "lr --scale -1/2", 2, "what begins with a hyphen is written --scale=VALUE"),
    Kind("22 a name with its module", "lr --optimizer torch.optim.Adam --scale 1/2", 2, "did you mean 'Adam'?"),
    Kind("22 a name of thousands of characters", "show " + "x" * 5000, 2, "xxx… (5002 characters)"),
    Kind("23 a variable that is not set", "run --output=", 2, "there is nothing after --output: is a variable of the shell not set?"),
    Kind("24 a clip without its threshold", "lr --optimizer SGD --scale 1/2 --clip value", 2, "give --max-norm, the threshold"),
    Kind("24 steps without a check", "lr --optimizer SGD --scale 1/2 --steps 9", 2, "give --check"),
    Kind("24 laws of one optimizer", "lr --laws --optimizer SGD", 2, "leave the other options out"),
    Kind("24 what nothing of theirs is to compute", "fuzz --expect sum", 2, "give --target PATH.py:NAME"),
    Kind("24 one convention twice", "fuzz --worst direction --between mean mean", 2, "mean is given twice"),
    Kind("25 a page that is called PDF", "report {run} --out x.pdf", 2, "the report is a page, NAME.html"),
    Kind("25 a table for a program of offices", "table {run} --out x.xlsx", 2, "no table is made as .xlsx; end its name in .txt, .tex"),
    Kind("26 a folder of cases", "list --cases .", 2, "'.' is a folder: give a Python file"),
    Kind("26 a text file of cases", "list --cases {text}", 2, "is no Python file: give a Python file, NAME.py"),
    Kind("26 a module without cases", "list --cases json", 2, "module 'json' registers no case"),
    Kind("27 line ends of another system", "table {crlf}", 2, "their line ends were changed, by an editor or git's autocrlf"),
    Kind("27 a folder of runs", "table {folder}", 2, "1 of its folders do, such as {folder}/run"),
    Kind("28 an async step", "recover {an async step}", 2, "step is an async function: give one that runs by itself"),
    Kind("28 losses of nothing", "recover {losses of nothing}", 2, "losses(model, batch) gave NoneType; for 8 samples"),
    Kind("28 losses of torch's own", "recover {losses of torch's own}", 2, "losses is torch.nn.CrossEntropyLoss: it must be a function"),
    Kind("28 a class for a model", "recover {a class for a model}", 2, "model is the class Linear: give a model, Linear(…)"),
    Kind("28 one sample that is nan", "recover {one sample that is nan}", 1, "1 of the 8 losses are nan or infinite, the first that of sample 3"),
    Kind("29 a script that reads its command line", "recover {a script with options}", 2, "belongs under `if __name__ == '__main__':`"),
    Kind("29 a script whose options have defaults", "recover {a script with defaults}", 0, "mean"),
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
    (folder / "text.txt").write_text("mse")
    found["text"] = str(folder / "text.txt")
    records = (folder / "run" / "records.jsonl").read_bytes()
    (folder / "crlf.jsonl").write_bytes(records.replace(b"\n", b"\r\n"))
    found["crlf"] = str(folder / "crlf.jsonl")
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
        with stream(kind.out, "stdout", monkeypatch) as out, stream(kind.err, "stderr", monkeypatch):
            code = _code(words)
        said = "".join(capsys.readouterr()) + out()
    says = re.sub(r"\{(folder)\}", lambda found: inputs[found[1]], kind.says)
    assert code == kind.code, said
    assert says in said
    assert "Traceback" not in said


class _Kept(io.BytesIO):
    """Keeps its bytes when it is closed."""

    def close(self) -> None: ...


@contextmanager
def stream(kind: str, name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], str]]:
    """Inside, a standard stream is of this kind; what was written can be read from those of an encoding."""
    if not kind:
        yield lambda: ""
        return
    buffer = _Kept()
    before = getattr(sys, name)
    new = (
        None
        if kind == "closed"
        else io.TextIOWrapper(io.FileIO(kind, "w") if "/" in kind else buffer, None if "/" in kind else kind)
    )
    monkeypatch.setattr(sys, name, new)
    try:
        yield lambda: buffer.getvalue().decode(kind)
    finally:
        monkeypatch.setattr(sys, name, before)
        with suppress(OSError):  # what was left of it has no space, too
            if new is not None:
                new.close()


def _code(words: list[str]) -> int:
    """The exit code, as a shell sees it."""
    try:
        return main(words)
    except SystemExit as end:
        return int(end.code or 0)


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
    assert main(["fuzz", "--target", target, "--examples", "1", "--output", str(tmp_path / "kept")]) == 1
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


# A signal comes anywhere: in an import, which leaves its file open, or in a callback of the collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_20_a_signal_says_how_to_go_on_as_an_interrupt_does(
    name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    number = getattr(signal, name)
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
    over = threading.Event()

    def send() -> None:
        while not over.wait(0.01):
            if (tmp_path / "run" / "records.jsonl").exists():
                os.kill(os.getpid(), number)
                over.set()

    sender = threading.Thread(target=send)
    before = signal.signal(number, signal.SIG_DFL)  # under nohup SIGHUP is ignored, and stays so
    sender.start()
    try:
        code = main(given)
    finally:
        over.set()
        sender.join()
        signal.signal(number, before)
    assert code == 128 + number
    said = "".join(capsys.readouterr())
    assert "what was measured is kept" in said.lower()
    assert f"gradsuite {' '.join(given)}" in said


def test_21_the_tex_says_which_packages_it_needs() -> None:
    plain = Table("t", "c", ["name"], [["mean"]])
    wrapped = Table("t", "c", ["name", "why"], [["задача", "½"]], paragraphs=["why"])
    assert plain.latex().startswith("% \\usepackage{booktabs}\n\\begin{table}")
    assert wrapped.latex().startswith(
        "% \\usepackage{booktabs} \\usepackage{tabularx} \\usepackage{amsmath}; compile with XeLaTeX"
    )


MADE = """
import gradsuite, torch
model = torch.nn.Linear(4, 3)
batch = torch.randn(6, 4), torch.randint(3, (6,))
def losses(model, batch):
    return torch.nn.functional.cross_entropy(model(batch[0]), batch[1], reduction="none")
def step(model, batch): losses(model, batch).mean().backward()
"""


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "gradsuite.run('mse', batchsize=4)",
            "no argument of run is named 'batchsize': did you mean 'batch_sizes'",
        ),
        ("gradsuite.run('mse', batch_sizes=True)", "a batch size must be a whole number, True was given"),
        (
            "gradsuite.run(cases=[])",
            "cases is empty: name what is to be measured, or leave cases out for all",
        ),
        ("gradsuite.run('mse', batch_sizes=torch.arange(0).tolist())", "batch_sizes is empty"),
        ("gradsuite.run('mse', {})", "conventions is empty"),
        ("gradsuite.run('mse', output=3)", "output is 3: a path is needed"),
        ("gradsuite.run('mse', quick='no')", "quick is 'no': True or False is needed"),
        ("gradsuite.run('mse', processes=10**6)", "at most on the"),
        (
            "gradsuite.per_sample_gradients(batch, model, losses)",
            "model is a tuple: it must be a torch.nn.Module",
        ),
        (
            "gradsuite.per_sample_gradients(model, batch, None)",
            "losses is None: it must be a function, losses(model, batch)",
        ),
        (
            "gradsuite.per_sample_gradients(model, batch, losses).reduce([1, 2])",
            "coefficients are [1, 2]: one for each of the 6",
        ),
        (
            "gradsuite.per_sample_gradients(model, batch, losses).reduce('mean')",
            "coefficients are 'mean': numbers are needed",
        ),
        ("gradsuite.recover(model, batch, losses, step)", "model is a tuple"),
        ("gradsuite.recover(None, model, batch, losses)", "step is None: it must be a function"),
        (
            "gradsuite.recover(step, model, batch, losses, units=[1])",
            "units is a list: it must be a gradsuite.Units",
        ),
        ("gradsuite.assert_convention(step, model, batch, losses, None)", "None is no name of a convention"),
        (
            "gradsuite.assert_convention(step, model, batch, losses, 'sum', optimizer='SGD')",
            "optimizer is 'SGD'",
        ),
        ("gradsuite.equivalent('SGD', [('lr', 1)], scale=2)", "a dict is needed, such as {'lr': 0.1}"),
        (
            "gradsuite.equivalent('SGD', {'lr': torch.ones(2)}, scale=2)",
            "lr is an array [2]: one number is needed",
        ),
        ("gradsuite.law(3)", "3 is no optimizer: its name or its class is needed"),
        ("gradsuite.Units.of(-1)", "-1 samples were given: a whole number is needed"),
        ("gradsuite.Units.of(3, [1])", "a dict is needed, such as {'weight': [1, 2]}"),
        ("gradsuite.Units.of(3, windw=2)", "no setting of units is named 'windw': did you mean 'window'?"),
        ("gradsuite.Units.of(3, {'weight': 'heavy'})", "column 'weight' holds what is no number"),
        (
            "gradsuite.Units.of(3, {'microbatch': [0, 0.5, 1]})",
            "column 'microbatch' holds indices: whole numbers are needed",
        ),
        ("gradsuite.case(losses)", "@case stands alone: write @case(dataset="),
        ("gradsuite.case(dataset='d')(3)", "@case stands before 3: a function is needed"),
        ("gradsuite.Problem(model, batch, losses)", "model is a model that was made: give what makes it"),
        (
            "gradsuite.Problem(lambda: model, batch, losses, microbatches=0)",
            "microbatches is 0: a whole number",
        ),
        ("gradsuite.Problem(lambda: model, batch, losses, parts=('a', 'a'))", "different names are needed"),
        ("gradsuite.watch(model, losses, log=3)", "watch: log is 3: a function is needed"),
        ("gradsuite.watch(model, losses, save='/')", "watch: save is '/', a folder"),
    ],
)
def test_30_an_argument_of_another_kind_gets_one_line(line: str, said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        exec(MADE + line, {})  # noqa: S102  lines as people write them


def test_30_a_misspelt_name_is_one_that_python_suggests_for() -> None:
    with pytest.raises(AttributeError) as error:
        gradsuite.recovr  # noqa: B018
    assert (error.value.name, error.value.obj) == ("recovr", gradsuite)


def test_30_what_can_be_meant_is_taken() -> None:
    scale = Decimal("0.5")
    made = torch.optim.SGD([torch.zeros(1)], lr=0.5)
    assert gradsuite.equivalent(made, {"lr": 0.5}, scale=scale).hyperparameters == {"lr": 1.0}
    assert gradsuite.equivalent(made, {"lr": 0.5}, scale="1 / 2").hyperparameters == {"lr": 1.0}
    found = gradsuite.run("mse", "sum", batch_sizes=torch.tensor(4), engine="loop", quick=True)
    assert {row["batch_size"] for row in found.of("discrepancy")} == {4}


def test_31_a_case_that_makes_no_problem_says_so_and_where_it_fails_is_named(
    inputs: dict[str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    cases = ["--case", "makes-nothing", "--case", "divides", "--cases", inputs["no problem"]]
    assert main([*RUN, *cases, "--output", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().out
    assert "makes-nothing: its function returns nothing: it must return a Problem" in said
    assert re.search(r"divides: ZeroDivisionError: division by zero \(no_problem\.py:\d+\)", said)


def test_25_a_table_is_of_the_format_that_its_file_is_called(inputs: dict[str, str], tmp_path: Path) -> None:
    assert main(["table", inputs["run"], "--out", str(tmp_path / "t.tex")]) == 0
    assert "\\begin{table}" in (tmp_path / "t.tex").read_text()


def test_the_list_counts_thirty_one_kinds() -> None:
    named = {kind.name[:2] for kind in KINDS} | {
        found[1] for name in globals() if (found := re.match(r"test_(\d\d)_", name))
    }
    assert named == {f"{k:02}" for k in range(1, 32)}
