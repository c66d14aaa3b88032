"""The laws of all optimizers, for `gradsuite lr --laws`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from suite.cli.lr_text import factor
from suite.machine.terminal import columns_of, fitted, header_widths, wrapped

if TYPE_CHECKING:
    from suite.equivalence.law import Law


def print_laws(*, as_json: bool) -> None:
    """Print the law of every optimizer."""
    from suite.equivalence.laws import LAWS

    if as_json:
        print(json.dumps([_law_as_json(law) for law in LAWS], indent=2, ensure_ascii=False))
        return
    from tabulate import tabulate

    rows = [[law.name, _row(law), _state(law), law.limits or "exact"] for law in LAWS]
    print(
        wrapped(
            "If every gradient is multiplied by s, multiply by these factors to keep the trajectory.\n"
            "What is not named is multiplied by 1: momentum, betas, counts and options.\n",
            columns_of(sys.stdout),
        )
    )
    head = ["optimizer", "hyperparameters", "state", "holds"]
    widths = fitted(head, rows, columns_of(sys.stdout), [None, 36, 34, 50])
    print(
        tabulate(rows, head, tablefmt="simple", maxcolwidths=widths, maxheadercolwidths=header_widths(widths))
    )
    print(
        wrapped(
            "\nA clip threshold: s. Exact for min(1, C/‖g‖) and clip_grad_value_; "
            "torch's clip_grad_norm_ adds 1e-6 to ‖g‖, which is not scaled.",
            columns_of(sys.stdout),
        )
    )


def _row(law: Law) -> str:
    changed = []
    for name, entry in law.hyperparameters.items():
        if name == "lr" or entry.exponent != 0:
            unless = f" (1 if {entry.flag})" if entry.flag else ""
            changed.append(f"{name} {factor(entry.exponent)}{unless}")
    return ", ".join(changed)


def _state(law: Law) -> str:
    return ", ".join(f"{name} {factor(power)}" for name, power in law.state.items() if power)


def _law_as_json(law: Law) -> dict[str, Any]:
    entries = {name: asdict(entry) for name, entry in law.hyperparameters.items()}
    return {
        "optimizer": law.name,
        "hyperparameters": entries,
        "state": dict(law.state),
        "limits": law.limits,
        "source": law.source,
    }
