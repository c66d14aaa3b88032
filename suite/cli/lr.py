"""Print the hyperparameters with which another convention takes the same steps.

`gradsuite lr --from sum --to mean --batch-size 32 --optimizer Adam --set lr=1e-3 --set weight_decay=0.01`
multiplies each hyperparameter by its power of the scale, says why and whether that is exact, and gives a
line of Python to paste. Only `--check` needs torch: it trains both sides and compares their weights.
"""

from __future__ import annotations

import argparse
import ast
import json
import math
import sys
from contextlib import suppress
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite.algebra.columns import SIZES
from suite.cli import lr_sources as sources
from suite.errors import UsageError
from suite.machine.terminal import columns_of, fitted, header_widths

if TYPE_CHECKING:
    from suite.equivalence.equivalent import Equivalence
    from suite.equivalence.law import Law, Powers, Scale
    from suite.equivalence.scales import Scaling, Sizes
    from suite.equivalence.trajectory import TrainingCheck

LIMIT = 1e-10
"""How far an exact law may be from the reference, relative, after 100 steps in float64."""

EPILOG = """\
examples:
  gradsuite lr --from sum --to mean --batch-size 32 --optimizer SGD --set lr=0.1
  gradsuite lr --from sum --to mean --batch-size 32 --optimizer Adam --set lr=1e-3 --check
  gradsuite lr --scale 1/32 --optimizer SGD --set lr=0.1 --max-norm 5
  gradsuite lr --dialect keras --optimizer SGD --set l2=0.01
  gradsuite lr --paper dqn-2015 --to mean
  gradsuite lr --from verl:seq-mean-token-sum --to trl:dapo --batch-size 512 --elements 1000 --optimizer AdamW
  gradsuite lr --optimizer SGD --set lr=0.1 --scale 1 --batch-size 32 --rule linear --to-batch-size 256
  gradsuite lr --laws
  gradsuite lr --register mine.py --optimizer Lion --set lr=1e-4 --scale 1/32

An answer is exact, exact with a schedule, exact only if all sizes are equal, or not exact; then the
reason and the nearest values are printed. --check trains both sides and compares their weights.

exit codes: 0 all is well, 1 --check found that hyperparameters called exact are not, 2 the input is wrong.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `gradsuite lr`."""
    what = parser.add_argument_group("what to convert")
    what.add_argument(
        "--optimizer",
        metavar="NAME",
        help="a class of torch.optim, such as Adam, or of another package, such as lion_pytorch:Lion",
    )
    sources.configure(parser)
    what.add_argument(
        "--set",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="hyperparameter of the old convention; repeatable (default: torch's)",
    )
    what.add_argument("--max-norm", metavar="C", type=float, help="clip threshold of the old convention")
    what.add_argument(
        "--clip",
        choices=("norm", "plain", "value", "tensor", "group"),
        default="norm",
        help="norm: clip_grad_norm_ (default); plain: min(1, C/‖g‖); value: clip_grad_value_, each entry; "
        "tensor, group: clip_grad_norm_ of each by itself",
    )
    between = parser.add_argument_group("between which conventions")
    between.add_argument(
        "--from",
        dest="source",
        metavar="CONVENTION",
        help="the old convention, or a framework's word such as trl:grpo",
    )
    between.add_argument("--to", dest="target", metavar="CONVENTION", help="the new convention")
    for size in SIZES:
        kind = int if size.whole else float
        between.add_argument(
            size.option, metavar=size.metavar, type=kind, default=size.default, help=size.help
        )
    between.add_argument(
        "--scale",
        metavar="S",
        help="new gradient / old gradient (0.03125 or 1/32), in place of two conventions",
    )
    how = parser.add_argument_group("how to answer")
    how.add_argument(
        "--check",
        "--prove",  # as it was called before
        dest="check",
        action="store_true",
        help="training check: train both sides on real digits and compare the weights",
    )
    how.add_argument("--steps", metavar="K", type=int, default=100, help="steps of --check (default: 100)")
    how.add_argument("--laws", action="store_true", help="print the law of every optimizer instead")
    how.add_argument(
        "--register",
        metavar="PATH.py",
        action="append",
        default=[],
        help="a file that registers laws of your own optimizers (gradsuite.register_law); repeatable",
    )
    how.add_argument("--json", action="store_true", help="print JSON")


def execute(args: argparse.Namespace) -> int:
    """Print the equivalent hyperparameters, or the laws.

    Returns:
        0, or 1 if `--check` finds that hyperparameters called exact are not.
    """
    for path in args.register:
        _register(path)
    if args.laws:
        _print_laws(as_json=args.json)
        return 0
    from suite.equivalence.equivalent import equivalent

    source = sources.read_source(args, _settings(args.set))
    scaling, sizes = _scaling(args)
    result = equivalent(
        source.translation.optimizer,
        source.translation.hyperparameters,
        scale=scaling.scale,
        max_norm=args.max_norm,
        clip=args.clip,
    )
    rules = sources.by_rule(args, result)
    check = _check(scaling, sizes, result, args.steps) if args.check else None
    if args.json:
        answer = _as_json(scaling, result, check)
        answer |= _plain(sources.as_dict(source, result) | ({"rules": rules} if rules else {}))
        answer["exact"] = answer["exact"] and scaling.ragged is None
        print(json.dumps(answer, indent=2, ensure_ascii=False))
    else:
        within = "" if source.plain else "Within PyTorch: "
        before, after = sources.source_text(source, result, checked=args.check)
        blocks = [*before, _as_text(scaling, result, check, within), *after]
        print("\n\n".join(blocks + sources.rules_text(rules, args)))
    return int(check is not None and result.exact and check.converted > LIMIT)


