"""Train cases under each batch-size rule and show how far from the reference it lands."""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from suite.errors import UsageError, one_line
from suite.machine.streams import aside
from suite.machine.terminal import columns_of, fitted, header_widths

if TYPE_CHECKING:
    from suite.batch_size.on_cases import CaseEvaluation

EPILOG = """\
examples:
  gradsuite rules --case mse
  gradsuite rules --optimizer Adam --lr 1e-3 --batch-size 8 --to-batch-size 64

Between two batch sizes no law is exact: each rule is a heuristic. `gradsuite list rules` names them.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `gradsuite rules`."""
    add = parser.add_argument
    add("--case", action="append", default=[], metavar="GLOB", help="cases by name; repeatable")
    add("--cases", action="append", default=[], metavar="PATH", help="a file with cases; repeatable")
    add("--optimizer", default="SGD", metavar="NAME", help="of torch.optim (default: SGD)")
    add("--lr", type=float, default=0.01, help="at --batch-size (default: 0.01)")
    add("--batch-size", type=int, default=8, metavar="N", help="of the reference (default: 8)")
    add("--to-batch-size", type=int, default=32, metavar="N", help="that the rules are for (default: 32)")
    add("--steps", type=int, default=100, metavar="K", help="of the reference (default: 100)")
    add("--seed", type=int, default=0, metavar="N", help="of the parameters (default: 0)")
    add("--json", action="store_true", help="print JSON")


def execute(arguments: argparse.Namespace) -> int:
    """Print a table of cases × rules.

    Returns:
        0, or 1 where a case failed.
    """
    from suite.discovery import load_cases
    from suite.equivalence.laws import law

    with aside():
        chosen = load_cases(arguments.cases).match(arguments.case)
    if not (math.isfinite(arguments.lr) and arguments.lr > 0):
        raise UsageError(f"--lr is {arguments.lr}: a finite number greater than 0 is needed")
    settings = law(arguments.optimizer).settings({"lr": arguments.lr})
    from suite.batch_size.on_cases import evaluate_case
    from suite.machine.environment import choose_device
    from suite.machine.global_state import pinned
    from suite.machine.progress import Progress
    from suite.records.file import plain

    shown = Progress(len(chosen))
    found, failed = [], []
    for case in chosen:
        shown.step(case.name, f"{arguments.steps} steps under each rule")
        try:
            with pinned(choose_device("cpu")), aside():
                result = evaluate_case(
                    case,
                    arguments.optimizer,
                    {"lr": settings["lr"]},
                    arguments.batch_size,
                    arguments.to_batch_size,
                    steps=arguments.steps,
                    seed=arguments.seed,
                )
        except UsageError:
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001  a case is anybody's code
            failed.append(f"Failed: {case.name}: {one_line(error)}")
            continue
        found.append(result)
    shown.finish()
    if arguments.json:
        rows = [
            {"case": one.case, "noise": asdict(one.noise), "landings": [asdict(x) for x in one.evaluations]}
            for one in found
        ]
        print(json.dumps(plain(rows), indent=2))
    else:
        print(_text(found, arguments))
    for line in failed:
        print(line)
    return 1 if failed else 0


def _text(found: list[CaseEvaluation], arguments: argparse.Namespace) -> str:
    from tabulate import tabulate

    names = [one.rule for one in found[0].evaluations] if found else []
    rows = [
        [one.case, _number(one.noise.critical_batch_size), *(_number(x.distance) for x in one.evaluations)]
        for one in found
    ]
    head = ["case", "critical batch", *names]
    room = columns_of(sys.stdout)
    if room is not None and len("  ".join(head)) > room:  # a line a rule
        head, *rows = map(list, zip(*[head, *rows], strict=True))
    widths = fitted(head, rows, room)
    heads = header_widths(widths)
    table = tabulate(rows, head, disable_numparse=True, maxcolwidths=widths, maxheadercolwidths=heads)
    caption = (
        f"{arguments.optimizer} from batch size {arguments.batch_size} to {arguments.to_batch_size}: "
        f"distance to the reference after {arguments.steps} steps, over how far the reference went"
    )
    return (
        f"{caption}\n\n{table}\n"
        "Every rule is a heuristic: other samples is the reference itself on other batches, which no rule can"
        "\nbe expected to beat. –: the rule is not for this optimizer, or the noise hides the gradient."
    )


def _number(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "–"
