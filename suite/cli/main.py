"""The command line: `gradsuite COMMAND`. Each command is a module of `suite.cli`.

Commands import what they need when they run, so that `--help`, `list` and `show` answer without torch.
"""

from __future__ import annotations

import argparse
import errno
import sys
import textwrap
from collections.abc import Sequence
from importlib import import_module

from suite.cli.parser import Parser
from suite.errors import UsageError, one_line
from suite.machine.cuda import fix_workspace
from suite.machine.signals import exit_code, exits_raised, signals_as_interrupts
from suite.machine.streams import OutputError, steady
from suite.machine.version import __version__

COMMANDS = (
    "run", "merge", "diff", "table", "plot", "report", "recover", "lr", "rules", "bench", "fuzz", "list",
    "show", "env", "cite", "init", "completion",
)  # fmt: skip

LACKING = {
    errno.EMFILE: "allow more (`ulimit -n 1024`), or take fewer processes",
    errno.ENFILE: "the machine has too many files open: close other programs",
    errno.ENOSPC: "make room, and give the same command again",
    errno.ENOMEM: "close other programs, or take fewer processes",
    errno.EAGAIN: "the machine allows no more processes (`ulimit -u`): take fewer",
}
"""What to do where the machine has no more of something."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit code: 0 all is well, 1 something measured failed, 2 the input is wrong, 130 or 128 plus the
        number of the signal that ended it.
    """
    fix_workspace()  # before anything starts CUDA
    given = sys.argv[1:] if argv is None else list(argv)
    with steady(), signals_as_interrupts(), exits_raised():
        # A command may tell how to run it again.
        arguments = argparse.Namespace(argv=given, command="")
        try:
            try:
                whole = parser()
                if given and given[0].startswith("-") and not {"-h", "--help", "--version"} & set(given):
                    whole.error(f"the command comes first, its options after it: {given[0]} came first")
                whole.parse_args(given, arguments)
            except SystemExit:  # --help
                sys.stdout.flush()
                raise
        except OutputError as error:
            print(f"gradsuite: standard output cannot be written: {error}", file=sys.stderr)
            return 1
        except BrokenPipeError:
            return 0
        return _execute(arguments)


def _execute(arguments: argparse.Namespace) -> int:
    command = f"gradsuite {arguments.command}"
    try:
        code = import_module(f"suite.cli.{arguments.command}").execute(arguments)
        sys.stdout.flush()
    except UsageError as error:
        print(f"{command}: {one_line(error)}", file=sys.stderr)
        return 2
    except SystemExit as error:  # it is anybody's code that leaves so: ours returns its code
        print(f"{command}: {one_line(error)}: code that it called ended the process", file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        print(f"{command}: interrupted; what was measured is kept", file=sys.stderr)
        return exit_code(error)
    except BrokenPipeError:  # the reader (`| head`) has seen enough
        return 0
    except OSError as error:
        advice = LACKING.get(error.errno or 0)
        if advice is None:
            raise
        print(f"{command}: {one_line(error)}: {advice}; what was measured is kept", file=sys.stderr)
        return 2
    except ImportError as error:  # an installation that is broken, or hidden by a file of somebody's
        found = f" ({error.path})" if error.path else ""
        print(
            f"{command}: {one_line(error)}{found}: gradsuite needs it; install it again, or rename a "
            "file of yours that has the name of a package",
            file=sys.stderr,
        )
        return 2
    except OutputError as error:
        print(f"{command}: standard output cannot be written: {error}", file=sys.stderr)
        return 1
    return int(code)


def parser() -> argparse.ArgumentParser:
    """The options of all commands."""
    whole = Parser(
        prog="gradsuite",
        description="Which gradient does a paper, framework or loop really compute, "
        "and which hyperparameters take the same step?",
    )
    whole.add_argument("--version", action="version", version=f"gradsuite {__version__}")
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        module = import_module(f"suite.cli.{name}")
        summary = (module.__doc__ or "").partition("\n")[0]
        command = commands.add_parser(
            name,
            help=summary,
            description=textwrap.fill(summary, 80),
            epilog=module.EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        command.hint = getattr(module, "UNKNOWN", "")
        module.configure(command)
    return whole


if __name__ == "__main__":
    sys.exit(main())