def _register(path: str) -> None:
    """Run a file that registers laws.

    Raises:
        UsageError: There is no such file, it fails, or it registers nothing.
    """
    from suite.discovery import load_python
    from suite.equivalence.laws import LAWS

    known = len(LAWS)
    load_python(Path(path), "a file that registers laws")
    if len(LAWS) == known:
        raise UsageError(f"{path} registers no law: call gradsuite.register_law(YourOptimizer, lr=…) in it")


def _settings(assignments: list[str]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"--set {assignment}: NAME=VALUE is needed, such as lr=1e-3")
        if name.strip() in settings:
            raise UsageError(f"--set {name.strip()} is given twice: give it once")
        settings[name.strip()] = _value(text.strip())
    return settings


def _value(text: str) -> Any:
    """A number, a tuple, True, False or None; text where it is none of these."""
    words = {"true": True, "false": False, "none": None, "inf": math.inf, "nan": math.nan}
    if text.lower() in words:
        return words[text.lower()]
    try:
        value = ast.literal_eval(text)
        if value == 0 and isinstance(value, float) and set(text.lower().partition("e")[0]) & set("123456789"):
            raise UsageError(f"{text} is no number that a float holds: it is so small")
        return value
    except UsageError:
        raise
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return text


def _scaling(args: argparse.Namespace) -> tuple[Scaling, Sizes]:
    """The scale that was asked for, and the batch in which it holds."""
    from suite.equivalence.law import check_scale
    from suite.equivalence.scales import Scaling, Sizes, scale_between

    named = args.source is not None or args.target is not None
    if named == (args.scale is not None):
        raise UsageError("give two conventions (--from, --to and --batch-size), or --scale alone")
    if named and (args.source is None or args.target is None or args.batch_size is None):
        raise UsageError("--from, --to and --batch-size belong together: give all three")
    given = {size.name: getattr(args, size.option[2:].replace("-", "_")) for size in SIZES}
    sizes = Sizes(**given | ({} if given["samples"] is not None else {"samples": 32}))
    if named:
        return scale_between(args.source, args.target, sizes), sizes
    scale = check_scale(_number(args.scale))
    return Scaling("old", "new", scale, scale, ()), sizes


def _number(text: str) -> Scale:
    try:
        near = float(text)
    except ValueError:
        near = 1.0  # a fraction, perhaps
    if near == 0 or not math.isfinite(near):
        return near  # Fraction would write 1e999999999 out
    with suppress(ValueError, ZeroDivisionError):
        return Fraction(text)
    raise UsageError(f"--scale is {text!r}: a number greater than 0 is needed, such as 32 or 1/32")


def _check(scaling: Scaling, sizes: Sizes, result: Equivalence, steps: int) -> TrainingCheck:
    from suite.equivalence.digits import digits
    from suite.equivalence.trajectory import check_training

    if steps < 1:
        raise UsageError(f"--steps is {steps}: a whole number of at least 1 is needed")
    if result.optimizer == "SparseAdam":
        raise UsageError("--check has no sparse gradients: take Adam, which has the same law")
    if result.optimizer == "pytorch_optimizer:SophiaH":
        raise UsageError("--check estimates no curvature: SophiaH cannot be trained here")
    matrices = ("Muon", "pytorch_optimizer:LARS")
    problem = digits(sizes, bias=result.optimizer not in matrices)
    if scaling.source == "old":
        sides = problem.scaled(1), problem.scaled(scaling.scale)
    else:
        units = sizes.units()
        sides = problem.follow(scaling.source, units), problem.follow(scaling.target, units)
    return check_training(problem.model, *sides, result, steps=steps)


def _as_text(scaling: Scaling, result: Equivalence, check: TrainingCheck | None, within: str = "") -> str:
    from tabulate import tabulate

    rows = [[c.name, _show(c.old), _show(c.new), _factor(c.exponent), c.why] for c in result.changes]
    head = ["hyperparameter", scaling.source, scaling.target, "factor", "why"]
    widths = fitted(head, rows, columns_of(sys.stdout))
    blocks = [
        _headline(scaling, result),
        tabulate(
            rows,
            head,
            tablefmt="simple",
            disable_numparse=True,
            maxcolwidths=widths,
            maxheadercolwidths=header_widths(widths),
        ),
        f"{_verdict(scaling, result, within)}.",
        result.python,
    ]
    blocks += [_schedule(result)] if result.schedule else []
    blocks += ["\n".join(f"Note: {note}." for note in _notes(scaling))] if _notes(scaling) else []
    blocks += [_measured(check)] if check is not None else []
    return "\n\n".join(block.rstrip() for block in blocks)


