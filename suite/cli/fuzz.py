"""Search for a counter-example: in the suite, in a reduction of yours, or between two conventions."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from suite.errors import UsageError
from suite.machine.streams import aside
from suite.machine.terminal import columns_of, wrapped

if TYPE_CHECKING:
    from suite.fuzz import Found, Target
    from suite.fuzz.examples import Budget

TARGET_NAMES = ("convention", "engine", "law", "recovery")
FOLDER = Path(".gradsuite") / "examples"
EXAMPLES = 250

EPILOG = """\
examples:
  gradsuite fuzz --examples 100
  gradsuite fuzz --target engine --minutes 10
  gradsuite fuzz --target mine.py:masked_mean --expect token-mean
  gradsuite fuzz --worst direction --between token-mean mean-of-sequence-means

What is found is printed as a script, kept in DIR, and tried first the next time.

exit codes: 0 nothing was found, 1 a counter-example was found, 2 the input is wrong.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `gradsuite fuzz`."""
    add = parser.add_argument
    add(
        "--target",
        action="append",
        metavar="TARGET",
        help=f"{', '.join(TARGET_NAMES)} (default: these), or PATH.py:NAME, a reduction of yours: a function "
        "NAME(losses, units) of the unreduced losses, [samples] or [samples, parts], and the units table, "
        "that returns the loss to call backward() on; repeatable",
    )
    add(
        "--expect",
        metavar="CONVENTION",
        help="what PATH.py:NAME is to compute (default: mean)",
    )
    add("--no-empty", action="store_true", help="PATH.py:NAME: no ignored samples, no weights of zero")
    add("--examples", type=int, metavar="N", help=f"examples to try per target (default: {EXAMPLES})")
    add("--minutes", type=float, metavar="N", help="minutes to search per target, instead of --examples")
    add("--seed", type=int, default=0, metavar="N", help="random seed (default: 0)")
    add(
        "--worst",
        choices=["direction"],
        help="search for the batch on which two conventions differ most in what no learning rate repairs",
    )
    add("--between", nargs=2, metavar=("A", "B"), help="the two conventions of --worst")
    add(
        "--output",
        type=Path,
        default=FOLDER,
        metavar="DIR",
        help=f"where examples that were found are kept, to be tried first (default: {FOLDER})",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Search, and print what was found: 1 where it contradicts a claim, 0 where nothing does.

    Raises:
        UsageError: The options do not go together, or name what there is not.
    """
    if bool(arguments.worst) != bool(arguments.between):
        raise UsageError("--worst direction and --between A B go together")
    if arguments.worst and arguments.target:
        raise UsageError("--worst compares conventions, --target searches another thing: give one of them")
    budget = _budget(arguments)
    if arguments.between and len(set(arguments.between)) == 1:
        raise UsageError(f"--between compares two conventions: {arguments.between[0]} is given twice")
    own = any(".py:" in name for name in arguments.target or ())
    if (arguments.expect is not None or arguments.no_empty) and not own:
        raise UsageError("--expect and --no-empty are about a reduction of yours: give --target PATH.py:NAME")
    if not 0 <= arguments.seed < 2**32:
        raise UsageError(f"the seed must be a whole number from 0 to 2**32 − 1, {arguments.seed} was given")
    if arguments.worst:
        return _worst(arguments, budget)
    from suite.fuzz import search

    with aside():
        goals = [_goal(name, arguments) for name in arguments.target or TARGET_NAMES]
    found = False
    for goal in goals:
        with aside():
            result = search(goal, budget, seed=arguments.seed, folder=arguments.output)
        _show(goal, result)
        found |= bool(result.says)
    return 1 if found else 0


def _budget(arguments: argparse.Namespace) -> Budget:
    from suite.fuzz.examples import Budget

    if arguments.minutes is not None:
        if arguments.examples is not None:
            raise UsageError("--minutes and --examples both say how long to search: give one of them")
        if not 0 < arguments.minutes <= 7 * 24 * 60:
            raise UsageError(f"--minutes is {arguments.minutes}: more than 0 and at most a week are needed")
        return Budget(seconds=60 * arguments.minutes)
    examples = EXAMPLES if arguments.examples is None else arguments.examples
    if examples < 1:
        raise UsageError(f"--examples is {examples}: 1 or more are needed")
    return Budget(examples=examples)


def _goal(name: str, arguments: argparse.Namespace) -> Target:
    if ".py:" in name:
        from suite.fuzz.reduction import target_in

        return target_in(name, arguments.expect or "mean", empty=not arguments.no_empty)
    if name not in TARGET_NAMES:
        raise UsageError(f"no target is named {name!r}: there are {', '.join(TARGET_NAMES)} and PATH.py:NAME")
    from suite.fuzz.targets import target_named

    return target_named(name)


def _show(goal: Target, result: Found) -> None:
    effort = f"{result.tried} examples, {result.seconds:.1f} s"
    if not result.says:
        _print(f"No counter-example in {effort}: {goal.claim}.")
        return
    _print(f"Counter-example, the least of {effort}, to: {goal.claim}.\n{result.says}.\n")
    print(goal.python(result.example))


def _worst(arguments: argparse.Namespace, budget: Budget) -> int:
    from suite.conventions import conventions
    from suite.fuzz.direction import worst_direction

    a, b = (conventions[name] for name in arguments.between)
    found = worst_direction(a, b, budget, seed=arguments.seed, folder=arguments.output)
    if found is None:
        _print(f"{a.name} and {b.name} never differed in direction: a learning rate makes up for the rest.")
        return 0
    samples, params = found.example.units.n, found.example.rows.shape[1]
    first, second = found.gradients
    _print(
        f"{found.beyond:.1%} of the gradient of {a.name} is what no learning rate turns into\n"
        f"that of {b.name} (cosine {found.cosine:.3g}), on a batch of {samples} samples and {params} "
        f"parameter{'s' if params > 1 else ''}:\n{_numbers(first)} against {_numbers(second)}.\n"
    )
    print(found.python)
    return 0


def _print(text: str) -> None:
    """Print prose, as wide as the terminal; scripts are pasted elsewhere, and stay as they are."""
    print(wrapped(text, columns_of(sys.stdout)))


def _numbers(values: list[float]) -> str:
    shown = ", ".join(f"{value:.6g}" for value in values)
    return shown if len(values) == 1 else f"({shown})"
