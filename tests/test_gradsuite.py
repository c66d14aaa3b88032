"""`import gradsuite`, alone and beside packages of other people that are called as its own are."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import gradsuite
import suite

HOME = Path(gradsuite.__file__).parent
"""The folder that `gradsuite`, `suite` and `cases` are imported from."""


def python(folder: Path, *arguments: str, path: str = str(HOME)) -> subprocess.CompletedProcess[str]:
    """Python, started in `folder`."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture
def beside(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A folder in which somebody else's package lies."""
    file = tmp_path / request.param
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("raise RuntimeError('somebody else is imported')")
    return tmp_path


def test_it_exports_a_dozen_names_and_what_suite_exports_besides() -> None:
    assert len(gradsuite.__all__) <= 12
    assert {"case", "Problem", "run", "recover", "equivalent"} <= set(gradsuite.__all__)
    assert dir(gradsuite) == sorted({*gradsuite.__all__, *suite.__all__})
    for name in gradsuite.__all__:
        assert getattr(gradsuite, name).__name__.split(".")[-1] == name
    for name in suite.__all__:
        assert getattr(gradsuite, name) is getattr(suite, name)
    with pytest.raises(AttributeError, match="module 'gradsuite' has no attribute 'nothing'"):
        gradsuite.nothing  # noqa: B018  its absence is the point
    with pytest.raises(AttributeError, match="module 'gradsuite' has no attribute '__path__'"):
        gradsuite.__path__  # noqa: B018


def test_each_name_is_one_object_wherever_it_is_imported_from() -> None:
    from cases.case import Problem, case

    assert (gradsuite.case, gradsuite.Problem) == (case, Problem)


def test_importing_it_imports_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys, gradsuite; gradsuite.case; gradsuite.equivalent('SGD', {}, scale=2)\n"
        "assert not {'torch', 'pandas', 'opacus', 'sklearn'} & set(sys.modules), sys.modules"
    )
    done = python(tmp_path, "-c", code)
    assert done.returncode == 0, done.stderr


def test_the_console_script_is_its_main() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["scripts"] == {"gradsuite": "gradsuite:main"}
    assert gradsuite.main(["list", "engines"]) == 0


FOREIGN = ["suite/__init__.py", "suite.py", "cases/__init__.py", "cases.py"]


@pytest.mark.parametrize("beside", FOREIGN, indirect=True)
def test_the_command_line_works_beside_packages_of_its_names(beside: Path) -> None:
    for command in (["-m", "gradsuite"], [str(HOME / "gradsuite.py")]):
        done = python(beside, *command, "list", "cases", path=f"{beside}{os.pathsep}{HOME}")
        assert done.returncode == 0, done.stderr
        assert "next-token" in done.stdout


@pytest.mark.parametrize("beside", ["cases/__init__.py"], indirect=True)
def test_processes_that_a_run_starts_work_beside_them_too(beside: Path) -> None:
    options = ["--case", "mse", "--batch-size", "2", "--quick", "--engine", "loop"]
    done = python(beside, "-m", "gradsuite", "run", *options, "-j", "1", "--output", "run")
    assert done.returncode == 0, done.stderr
    assert "Discrepancy of conventions from 'mean'" in done.stdout


@pytest.mark.parametrize("beside", FOREIGN[:2], indirect=True)
@pytest.mark.parametrize("code", ["from gradsuite import recover", "import gradsuite; gradsuite.run()"])
def test_python_says_in_one_line_that_another_suite_hides_its_own(beside: Path, code: str) -> None:
    done = python(beside, "-c", code)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"ImportError: gradsuite's package 'suite' is hidden by {beside}")
    assert "rename that one" in last
    assert "somebody else is imported" not in done.stderr


@pytest.mark.parametrize("beside", FOREIGN[2:], indirect=True)
def test_other_cases_hide_only_what_needs_the_cases(beside: Path) -> None:
    code = "import gradsuite; print(gradsuite.recover.__name__, gradsuite.law('SGD').name); gradsuite.run()"
    done = python(beside, "-c", code)
    assert done.stdout == "recover SGD\n"
    last = done.stderr.splitlines()[-1]
    assert f"gradsuite's package 'cases' is hidden by {beside}{os.sep}cases" in last
    assert "somebody else is imported" not in done.stderr


def test_a_folder_that_is_no_package_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / "suite").mkdir()
    (tmp_path / "cases").mkdir()
    done = python(tmp_path, "-c", "import gradsuite; gradsuite.recover; print(gradsuite.law('SGD').name)")
    assert done.stdout == "SGD\n", done.stderr


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """An installation, which another distribution can overwrite."""
    shutil.copy(HOME / "gradsuite.py", tmp_path)
    for name in ("suite", "cases"):
        shutil.copytree(HOME / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.mark.parametrize(
    ("package", "said"),
    [("suite", "suite was overwritten by another distribution"), ("cases", "registers no case")],
)
def test_an_overwritten_installation_is_told_in_one_line(copy: Path, package: str, said: str) -> None:
    (copy / package / "__init__.py").write_text('"""Somebody else."""')
    done = python(copy, str(copy / "gradsuite.py"), "list", "cases", path=str(copy))
    assert done.returncode == 2
    assert said in done.stderr
    assert "virtual environment" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_missing_suite_is_told_in_one_line(copy: Path) -> None:
    shutil.rmtree(copy / "suite")
    done = python(copy, "-I", "-S", str(copy / "gradsuite.py"), "list")
    assert done.returncode == 2
    assert done.stderr.startswith("gradsuite: gradsuite's package 'suite' is not at ")
    assert done.stderr.count("\n") == 1


def test_a_suite_that_was_imported_before_is_told() -> None:
    code = (
        "import sys, types; sys.modules['suite'] = types.ModuleType('suite')\n"
        "import gradsuite\n"
        "try: gradsuite.run\n"
        "except ImportError as error: print(error)"
    )
    done = python(HOME, "-c", code)
    assert done.stdout.startswith("gradsuite's package 'suite' is hidden by <module 'suite'>"), done.stderr
