"""What `gradsuite lr` answers, as text and for JSON."""

from __future__ import annotations

import math
import sys
from dataclasses import asdict
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from suite.machine.terminal import columns_of, fitted, header_widths, wrapped

if TYPE_CHECKING:
    from suite.equivalence.equivalent import Equivalence
    from suite.equivalence.law import Powers
    from suite.equivalence.scales import Scaling
    from suite.equivalence.trajectory import TrainingCheck


def conversion_text(
    scaling: Scaling, result: Equivalence, check: TrainingCheck | None, within: str = ""
) -> str:
    """Headline, table, verdict, Python, and what else is to know."""
    from tabulate import tabulate

    rows = [[c.name, _show(c.old), _show(c.new), factor(c.exponent), c.why] for c in result.changes]
    head = ["hyperparameter", scaling.source, scaling.target, "factor", "why"]
    room = columns_of(sys.stdout)
    widths = fitted(head, rows, room)
    blocks = [
        wrapped(_headline(scaling, result), room),
        tabulate(
            rows,
            head,
            tablefmt="simple",
            disable_numparse=True,
            maxcolwidths=widths,
            maxheadercolwidths=header_widths(widths),
        ),
        wrapped(f"{_verdict(scaling, result, within)}.", room),
        result.python,
    ]
    blocks += [_schedule(result)] if result.schedule else []
    notes = "\n".join(f"Note: {note}." for note in _notes(scaling))
    blocks += [wrapped(notes, room)] if notes else []
    blocks += [wrapped(_measured(check), room)] if check is not None else []
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


def factor(exponent: Powers) -> str:
    """A power of the scale as people write it."""
    if isinstance(exponent, tuple):
        return f"({', '.join(factor(e) for e in exponent)})"
    return {0: "1", 1: "s", 2: "s²", -1: "1/s"}.get(exponent, f"s^{exponent}")


LONG = 40
"""Characters of a fraction that a person still reads."""


def _show(value: Any) -> str:
    if isinstance(value, Fraction):
        if len(str(value)) > LONG:
            return repr(float(value))
        return str(value) if value.denominator == 1 else f"{value} = {float(value):.6g}"
    return repr(value)


def conversion_json(scaling: Scaling, result: Equivalence, check: TrainingCheck | None) -> dict[str, Any]:
    """The same for JSON."""
    answer: dict[str, Any] = for_json(
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


def for_json(value: Any) -> Any:
    """`value` with None for what JSON has no number for."""
    if isinstance(value, dict):
        return {key: for_json(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [for_json(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
