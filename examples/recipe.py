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

    from gradsuite import Recovery

Pair = tuple[Tensor, Tensor]


def network() -> nn.Module:
    """A small classifier of digits, in float32 as people train it."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 10))


def digits(samples: int) -> Pair:
    """The first handwritten digits: images `[samples, 64]` and classes `[samples]`."""
    images, classes = cases.data.digits()
    return images[:samples].float(), classes[:samples]


def losses(model: nn.Module, batch: Pair) -> Tensor:
    """`[samples]` the unreduced losses."""
    images, classes = batch
    return F.cross_entropy(model(images), classes, reduction="none")


def sample_gradients(model: nn.Module, batch: Pair) -> NDArray[np.float64]:
    """`[samples, params]` the gradient of each sample, one backward pass each."""
    parameters = list(model.parameters())
    parts = [torch.autograd.grad(loss, parameters, retain_graph=True) for loss in losses(model, batch)]
    return torch.stack([torch.cat([p.flatten() for p in part]) for part in parts]).double().numpy()


@dataclass(frozen=True, eq=False)
class Row:
    """A training step of a framework, the weights recovered from it, and what its source says they are.

    Args:
        package: the distribution that the step is from.
        done: what was done, in a few words.
        source: where its source code or its documentation says what comes out.
        weights: `[units]` what that says, worked out by hand; anything where no weight can be told.
        convention: the registered convention that is, or None where it is none as it stands.
        found: what was recovered.
        cause: the name of what was done to the gradient besides weighting, or None.
    """

    package: str
    done: str
    source: str
    weights: NDArray[np.float64]
    convention: str | None
    found: Recovery
    cause: str | None = None

    @property
    def version(self) -> str:
        """Of the package that is installed."""
        return version(self.package).partition("+")[0]

    @property
    def agrees(self) -> bool:
        """Whether convention, cause and every weight that can be told are as the source says."""
        found = self.found
        names = found.names if found.linear and found.scale == 1 else ()
        named = self.convention in names if self.convention else not names
        caused = self.cause == (found.cause.name if found.cause else None)
        told = found.identifiable
        apart = np.abs(found.weights - self.weights)[told]
        return named and caused and (not found.linear or bool((apart <= found.error[told]).all()))

    def __str__(self) -> str:
        verdict = "so it is" if self.agrees else "BUT IT IS NOT"
        return f"{self.found}\nThe source says {self.says}, in {self.source}; {verdict}."

    @property
    def says(self) -> str:
        """What the source says, in a few words."""
        return self.convention or self.cause or "weights of no convention"


def show(rows: list[Row]) -> None:
    """Print what each step did."""
    for row in rows:
        print(f"\n== {row.package} {row.version}: {row.done}\n{row}")
