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
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite.algebra.columns import SIZES
from suite.cli import lr_rules as batch_rules
from suite.cli import lr_sources as sources
from suite.cli import lr_text
from suite.cli.lr_laws import print_laws
from suite.errors import UsageError

if TYPE_CHECKING:
    from suite.equivalence.equivalent import Equivalence
    from suite.equivalence.law import Scale
    from suite.equivalence.scales import Scaling, Sizes
    from suite.equivalence.trajectory import TrainingCheck

CHECK_LENGTH = 100
"""Of a training check, where nobody says."""
LIMIT = 1e-10
"""How far an exact law may be from the reference, relative, after 100 steps in float64."""

UNKNOWN = "a hyperparameter is given as --set NAME=VALUE, such as --set lr=1e-3"
"""What to do about options that there are not."""

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
    how.add_argument("--steps", metavar="K", type=int, help=f"steps of --check (default: {CHECK_LENGTH})")
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
    _require_used(args)
    for path in args.register:
        _register(path)
    if args.laws:
        print_laws(as_json=args.json)
        return 0
    from suite.conventions import Convention
    from suite.equivalence.equivalent import equivalent

    source = sources.read_source(args, _settings(args.set))
    scaling, sizes = _scaling(args)
    if args.check and isinstance(args.source, Convention):
        raise UsageError(f"--check has no loop for the weights of {args.paper}: leave it out")
    result = equivalent(
        source.translation.optimizer,
        source.translation.hyperparameters,
        scale=scaling.scale,
        max_norm=args.max_norm,
        clip=args.clip or "norm",
    )
    rules = batch_rules.by_rule(args, result)
    steps = CHECK_LENGTH if args.steps is None else args.steps
    check = _check(scaling, sizes, result, steps) if args.check else None
    if args.json:
        answer = lr_text.conversion_json(scaling, result, check)
        answer |= lr_text.for_json(sources.as_dict(source, result) | ({"rules": rules} if rules else {}))
        answer["exact"] = answer["exact"] and scaling.ragged is None and not source.left_out
        print(json.dumps(answer, indent=2, ensure_ascii=False))
    else:
        within = "" if source.plain else "Within PyTorch: "
        if source.left_out:
            within = "Within PyTorch, and without the clipping, which stays a step of its own: "
        before, after = sources.source_text(source, result, checked=args.check)
        blocks = [*before, lr_text.conversion_text(scaling, result, check, within), *after]
        print("\n\n".join(blocks + batch_rules.rules_text(rules, args)))
    return int(check is not None and result.exact and check.converted > LIMIT)


def _require_used(args: argparse.Namespace) -> None:
    """Make sure that no option is given in vain.

    Raises:
        UsageError: One says something of what was not asked for.
    """
    if args.clip and args.max_norm is None:
        raise UsageError(f"--clip {args.clip} says how gradients are clipped: give --max-norm, the threshold")
    if args.steps is not None and not args.check:
        raise UsageError("--steps is the length of a training check: give --check")
    if args.laws and (args.set or args.optimizer or args.source or args.scale or args.check):
        raise UsageError("--laws prints the law of every optimizer: leave the other options out")


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
        try:
            return scale_between(args.source, args.target, sizes), sizes
        except UsageError:
            sources.refuse_cards(args)
            raise
    scale = check_scale(_number(args.scale))
    return Scaling("old", "new", scale, scale, ()), sizes


def _number(text: str) -> Scale:
    from suite.equivalence.law import number_in

    number = number_in(text)
    if number is None:
        raise UsageError(f"--scale is {text!r}: a number greater than 0 is needed, such as 32 or 1/32")
    return number


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
