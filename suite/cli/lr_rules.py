"""Batch-size rules for `gradsuite lr --rule`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from suite.errors import UsageError

if TYPE_CHECKING:
    from suite.equivalence.equivalent import Equivalence


def by_rule(args: argparse.Namespace, result: Equivalence) -> list[dict[str, Any]]:
    """What the batch-size rules give for the converted hyperparameters, one row a rule.

    Raises:
        UsageError: A size is missing, or the one rule that was named does not apply.
    """
    if args.rule is None:
        if args.to_batch_size is not None or args.noise_scale is not None:
            raise UsageError("--to-batch-size and --noise-scale go with --rule: name a batch-size rule")
        return []
    if args.batch_size is None or args.to_batch_size is None:
        raise UsageError("--rule needs --batch-size and --to-batch-size")
    from suite.batch_size.noise import NoiseScale
    from suite.batch_size.rules import rules
    from suite.equivalence.laws import law

    noise = None
    if args.noise_scale is not None:
        if not args.noise_scale > 0:
            raise UsageError(f"--noise-scale is {args.noise_scale}; a number above 0 is needed")
        noise = NoiseScale(trace=args.noise_scale, square=1.0, samples=0)
    known = law(result.optimizer).settings(result.hyperparameters)
    names = ("lr", "betas", "alpha", "eps")
    settings = {name: known[name] for name in names if name in known}
    rows = []
    found = rules.match([args.rule])
    for rule in found:
        row: dict[str, Any] = {"rule": rule.name, "formula": rule.formula, "source": rule.source}
        try:
            new = rule.apply(result.optimizer, settings, args.batch_size, args.to_batch_size, noise=noise)
        except UsageError as error:
            if len(found) == 1:
                raise
            rows.append({**row, "hyperparameters": None, "reason": str(error)})
            continue
        rows.append({**row, "hyperparameters": new, "reason": ""})
    return rows


def rules_text(rows: list[dict[str, Any]], args: argparse.Namespace) -> list[str]:
    """The rows of `by_rule` as text."""
    if not rows:
        return []
    lines = [
        f"From batches of {args.batch_size} to batches of {args.to_batch_size}, where no law is exact; "
        "heuristics, for the mean over the batch:"
    ]
    for row in rows:
        if row["hyperparameters"] is None:
            lines.append(f"  {row['rule']}: does not apply: {row['reason']}")
            continue
        settings = ", ".join(f"{k}={_short(v)}" for k, v in row["hyperparameters"].items())
        lines.append(f"  {row['rule']}: {settings}\n    {row['formula']}; {row['source']}")
    return ["\n".join(lines)]


def _short(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(_short(v) for v in value)})"
    return f"{value:.6g}" if isinstance(value, float) else repr(value)
