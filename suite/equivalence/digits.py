"""A real training problem for `gradsuite lr --check`: handwritten digits under two literal losses.

The data are scikit-learn's, the loops those of the two conventions, written the naive way: what is
trained is what people run, not the algebra that the scale came from.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from suite.algebra.units import Units
from suite.equivalence.law import Scale
from suite.equivalence.scales import Sizes
from suite.equivalence.trajectory import Backward, following
from suite.frameworks import convention_of
from suite.loops.loop import Loop

PIXELS = 64


@dataclass(frozen=True)
class DigitsProblem:
    """A model with batches of handwritten digits, in float64.

    Each of the `elements` outputs predicts one pixel from the picture, through a bottleneck; a unit's loss
    is the sum of its squared errors.
    """

    model: nn.Module
    inputs: Tensor
    targets: Tensor
    samples: int

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """`[samples, 64]` and `[samples, elements]`, batch after batch, epoch after epoch."""
        rows = (torch.arange(self.samples) + step * self.samples) % len(self.inputs)
        return self.inputs[rows], self.targets[rows]

    def follow(self, name: str, units: Units) -> Backward:
        """The literal loop of the convention `name`; of a framework's word, its weights on the losses."""
        return following(
            convention_of(name), lambda model, step: Loop(model, self.batch(step), squared_errors, units)
        )

    def scaled(self, scale: Scale) -> Backward:
        """`scale` times the mean loss."""

        def backward(model: nn.Module, step: int) -> Tensor:
            loss: Tensor = float(scale) * squared_errors(model, self.batch(step)).mean()
            loss.backward()
            return loss.detach()

        return backward


def squared_errors(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """`[samples]` each sample's sum of squared errors."""
    inputs, targets = batch
    squares: Tensor = (model(inputs) - targets).square()
    return squares.sum(1)


def digits(sizes: Sizes, *, bias: bool = True, seed: int = 0) -> DigitsProblem:
    """The digits in batches of these sizes, shuffled, with a tanh network of 8 hidden units.

    Without `bias` all parameters are matrices, as Muon wants them.
    """
    from sklearn.datasets import load_digits

    generator = torch.Generator().manual_seed(seed)
    pixels = torch.as_tensor(load_digits().data, dtype=torch.float64) / 16
    pixels = pixels[torch.randperm(len(pixels), generator=generator)]
    outputs = sizes.elements or 1
    columns = torch.arange(outputs) * 7 + 20  # from the middle of the picture, where there is ink
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Linear(PIXELS, 8, bias=bias), nn.Tanh(), nn.Linear(8, outputs, bias=bias)
        ).double()
    return DigitsProblem(model, pixels, pixels[:, columns % PIXELS], sizes.samples)
