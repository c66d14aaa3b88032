"""What passes through each layer: its input, and the gradient of the losses by its output."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from suite.engines.engine import Refused


@dataclass(frozen=True)
class ForwardCall:
    """One call of a layer during the forward pass.

    Args:
        module: the layer.
        input: `[rows, …]` what it was called with.
        version: of the input, to notice when it is overwritten later.
        shape: of the output.
        edge: where the gradient of the output arrives, whatever overwrites the output later.
    """

    module: nn.Module
    input: Tensor
    version: int
    shape: torch.Size
    edge: GradientEdge

    def require_untouched(self) -> None:
        """Refuse an input that was overwritten after the layer had read it."""
        if self.input._version != self.version:  # noqa: SLF001  as autograd itself notices it
            raise Refused(f"cannot use the input of a {type(self.module).__name__}: it was overwritten")


@contextmanager
def captured(layers: Sequence[nn.Module]) -> Iterator[list[ForwardCall]]:
    """The calls of these `layers` while the context is open, in order."""
    calls: list[ForwardCall] = []

    def note(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        if isinstance(output, Tensor) and output.requires_grad:
            given = args[0] if args else next(iter(kwargs.values()))
            # The output itself is let go; gradients reach its edge even if it is overwritten.
            version = given._version  # noqa: SLF001  as autograd itself notices what is overwritten
            calls.append(
                ForwardCall(module, given.detach(), version, output.shape, get_gradient_edge(output))
            )

    # Before hooks of others, which may change the output.
    handles = [
        layer.register_forward_hook(note, prepend=True, with_kwargs=True) for layer in layers
    ]  # fmt: skip
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()