def _headline(scaling: Scaling, result: Equivalence) -> str:
    """What becomes of the gradient; with what that assumes of sizes, and what other sizes would do."""
    between = f"{result.optimizer}, from {scaling.source} to {scaling.target}"
    becomes = f"the gradient becomes s = {_show(scaling.scale)} times what it was"
    if scaling.ragged is None:
        return f"{between}: {becomes}."
    return f"{between}, if {scaling.ragged.assumes}: {becomes}; {scaling.ragged.text}."


def _verdict(scaling: Scaling, result: Equivalence, within: str) -> str:
    verdict = result.reason if result.exact else f"not exact: {result.reason}"
    if scaling.ragged is not None:
        verdict = f"only if {scaling.ragged.assumes}: {verdict}"
    sentence = f"{within}{verdict}"
    return f"{sentence[0].upper()}{sentence[1:]}"


def _schedule(result: Equivalence) -> str:
    lines = ["Exact, with a schedule:"]
    for phase in result.schedule:
        steps = f"steps {phase.first} to {phase.last}" if phase.last else f"from step {phase.first} on"
        values = ", ".join(f"{k}={v!r}" for k, v in phase.hyperparameters.items())
        lines.append(f"  {steps}: {values}")
    return "\n".join(lines)


def _notes(scaling: Scaling) -> list[str]:
    if scaling.penalty == 1:
        return list(scaling.notes)
    penalty = f"if a penalty is a term of the loss, multiply its coefficient by {_show(scaling.penalty)}"
    return [*scaling.notes, penalty]


def _measured(check: TrainingCheck) -> str:
    lines = [
        f"Measured: {check.steps} steps on scikit-learn's digits in float64, largest ‖w_b − w_a‖/‖w_a‖:",
        f"  {check.converted:.3g} with these hyperparameters, "
        f"{check.unchanged:.3g} with the old ones left as they were",
    ]
    if check.scheduled is not None:
        lines.append(f"  {check.scheduled:.3g} with the schedule")
    return "\n".join(lines)


def _factor(exponent: Powers) -> str:
    if isinstance(exponent, tuple):
        return f"({', '.join(_factor(e) for e in exponent)})"
    return {0: "1", 1: "s", 2: "s²", -1: "1/s"}.get(exponent, f"s^{exponent}")


LONG = 40
"""Characters of a fraction that a person still reads."""


def _show(value: Any) -> str:
    if isinstance(value, Fraction):
        if len(str(value)) > LONG:
            return repr(float(value))
        return str(value) if value.denominator == 1 else f"{value} = {float(value):.6g}"
    return repr(value)


def _as_json(scaling: Scaling, result: Equivalence, check: TrainingCheck | None) -> dict[str, Any]:
    answer: dict[str, Any] = _plain(
        {
            "from": scaling.source,
            "to": scaling.target,
            **{k: v for k, v in asdict(result).items() if k != "scale"},
            "scale": float(scaling.scale),
            "penalty_factor": float(scaling.penalty),
            "python": result.python,
            "notes": list(scaling.notes),
            "ragged": None if scaling.ragged is None else asdict(scaling.ragged),
            "training_check": None if check is None else asdict(check),
        }
    )
    return answer


def _plain(value: Any) -> Any:
    """`value` with None for what JSON has no number for."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _print_laws(*, as_json: bool) -> None:
    from suite.equivalence.laws import LAWS

    if as_json:
        print(json.dumps([_law_as_json(law) for law in LAWS], indent=2, ensure_ascii=False))
        return
    from tabulate import tabulate

    rows = [[law.name, _row(law), _state(law), law.limits or "exact"] for law in LAWS]
    print(
        "If every gradient is multiplied by s, multiply by these factors to keep the trajectory.\n"
        "What is not named is multiplied by 1: momentum, betas, counts and options.\n"
    )
    head = ["optimizer", "hyperparameters", "state", "holds"]
    widths = fitted(head, rows, columns_of(sys.stdout), [None, 36, 34, 50])
    print(
        tabulate(rows, head, tablefmt="simple", maxcolwidths=widths, maxheadercolwidths=header_widths(widths))
    )
    print(
        "\nA clip threshold: s. Exact for min(1, C/‖g‖) and clip_grad_value_; "
        "torch's clip_grad_norm_ adds 1e-6 to ‖g‖, which is not scaled."
    )


def _row(law: Law) -> str:
    changed = []
    for name, entry in law.hyperparameters.items():
        if name == "lr" or entry.exponent != 0:
            unless = f" (1 if {entry.flag})" if entry.flag else ""
            changed.append(f"{name} {_factor(entry.exponent)}{unless}")
    return ", ".join(changed)


def _state(law: Law) -> str:
    return ", ".join(f"{name} {_factor(power)}" for name, power in law.state.items() if power)


def _law_as_json(law: Law) -> dict[str, Any]:
    entries = {name: asdict(entry) for name, entry in law.hyperparameters.items()}
    return {
        "optimizer": law.name,
        "hyperparameters": entries,
        "state": dict(law.state),
        "limits": law.limits,
        "source": law.source,
    }
