"""The command line as a person meets it: processes of their own, their output and exit codes."""

from __future__ import annotations

import importlib
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from suite.cli.main import COMMANDS, main, parser

BROKEN = str(Path(__file__).parents[1] / "broken_cases.py")


def run(*arguments: str, **more: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "suite", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **more)


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["show", "mean"], ["list", "--json"], ["cite"]])
def test_light_commands_import_neither_torch_nor_pandas(arguments: list[str]) -> None:
    code = (
        "import sys\n"
        "from suite.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'pandas', 'opacus', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_run_imports_opacus_only_if_that_engine_runs_and_the_compiler_for_none_but_torch_func() -> None:
    code = (
        "import sys\n"
        "import suite\n"
        "assert not {'torch', 'pandas', 'opacus', 'sklearn'} & set(sys.modules)\n"
        "def run(engine, cases=('mse', 'next-token')):\n"
        "    report = suite.run(cases, ['sum'], batch_sizes=[2], engine=engine, check_steps=0)\n"
        "    assert {row['engine'] for row in report.of('discrepancy')} == {engine}\n"
        "for engine in ('streaming', 'loop'):\n"
        "    run(engine)\n"
        "    assert not {'opacus', 'torch._dynamo', 'torch._inductor'} & set(sys.modules), engine\n"
        "run('torch-func')\n"
        "assert 'opacus' not in sys.modules\n"
        "run('opacus', ['mse'])\n"  # Opacus 1.5.4 is refused for the other
        "assert 'opacus' in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_list_names_everything_with_a_summary(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    shown = capsys.readouterr().out
    for expected in ("cases:", "conventions:", "engines:", "next-token", "clip-each-unit", "torch-func"):
        assert expected in shown
    assert main(["list", "conventions", "--json"]) == 0
    cards = json.loads(capsys.readouterr().out)
    assert [c["convention"] for c in cards["conventions"]][:2] == ["sum", "mean"]


@pytest.mark.parametrize("name", ["mean", "next-token", "opacus"])
def test_show_prints_the_card_of_anything(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", name]) == 0
    assert name in capsys.readouterr().out
    assert main(["show", name, "--json"]) == 0
    assert name in json.loads(capsys.readouterr().out).values()


@pytest.mark.parametrize("name", ["verl", "VERL:"])
def test_show_answers_a_framework_with_its_words(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", name]) == 2
    assert f"'{name}' is a framework and no word of one: choose verl:token-mean, " in capsys.readouterr().err


def test_env_and_cite_print_what_a_record_and_a_paper_need(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["env", "--json"]) == 0
    assert {"torch", "device", "threads", "tf32"} <= set(json.loads(capsys.readouterr().out))
    assert main(["cite"]) == 0
    assert capsys.readouterr().out.startswith("@software{gradsuite,")


def test_a_run_prints_both_tables_and_where_the_rest_is(tmp_path: Path) -> None:
    done = run("run", "--case", "mse", "--batch-size", "8", "--output", str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    assert "Discrepancy of conventions from 'mean'" in done.stdout
    assert "× 1/n" in done.stdout
    assert done.stdout.rstrip().endswith(f"Records and tables: {tmp_path / 'run'}")
    assert done.stderr == "[0 done, 4 left] mse\n"  # no terminal: one plain line a case


def test_a_failing_case_ends_in_1_and_the_others_are_measured(tmp_path: Path) -> None:
    done = run("run", "--case", "outside-*", "--cases", BROKEN, "--output", str(tmp_path / "run"))
    assert done.returncode == 1
    assert "Failed: outside-raises: FileNotFoundError: data.csv is missing" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_a_run_that_measures_nothing_ends_in_2_with_one_line(tmp_path: Path) -> None:
    done = run("run", "--case", "outside-nan", "--cases", BROKEN, "--output", str(tmp_path / "run"))
    assert done.returncode == 2
    assert "Failed: outside-nan, batch size 4, batch 0: 4 of the 4 losses are nan or infinite" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "--case", "cross-entropy-mpl"], "did you mean 'cross-entropy-mlp'"),
        (["run", "--convention", "means"], "did you mean 'mean'"),
        (["run", "--device", "gpu"], "no device is named 'gpu'; there are auto, cpu, cuda, mps"),
        (["run", "--batch-size", "many"], "--batch-size: a whole number is needed, 'many' was given"),
        (["run", "--batch-size", "-3"], "batch sizes must be 1 or more, -3 was given"),
        (["run", "--cases", "nowhere.py"], "no case file 'nowhere.py'"),
        (["run", "--frobnicate"], "no option is named '--frobnicate'"),
        (["show", "maen"], "did you mean 'mean'"),
        (["list", "convention"], "no kind is named 'convention': did you mean 'conventions'?"),
        (["rum"], "no command is named 'rum': did you mean 'run'?"),
        ([], "the following arguments are required: COMMAND"),
    ],
)
def test_wrong_input_gets_one_line_and_2(arguments: list[str], said: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("raise RuntimeError('no\\nway')", "failed: RuntimeError: no way"),
        ("import nowhere_at_all", "No module named 'nowhere_at_all'"),
        ("def f(:", "SyntaxError"),
        ("x = 1", "registers no case"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("from suite.case import case\n@case(dataset='')\ndef mse(): ...", "two cases are named 'mse'"),
    ],
)
def test_a_case_file_that_cannot_be_used_says_why(tmp_path: Path, source: str, said: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(source)
    done = run("run", "--cases", str(file))
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    done = run("run", "--case", "mse", "--output", str(tmp_path / "run"))
    assert done.returncode == 2
    assert "cannot write to" in done.stderr


def test_an_output_that_cannot_be_made_is_refused() -> None:
    done = run("run", "--case", "mse", "--output", "/dev/null/run")
    assert done.returncode == 2
    assert "cannot write to /dev/null/run" in done.stderr


def test_a_reader_that_stops_early_is_no_error() -> None:
    shell = f"{sys.executable} -m suite list --json | head -1"
    done = subprocess.run(
        ["/usr/bin/env", "bash", "-o", "pipefail", "-c", shell], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""


def test_env_is_a_table_for_people_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["env"]) == 0
    lines = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert lines["device"] == "cpu"
    assert lines["driver"] == "–"


def test_an_interrupt_ends_any_command_in_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("suite.cli.list.execute", interrupted)
    assert main(["list"]) == 130
    assert capsys.readouterr().err.startswith("gradsuite list: interrupted")


@pytest.mark.parametrize("module", ["suite", "suite.cli.main"])
def test_either_module_is_the_command(module: str) -> None:
    done = subprocess.run([sys.executable, "-m", module, "--version"], capture_output=True, check=True)
    assert done.stdout.startswith(b"gradsuite ")


def test_a_case_that_fails_under_the_rules_ends_in_1_and_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--cases", BROKEN, "--case", "outside-raises", "--steps", "2"]
    assert main(["rules", *options]) == 1
    assert "Failed: outside-raises: " in capsys.readouterr().out


def test_a_closed_pipe_ends_a_command_in_0() -> None:
    code = (
        "import sys, suite.cli.list as command\n"
        "from suite.cli.main import main\n"
        "def execute(_): raise BrokenPipeError\n"
        "command.execute = execute\n"
        "sys.exit(main(['list']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize("module", ["suite", "cases"])
def test_a_package_names_what_it_lacks(module: str) -> None:
    package = importlib.import_module(module)
    with pytest.raises(AttributeError, match=f"module '{module}' has no attribute 'nothing'"):
        package.nothing  # noqa: B018  its absence is the point


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_of_a_help_text_are_commands(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([name, "--help"])
    examples = re.findall(r"^  gradsuite (.*?)(?:  .*)?$", capsys.readouterr().out, re.MULTILINE)
    assert [example for example in examples if example.split()[0] == name]
    for example in examples:
        assert parser().parse_args(shlex.split(example)).command in COMMANDS


def test_the_package_lists_its_public_names() -> None:
    package = importlib.import_module("suite")
    assert dir(package) == sorted(package.__all__)
