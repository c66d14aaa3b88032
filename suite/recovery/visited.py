"""The values of its parameters at which a step calls a network: several where it updates them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

MOST_VISITED = 16


@contextmanager
def visiting(model: nn.Module) -> Iterator[list[dict[str, Tensor]]]:
    """The values, by parameter name, at each of which the model or a copy of it is called with gradients.

    Each is told once, in the order in which they are come to; `MOST_VISITED` of them and one more at most.
    """
    names = [name for name, _ in model.named_parameters()]
    shapes = [p.shape for p in model.parameters()]
    own, seen = set(map(id, model.modules())), list[dict[str, Tensor]]()
    last: list[tuple[Any, ...]] = []

    def before(module: nn.Module, _: Any) -> None:
        whole = model if id(module) in own else module if type(module) is type(model) else None
        if whole is None or not torch.is_grad_enabled() or len(seen) > MOST_VISITED:
            return
        values = list(whole.parameters())
        state = [(id(value), value._version) for value in values]  # noqa: SLF001  it counts changes in place
        if state == last or [value.shape for value in values] != shapes:
            return
        last[:] = state
        place = {name: value.detach().clone() for name, value in zip(names, values, strict=True)}
        if not any(all(torch.equal(place[name], other[name]) for name in names) for other in seen):
            seen.append(place)

    handle = register_module_forward_pre_hook(before)
    try:
        yield seen
    finally:
        handle.remove()
