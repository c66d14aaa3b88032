"""Models that share their numbers with another: to hook, and to differentiate by, as one likes."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.parameter import is_lazy

from suite.loops.copies import copied, copy_plain


def sharing(model: nn.Module) -> nn.Module:
    """A model of its own, with parameters of its own, whose numbers are those of `model`."""
    return only(model, frozenset(name for name, _ in model.named_parameters()))


def only(model: nn.Module, names: frozenset[str]) -> nn.Module:
    """The same, to be differentiated by these parameters alone.

    Buffers are copied. So are the parameters that a forward pass overwrites, those of an embedding
    with `max_norm`, and those that the first forward pass makes.

    Raises:
        UsageError: The model cannot be copied.
    """
    written = {id(m.weight) for m in model.modules() if getattr(m, "max_norm", None) and hasattr(m, "weight")}
    memo: dict[int, Any] = {}
    for name, p in model.named_parameters():
        if is_lazy(p):
            continue
        numbers = p.detach().clone() if id(p) in written else p.detach()
        memo[id(p)] = nn.Parameter(numbers, requires_grad=p.requires_grad and name in names)
    copy_plain(model, memo)
    return copied(model, memo)
