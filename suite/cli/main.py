"""The command line: `gradsuite COMMAND`. Each command is a module of `suite.cli`.

Commands import what they need when they run, so that `--help`, `list` and `show` answer without torch.
"""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from suite.errors import UsageError, one_line
from suite.machine.cuda import fix_workspace
from suite.machine.version import __version__

COMMANDS = (
    "run", "merge", "diff", "table", "plot", "report", "recover", "lr", "rules", "bench", "fuzz", "list",
    "show", "env", "cite",
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit code: 0 all is well, 1 something measured failed, 2 the input is wrong.
    """
    fix_workspace()  # before anything starts CUDA
    given = sys.argv[1:] if argv is None else list(argv)
    # A command may tell how to run it again.
    arguments = parser().parse_args(given, argparse.Namespace(argv=given))
    try:
        code = import_module(f"suite.cli.{arguments.command}").execute(arguments)
        sys.stdout.flush()
    except UsageError as error:
        print(f"gradsuite {arguments.command}: {one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"gradsuite {arguments.command}: interrupted; what was measured is kept", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader (`| head`) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return int(code)


class _Parser(argparse.ArgumentParser):
    """Answers a wrong option with one line instead of the whole usage."""

    def error(self, message: str) -> NoReturn:
        said = " ".join(message.split())  # what was given may have several lines
        self.exit(2, f"{self.prog}: {said}; `{self.prog} --help` shows what is allowed\n")


def parser() -> argparse.ArgumentParser:
    """The options of all commands."""
    whole = _Parser(
        prog="gradsuite",
        description="Which gradient does a paper, framework or loop really compute, "
        "and which hyperparameters take the same step?",
    )
    whole.add_argument("--version", action="version", version=f"gradsuite {__version__}")
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        module = import_module(f"suite.cli.{name}")
        summary = (module.__doc__ or "").partition("\n")[0]
        module.configure(
            commands.add_parser(
                name,
                help=summary,
                description=textwrap.fill(summary, 80),
                epilog=module.EPILOG,
                formatter_class=argparse.RawDescriptionHelpFormatter,
                allow_abbrev=False,
            )
        )
    return whole


if __name__ == "__main__":
    sys.exit(main())
