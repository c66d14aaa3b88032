"""One weighted backward pass, `Σ_u c_u ℓ_u`, against the gradient of a step on all parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor, nn

from suite.loops.norms import norm_of_all
from suite.machine.buffers import duplicated


class Remainder:
    """What is left of a gradient once weighted losses' own has been taken away.

    Each parameter's gradient is subtracted as it comes and let go: no second gradient is held.

    Args:
        gradient: by name, in the order of the model's trained parameters.
        model: whose parameters are differentiated by.
    """

    def __init__(self, gradient: Mapping[str, Tensor], model: nn.Module) -> None:
        trained = [p for p in model.parameters() if p.requires_grad]
        self._left = {
            name: duplicated(part.detach().to(p))
            for (name, part), p in zip(gradient.items(), trained, strict=True)
        }
        self._parameters = dict(zip(self._left, trained, strict=True))

    def subtract(self, loss: Tensor, *, keep_graph: bool = False) -> None:
        """Take away the gradient of `loss`."""
        with self._caught():
            loss.backward(retain_graph=keep_graph)

    @property
    def norm(self) -> float:
        """Of what is left."""
        return norm_of_all(self._left.values())

    @contextmanager
    def _caught(self) -> Iterator[None]:
        def taking(name: str) -> object:
            def take(parameter: Tensor) -> None:
                grad = parameter.grad
                if grad is not None:
                    self._left[name].sub_(grad.to_dense() if grad.is_sparse else grad)
                    parameter.grad = None

            return take

        handles = [p.register_post_accumulate_grad_hook(taking(name)) for name, p in self._parameters.items()]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
