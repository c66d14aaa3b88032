"""Write a case file, a step file and a test to start from."""

from __future__ import annotations

import argparse
import shlex
from importlib import resources
from pathlib import Path

from suite.errors import UsageError

TEMPLATES = ("my_case.py", "my_step.py", "test_my_step.py")

EPILOG = """\
examples:
  gradsuite init
  gradsuite init experiments

It writes my_case.py (a case for `gradsuite run --cases`), my_step.py (a training step for `gradsuite
recover`) and test_my_step.py (a test for pytest). Nothing is overwritten.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `gradsuite init`."""
    parser.add_argument("folder", nargs="?", type=Path, default=Path(), metavar="DIR", help="(default: here)")


def execute(arguments: argparse.Namespace) -> int:
    """Write the files, and say what to do with them.

    Raises:
        UsageError: One of them is there already, or cannot be written.
    """
    from suite.machine.write import write

    there = [name for name in TEMPLATES if (arguments.folder / name).exists()]
    if there:
        raise UsageError(f"{arguments.folder} has {', '.join(there)} already: choose another folder")
    for name in TEMPLATES:
        text = (resources.files("suite.cli") / "templates" / f"{name}.txt").read_text(encoding="utf-8")
        write(arguments.folder / name, text, "choose another folder")
    case, step, test = (shlex.quote(str(arguments.folder / name)) for name in TEMPLATES)
    print(f"Written: {case}, {step}, {test}. They work as they are; put your model and your loop in.\n")
    print(f"  gradsuite run --quick --cases {case} --case my-regression")
    print(f"  gradsuite recover {step}")
    print(f"  pytest {test}")
    return 0
