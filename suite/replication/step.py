"""A step that runs: a paper's loss and accumulation as its code computes them, on a small real batch."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from suite.algebra.units import Units
    from suite.case import Problem

StepFunction = Callable[..., Any]
"""`step(model, batch)` leaves a gradient in `.grad`; with `max_norm=C` where the code clips at C."""
Stepper = Callable[["nn.Module"], Callable[[], None]]
"""`stepper(model)` gives a function that moves the weights by what is in `.grad`, each time it is called."""


@dataclass(frozen=True)
class Port:
    """What people write in PyTorch in the place of a paper's step.

    Args:
        says: in a line of Python.
        run: `run(model, batch)` gives the loss of the whole batch.
    """

    says: str
    run: Callable[[nn.Module, Any], Tensor]


@dataclass(frozen=True)
class PaperStep:
    """The step of a paper, and what people write in its place.

    Args:
        paper: the name of its card.
        problem: makes the model, the data and the unreduced losses of the step's units.
        step: the code's loss and accumulation.
        optimizer: the code's optimizer, with the code's numbers; None where it is not written out, since
            neither torch nor a dialect has it, or nobody has read it.
        port: what people write in its place.
        batch_size: samples a batch.
        expected_batch_size: what the sampling aims at, where that is another number.
    """

    paper: str
    problem: Callable[[], Problem]
    step: StepFunction
    optimizer: Stepper | None
    port: Port
    batch_size: int = 8
    expected_batch_size: int | None = None

    @cached_property
    def built(self) -> Problem:
        """The problem itself."""
        return self.problem()

    @property
    def max_norm(self) -> float | None:
        """The clip threshold in the code, or None."""
        found = inspect.signature(self.step).parameters.get("max_norm")
        return None if found is None else found.default

    def model(self) -> nn.Module:
        """The model, the same each time, in float64."""
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return self.built.model().double()

    def batch(self, number: int) -> tuple[Any, Units]:
        """One of its batches, with the units table."""
        import torch

        from suite.running.plan import Cell

        start = number * self.batch_size
        cell = Cell(self.batch_size, str(number), torch.arange(start, start + self.batch_size))
        batch = cell.take(self.built, torch.device("cpu"), torch.float64)
        units = cell.units(self.built, batch)
        if self.expected_batch_size is not None:
            units = replace(units, expected_batch_size=float(self.expected_batch_size))
        return batch, units

    def gradient(self, model: nn.Module, batch: Any, **settings: float) -> list[Tensor]:
        """The gradient that the step leaves, parameter by parameter."""
        return gradient_left(model, lambda: self.step(model, batch, **settings))

    def port_gradient(self, model: nn.Module, batch: Any) -> list[Tensor]:
        """The gradient of the port."""
        return gradient_left(model, lambda: self.port.run(model, batch))


def gradient_left(model: nn.Module, run: Callable[[], Any]) -> list[Tensor]:
    """What `run` leaves in `.grad`, zeros where it leaves nothing; or the loss that it returns, backward."""
    import torch

    parameters = list(model.parameters())
    for parameter in parameters:
        parameter.grad = None
    loss = run()
    if loss is not None:
        loss.backward()
    return [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in parameters]


def selected(model: nn.Module, select: str) -> list[str]:
    """The names of the parameters that a group of a card holds."""
    from torch import nn as modules

    named = dict(model.named_parameters())
    if select == "embeddings":
        inside = [name for name, module in model.named_modules() if isinstance(module, modules.Embedding)]
        return [name for name in named if name.rpartition(".")[0] in inside]
    rules: Mapping[str, Callable[[str, torch.Tensor], bool]] = {
        "all": lambda *_: True,
        "biases": lambda name, _: name.endswith("bias"),
        "vectors": lambda _, p: p.ndim <= 1,
        "matrices": lambda _, p: p.ndim >= 2,
        "scalars": lambda _, p: p.ndim == 0,
        "tensors": lambda _, p: p.ndim > 0,
        "part": lambda name, _: name.startswith("part."),
    }
    return [name for name, parameter in named.items() if rules[select](name, parameter)]
