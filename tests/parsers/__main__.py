"""Fuzz one parser of outside input, or all: `python -m tests.parsers [NAME …] --minutes 10`."""

from __future__ import annotations

import argparse
import faulthandler
import resource
import signal
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

from suite.fuzz import Target, search
from suite.fuzz.examples import Budget
from tests.parsers import PARSERS
from tests.parsers.parser import Parser, fault

ROUND = 100
"""Examples between two looks at the clock."""
LONGEST = 3000


def target(parser: Parser, known: set[str]) -> Target:
    """The parser as what `suite.fuzz.search` searches, for faults at other places than those `known`."""

    def judge(given: object) -> str:
        kill_after(10 * parser.seconds)
        said = fault(parser, given)
        return "" if place(said) in known else said

    return Target(
        f"parser {parser.name}",
        "an input ends in a right answer or in one line",
        parser.inputs,
        judge,
        lambda given: (
            "from tests.parsers import PARSERS\nfrom tests.parsers.parser import fault\n\n"
            f"print(fault(PARSERS[{parser.name!r}], {given!r}))"
        ),
    )


def kill_after(seconds: float) -> None:
    """Let the system end this process after so much more processor time: nothing else ends a call of C.

    Python's stack is printed then, and the input lies in the newest `parsers-…` of the temporary files.
    """
    spent = int(time.process_time())
    resource.setrlimit(resource.RLIMIT_CPU, (spent + int(seconds) + 1, resource.RLIM_INFINITY))


def place(said: str) -> str:
    """The line of the suite in which something went wrong: what happens there again is the same fault."""
    return said.rpartition(", at ")[2]


def fuzz(parser: Parser, seconds: float, seed: int, folder: Path | None) -> int:
    """Search for so much processor time, say what came of it, and return how many faults there are."""
    begin, tried, number = time.process_time(), 0, 0
    known: set[str] = set()
    for given in parser.valid:
        said = fault(parser, given)
        if said:
            raise RuntimeError(f"{parser.name} does not read what is valid: {given!r}: {said}")
    while (spent := time.process_time() - begin) < seconds:
        # The first round begins with what was found before.
        goal = target(parser, known)
        found = search(goal, Budget(examples=ROUND), seed=seed + number, folder=folder)
        tried, number = tried + found.tried, number + 1
        if found.says:
            known.add(place(found.says))
            shown = goal.python(found.example)
            shown = shown if len(shown) < LONGEST else f"{shown[:LONGEST]} …"
            show(f"{parser.name}: FAULT after {tried} inputs: {found.says}\n{shown}\n\n")
    show(f"{parser.name}: {len(known)} faults in {tried} inputs, {spent:.0f} s of processor time\n")
    return len(known)


def show(text: str) -> None:
    sys.stdout.buffer.write(text.encode(errors="backslashreplace"))
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PARSERS)} (default: all)")
    options.add_argument("--minutes", type=float, default=10.0, help="of processor time each (default: 10)")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--output", type=Path, help="where inputs that were found are kept, to begin with")
    asked = options.parse_args(arguments)
    faulthandler.enable()
    faulthandler.register(signal.SIGXCPU, chain=True)
    warnings.simplefilter("ignore")  # what a plot says of a missing glyph
    unknown = set(asked.names) - set(PARSERS)
    if unknown:
        options.error(f"no parser is named {', '.join(unknown)}: there are {', '.join(PARSERS)}")
    # All are tried, whatever one of them comes to.
    found = [
        fuzz(PARSERS[name], 60 * asked.minutes, asked.seed, asked.output) for name in asked.names or PARSERS
    ]
    return 1 if sum(found) else 0


if __name__ == "__main__":
    sys.exit(main())
