"""What surrounds the package does what it says: Slurm, cron, conda, Docker, pytest, init, completion."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import gradsuite
import suite
from suite.cli.main import COMMANDS, main, parser

ROOT = Path(__file__).parents[2]
PACKAGING = ROOT / "packaging"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_slurm_script_runs_its_part_and_is_told_the_signal(tmp_path: Path) -> None:
    (tmp_path / "gradsuite").write_text('#!/bin/sh\necho "$$" "$@"\n')
    (tmp_path / "gradsuite").chmod(0o755)
    variables = {"SLURM_ARRAY_TASK_ID": "2", "SLURM_ARRAY_TASK_COUNT": "4", "SLURM_CPUS_PER_TASK": "3"}
    process = subprocess.Popen(
        ["/bin/bash", str(PACKAGING / "array.sbatch"), "--quick"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", **variables},
        stdout=subprocess.PIPE,
        text=True,
    )
    said = process.communicate(timeout=30)[0].split()
    assert said[0] == str(process.pid)  # exec: the signal of Slurm reaches gradsuite itself
    asked = parser().parse_args(said[1:])
    assert (asked.shard, asked.processes, str(asked.output)) == ("2/4", 3, "results/part-2")


def test_the_cron_line_is_silent_where_nothing_changed(tmp_path: Path) -> None:
    line = next(x for x in (PACKAGING / "nightly.cron").read_text().splitlines() if x[:1].isdigit())
    command = line.split(None, 5)[5]
    for words in re.findall(r"gradsuite ((?:run|diff) [^>&;]*)", command):
        assert parser().parse_args(shlex.split(words)).command in COMMANDS
    home = tmp_path / "gradsuite"
    home.mkdir()
    for code, expected in ((0, ""), (1, "run\ndiff\n")):
        program = f'#!/bin/sh\necho "$1"\ntest "$1" = run || exit {code}\n'
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / "gradsuite").write_text(program)
        (tmp_path / "bin" / "gradsuite").chmod(0o755)
        environment = {"HOME": str(tmp_path), "PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"}
        done = subprocess.run(
            ["/bin/bash", "-c", command], env=environment, capture_output=True, text=True, check=False
        )
        assert done.stdout == expected


def test_the_recipe_of_conda_asks_for_what_the_project_asks_for() -> None:
    recipe = (PACKAGING / "meta.yaml").read_text().replace("pytorch >=", "torch >=")
    needed = set(re.findall(r"^    - (\S+) (>=\S+)$", recipe.partition("  run:")[2], re.MULTILINE))
    declared = {re.match(r"([\w-]+)(.*)", one).groups() for one in PROJECT["dependencies"]}
    assert declared == needed - {("python", PROJECT["requires-python"])}
    version = (ROOT / "suite" / "machine" / "version.py").read_text()
    assert re.search(r'set version = ("[^"]+")', recipe)[1] in version


def test_the_stubs_of_the_single_module_name_all_that_is_public() -> None:
    text = (ROOT / "gradsuite-stubs" / "__init__.pyi").read_text(encoding="utf-8")
    named = set(re.findall(r"^from .* import (\w+) as \1$|^(watch): ", text, re.MULTILINE))
    assert {name or other for name, other in named} == {*gradsuite.__all__, *suite.__all__}


def test_the_dockerfile_installs_from_the_tree_with_the_pinned_versions() -> None:
    text = (PACKAGING / "Dockerfile").read_text()
    assert "COPY . /src" in text
    assert "-c /src/constraints.txt" in text
    assert 'ENTRYPOINT ["gradsuite"]' in text
    assert PROJECT["requires-python"] <= ">=" + re.search(r"FROM python:(\S+)-slim", text)[1]


def test_init_writes_files_that_work_and_overwrites_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["init", str(tmp_path)]) == 0
    assert main(["init", str(tmp_path)]) == 2
    assert "my_case.py, my_step.py, test_my_step.py already" in capsys.readouterr().err
    assert main(["recover", str(tmp_path / "my_step.py"), "--expect", "mean"]) == 0
    only = ["--convention", "element-mean", "--engine", "loop", "--quick", "--output", str(tmp_path / "run")]
    assert main(["run", "--cases", str(tmp_path / "my_case.py"), "--case", "my-regression", *only]) == 0


@pytest.mark.parametrize(("name", "code"), [("mean", 0), ("sum", 1)])
def test_the_fixture_fails_with_the_weights_at_the_line_of_the_test(
    name: str, code: int, tmp_path: Path
) -> None:
    assert main(["init", str(tmp_path)]) == 0
    file = tmp_path / "test_my_step.py"
    file.write_text(file.read_text().replace('"mean"', f'"{name}"'))
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "gradsuite_pytest",
        "-p",
        "no:cacheprovider",
        str(file),
    ]
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == code, done.stdout
    if code:
        assert "E       AssertionError: the step does not compute 'sum'." in done.stdout
        assert "samples 0 – 7         0.125  1/n" in done.stdout
        assert "assertion.py" not in done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_every_command_and_option(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(name in script for name in COMMANDS)
    assert ("-l batch-size" if shell == "fish" else "--batch-size") in script
    assert all(name in script for name in ("cross-entropy-mlp", "mean-of-rank-means", "dqn-2015", "trl:grpo"))


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("run --batch", {"--batch-size"}),
        ("sho", {"show"}),
        ("run --case cross-entropy-p", {"cross-entropy-plus-mse"}),
        ("show dqn-2", {"dqn-2015"}),
        ("lr --from mean-of-rank", {"mean-of-rank-means"}),
        ("lr --paper dqn-2", {"dqn-2015"}),
        ("lr --optimizer Adag", {"Adagrad"}),
        ("recover mine", {"mine.py"}),
    ],
)
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes(
    shell: str, words: str, found: set[str], scripts: dict[str, str], tmp_path: Path
) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"there is no {shell} here")
    (tmp_path / "mine.py").touch()
    (tmp_path / "cross-entropy-private").touch()
    line = words.split()
    given = f"COMP_WORDS=(gradsuite {words}); COMP_CWORD={len(line)}"
    asked = {
        "bash": f"{given}; _gradsuite; printf '%s\\n' ${{COMPREPLY[@]}}",
        "zsh": f"setopt ksharrays shwordsplit; {given}; _gradsuite; printf '%s\\n' ${{COMPREPLY[@]}}",
        "fish": f"complete -C 'gradsuite {words}'",
    }
    script = f"{scripts[shell]}\n{asked[shell]}"
    flag = ["-f"] if shell == "zsh" else ["--norc"] if shell == "bash" else ["--no-config"]
    done = subprocess.run(
        [program, *flag, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    shown = {row.partition("\t")[0] for row in done.stdout.split("\n")} - {""}
    if shell == "zsh":  # what does not begin so is left out where it is shown
        shown = {name for name in shown if name.startswith(line[-1])}
    assert shown == found, done.stderr


@pytest.fixture(scope="module")
def scripts() -> dict[str, str]:
    made = {}
    for shell in ("bash", "zsh", "fish"):
        shown = io.StringIO()
        with contextlib.redirect_stdout(shown):
            assert main(["completion", shell]) == 0
        made[shell] = shown.getvalue()
    return made
