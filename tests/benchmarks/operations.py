"""What bounds an engine: its operations and its bytes, beside those of one forward and backward pass.

`python -m tests.benchmarks.operations` counts both on the batches of the benchmarks: the multiplications and
additions of matrix products, convolutions and attention, as torch does; and the bytes of all tensors that
operations read and write. No time comes into it: a machine on which all products are equally fast and memory
costs nothing would need the one multiple, and one that does nothing but move memory the other.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable
from typing import Any

import torch
from tabulate import tabulate
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
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


def moved(action: Callable[[], object]) -> int:
    """How many bytes the operations of `action` read and write, each tensor once an operation."""
    with _Bytes() as counter:
        action()
    return counter.total


class _Bytes(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view and func not in ALLOCATING:
            read = tree_leaves((args, kwargs))
            there = {id(leaf) for leaf in read}
            written = [leaf for leaf in tree_leaves(result) if id(leaf) not in there]
            self.total += sum(t.numel() * t.itemsize for t in (*read, *written) if isinstance(t, Tensor))
        return result


ALLOCATING = {
    torch.ops.aten.empty.memory_format,
    torch.ops.aten.new_empty.default,
    torch.ops.aten.empty_like.default,
    torch.ops.aten.detach.default,
}
"""What touches no number."""


def multiples(family: Family, count: Callable[[Callable[[], object]], int]) -> list[float]:
    """Of one pass: the Gram matrix and 12 conventions of rank 12, alone and with the check."""
    torch.manual_seed(0)
    model, batch = family.model(), family.batch(family.units)

    def ordinary() -> None:
        model.zero_grad()
        family.losses(model, batch).mean().backward()

    alone = engines["streaming"].compute
    checked = functools.partial(suite.per_sample_gradients, engine="streaming")
    ordinary()
    one = count(ordinary)
    acts = [dense(made, how, family) for how in (alone, checked) for made in ("tables", "rank 12")]
    return [count(functools.partial(act, model, batch)) / one for act in acts]


def main() -> None:
    """Print the tables."""
    rows = ["alone, Gram matrix", "alone, rank 12", "with its check, Gram matrix", "with its check, rank 12"]
    for what, count in (("operations", counted), ("bytes", moved)):
        columns = [multiples(family, count) for family in FAMILIES]
        table = [[name, *(f"{column[k]:.2f}" for column in columns)] for k, name in enumerate(rows)]
        head = [what, *(family.name for family in FAMILIES)]
        sys.stdout.write(tabulate(table, head, tablefmt="github") + "\n\n")


if __name__ == "__main__":
    main()
