"""How many values of a sample one loss is a sum over, where nobody says so.

`element-mean` and its kin divide by them: taken for one value, they come out as the mean over samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from suite.loops import batch as batches
from suite.loops.batch import Batch
from suite.machine.cuda import devices_of

ROWS = slice(0, 2)
_VIEWS = (
    "View", "UnsafeView", "ReshapeAlias", "Squeeze", "Unsqueeze", "Transpose", "T", "Permute", "Stack", "Cat",
    "Add", "Sub", "Mul", "Div", "Neg", "ToCopy", "Clone", "Expand", "Select", "Slice", "Alias",
)  # fmt: skip
"""Steps of autograd that leave it open whether the loss of a sample is a sum; any other one decides."""


def values_per_sample(model: nn.Module, batch: Batch, losses: Callable[[nn.Module, Batch], Tensor]) -> int:
    """How many values of a sample its loss is a sum over, as far as can be seen; 1 where nothing is.

    Seen are a last sum in the graph of the losses, and targets as wide as the model's output. One forward
    pass of at most two samples is made, under a random state that is put back; what it raises, other passes
    raise too.
    """
    few = batches.select(batch, ROWS)
    outputs: list[Tensor] = []
    inputs: set[int] = set()

    def note(_: nn.Module, given: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
        inputs.update(t.untyped_storage().data_ptr() for t in _tensors((given, named)))
        outputs.extend(_tensors(output))

    hook = model.register_forward_hook(note, with_kwargs=True)
    try:
        with torch.random.fork_rng(devices=devices_of(model)), torch.enable_grad():
            found = losses(model, few)
    except (Exception, SystemExit):  # noqa: BLE001  whoever measures says what fails, and where
        return 1
    finally:
        hook.remove()
    if not isinstance(found, Tensor):
        return 1
    ends = {output.grad_fn for output in outputs}
    wide = [
        math.prod(target.shape[1:])
        for target in batches.tensors(few)
        if target.is_floating_point()
        and target.untyped_storage().data_ptr() not in inputs
        and any(target.shape == output.shape for output in outputs)
    ]
    return max([*_summed(found.grad_fn, ends), *wide], default=1)


def _summed(last: Any, ends: set[Any]) -> Iterator[int]:
    """Over how many values each sum runs that ends in the losses, back to the model's outputs."""
    waiting, seen = [last], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen or node in ends:
            continue
        seen.add(node)
        name = node.name().partition("Backward")[0]
        if name == "Sum":
            shape = getattr(node, "_saved_self_sym_sizes", ())
            axes = getattr(node, "_saved_dim", ()) or range(len(shape))
            yield math.prod(shape[axis if axis < len(shape) else axis - 2**64] for axis in axes)
        elif name in _VIEWS:
            waiting += [before for before, _ in node.next_functions]


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(tuple(value.values()))
    elif isinstance(value, tuple | list):
        for each in value:
            yield from _tensors(each)
