"""What all recipes share: a small problem on real data, and what a row of their table holds."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import cases

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from suite import Recovery

Pair = tuple[Tensor, Tensor]


def network() -> nn.Module:
    """A small classifier of digits, in float64."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 10)).double()


def digits(samples: int) -> Pair:
    """The first handwritten digits: images `[samples, 64]` and classes `[samples]`."""
    images, classes = cases.data.digits()
    return images[:samples], classes[:samples]


def losses(model: nn.Module, batch: Pair) -> Tensor:
    """`[samples]` the unreduced losses."""
    images, classes = batch
    return F.cross_entropy(model(images), classes, reduction="none")


@dataclass(frozen=True, eq=False)
class Row:
    """A training step of a framework, the weights recovered from it, and what its source says they are.

    Args:
        package: the distribution that the step is from.
        done: what was done, in a few words.
        source: where its source code or its documentation says what comes out.
        weights: `[units]` what that says, worked out by hand; nan where a unit has no gradient.
        convention: the name of what that is, or None where it is no registered convention.
        found: what was recovered.
        scale: against the convention.
        cause: the name of what was done to the gradient besides weighting, or None.
    """

    package: str
    done: str
    source: str
    weights: NDArray[np.float64]
    convention: str | None
    found: Recovery
    scale: float = 1.0
    cause: str | None = None

    @property
    def version(self) -> str:
        """Of the package that is installed."""
        return version(self.package).partition("+")[0]

    @property
    def agrees(self) -> bool:
        """Whether the framework did what its source says: convention, scale, cause and every weight."""
        cause = self.found.cause and self.found.cause.name
        if cause != self.cause:
            return False
        if not self.found.linear:
            return self.convention is None
        told = self.found.identifiable
        named = self.convention in self.found.names and self.found.scale == self.scale
        right = np.abs(self.found.weights - self.weights)[told] <= self.found.error[told]
        return bool((named or self.convention is self.found.convention is None) and right.all())

    def __str__(self) -> str:
        what = self.convention or self.cause or "no convention that is registered"
        scale = "" if self.scale == 1 else f"{self.scale:g} × "
        verdict = "it is" if self.agrees else "IT IS NOT"
        return f"{self.found}\nIt must be {scale}{what}, by {self.source}: {verdict}."


def show(rows: list[Row]) -> None:
    """Print what each step did."""
    for row in rows:
        print(f"\n== {row.package} {row.version}: {row.done}\n{row}")
