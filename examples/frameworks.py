"""All recipes whose framework is installed, and the table of what they found."""

from __future__ import annotations

import platform
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tabulate import tabulate

if TYPE_CHECKING:
    from recipe import Row

EXAMPLES = "../../examples"  # seen from the table
TABLE = Path(__file__).parents[1] / "results" / "reference" / "frameworks.md"
RECIPES = {
    "plain_loop": "torch",
    "watched_loop": "torch",
    "data_parallel": "torch",
    "accelerate_loop": "accelerate",
    "huggingface_trainer": "transformers",
    "watched_trainer": "peft",
    "trl_grpo": "trl",
    "lightning_trainer": "pytorch-lightning",
    "keras_fit": "keras",
    "opacus_optimizer": "opacus",
}
"""By recipe, the distribution that it needs."""

HEAD = """# What frameworks' training steps weigh each sample with

Recovered from the gradient that each step really used: `python examples/frameworks.py`, Python {python}.
The weights are those of the units (samples; tokens in the Hugging Face rows), in their order.
*As told* says whether convention and every single weight are what the source says, worked out by hand.

"""


def run() -> tuple[list[tuple[str, Row]], list[str]]:
    """The rows of all recipes, each with its recipe's name; and what was skipped, and why."""
    rows: list[tuple[str, Row]] = []
    skipped = []
    for name, package in RECIPES.items():
        try:
            version(package)
        except PackageNotFoundError:
            skipped.append(f"{name}: {package} is not installed")
            continue
        rows += [(name, row) for row in import_module(name).recipe()]
    return rows, skipped


def table(rows: list[tuple[str, Row]]) -> str:
    """The rows in Markdown."""
    cells = [
        (
            f"{row.package} {row.version}",
            f"[{name}]({EXAMPLES}/{name}.py): {row.done}",
            recovered(row),
            weights(row),
            row.source,
            "yes" if row.agrees else "**no**",
        )
        for name, row in rows
    ]
    heads = ("framework", "step", "recovered", "weights", "by its source", "as told")
    return tabulate(cells, heads, tablefmt="github")


def recovered(row: Row) -> str:
    """The convention, under the name that the source tells where it is one of several, and the fault."""
    found = row.found
    if not found.linear:
        return "no weighting" if found.cause is None else found.cause.name
    if found.norm == 0:
        return "no update"
    if found.convention is None:
        return "none that is registered"
    name = row.convention if row.convention in found.names else found.convention.name
    scale = "" if found.scale == 1 else f"{found.scale:g} × "
    fault = "" if found.fault is None or found.fault.name == name else f", {found.fault.name}"
    return f"{scale}{name}{fault}"


def weights(row: Row) -> str:
    """The weights that can be told, neighbours that are the same counted."""
    found = row.found
    if not found.linear:
        return "–"
    shown = [f"{weight:.4g}" for weight in np.round(found.weights[found.identifiable], 6) + 0.0]
    runs = [(weight, len(list(same))) for weight, same in groupby(shown)]
    return ", ".join(weight if count == 1 else f"{count}× {weight}" for weight, count in runs)


def main() -> None:
    """Print the table; write it where nothing was skipped."""
    rows, skipped = run()
    text = table(rows)
    print(text)
    for reason in skipped:
        print(f"skipped {reason}")
    if skipped:
        print(f"{TABLE.name} is left as it is: it holds all recipes or none")
    else:
        TABLE.write_text(HEAD.format(python=platform.python_version()) + text + "\n", encoding="utf-8")
        print(f"written to {TABLE}")


if __name__ == "__main__":
    main()
