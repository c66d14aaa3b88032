"""What bounds an engine: the operations of its products, beside those of one forward and backward pass.

`python -m tests.benchmarks.operations` counts them as torch does, multiplications and additions of matrix
products, convolutions and attention, on the batches of the benchmarks. No time comes into it: a machine on
which all products are equally fast, and memory costs nothing, would need these multiples.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable
from typing import Any

import torch
from tabulate import tabulate
from torch.utils.flop_counter import FlopCounterMode

import suite
from suite.engines import engines
from tests.benchmarks.families import FAMILIES, Family
from tests.benchmarks.test_engines import dense


def counted(action: Callable[[], object]) -> int:
    """How many operations the products of `action` have."""

    def product(_total: Any, one: Any, other: Any, **_: Any) -> int:
        return 2 * math.prod(one) * int(other[-1])

    # In place it is another operation, which torch does not count.
    with FlopCounterMode(display=False, custom_mapping={torch.ops.aten.addmm_: product}) as counter:
        action()
    return int(counter.get_total_flops())


def multiples(family: Family) -> list[float]:
    """Of one pass: the Gram matrix and 12 conventions of rank 12, alone and with the check."""
    torch.manual_seed(0)
    model, batch = family.model(), family.batch(family.units)

    def ordinary() -> None:
        model.zero_grad()
        family.losses(model, batch).mean().backward()

    alone = engines["streaming"].compute
    checked = functools.partial(suite.per_sample_gradients, engine="streaming")
    one = counted(ordinary)
    acts = [dense(made, how, family) for how in (alone, checked) for made in ("tables", "rank 12")]
    return [counted(functools.partial(act, model, batch)) / one for act in acts]


def main() -> None:
    """Print the table."""
    rows = ["alone, Gram matrix", "alone, rank 12", "with its check, Gram matrix", "with its check, rank 12"]
    columns = [multiples(family) for family in FAMILIES]
    table = [[name, *(f"{column[k]:.2f}" for column in columns)] for k, name in enumerate(rows)]
    head = ["operations", *(family.name for family in FAMILIES)]
    sys.stdout.write(tabulate(table, head, tablefmt="github") + "\n")


if __name__ == "__main__":
    main()
