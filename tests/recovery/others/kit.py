"""What the tables of loops have in common: a loop, what is said of it, and small networks and batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from suite.recovery import Recovery, recover


class Case(NamedTuple):
    """A training step with what it is held against."""

    step: Callable[..., Any]
    model: nn.Module
    batch: Any
    losses: Callable[..., Tensor]
    options: dict[str, Any] = {}  # noqa: RUF012  never changed


class Loop(NamedTuple):
    """Somebody's loop, where it is discussed, and what is said of it; a word after "−" is not."""

    source: str
    make: Callable[[], Case]
    said: tuple[str, ...]


@dataclass(frozen=True)
class Loops:
    """The loops of one kind."""

    kind: str
    all: list[Loop] = field(default_factory=list)

    def add(self, source: str, *said: str) -> Callable[[Callable[[], Case]], Callable[[], Case]]:
        """Adds the loop that a function makes, with its public source and parts of what is said of it."""

        def added(make: Callable[[], Case]) -> Callable[[], Case]:
            self.all.append(Loop(source, make, said))
            return make

        return added

    @property
    def names(self) -> list[str]:
        return [loop.make.__name__ for loop in self.all]


def found(case: Case) -> Recovery:
    """The recovery of a loop whose random numbers are always the same."""
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002  steps draw from it
    return recover(case.step, case.model, case.batch, case.losses, **case.options)


def judge(loop: Loop) -> None:
    """Asserts that all that has to be said is, and nothing that must not be: nobody is accused."""
    torch.manual_seed(0)
    text = f"{found(loop.make())}\n"
    wanted = [part for part in loop.said if not part.startswith("−")]
    unwanted = [part[1:] for part in loop.said if part.startswith("−")]
    if not any(part.startswith("A known mistake") for part in wanted):
        unwanted.append("A known mistake")
    assert not [part for part in wanted if part not in text], text
    assert not [part for part in unwanted if part in text], text


def network(inputs: int = 6, outputs: int = 4, width: int = 20, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(inputs, width), nn.Tanh(), nn.Linear(width, outputs)).double()


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def classes(*shape: int, c: int = 4, seed: int = 2) -> Tensor:
    return torch.randint(c, shape, generator=torch.Generator().manual_seed(seed))


def entropy(model: nn.Module, batch: Any) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1], reduction="none")


def squares(model: nn.Module, batch: Any) -> Tensor:
    return (model(batch[0]) - batch[1]).square().sum(1)


def rows(batch: Any, some: slice) -> Any:
    if isinstance(batch, dict):
        return {name: part[some] for name, part in batch.items()}
    return tuple(part[some] for part in batch)


def pieces(batch: Any, size: int, total: int) -> list[Any]:
    return [rows(batch, slice(start, start + size)) for start in range(0, total, size)]
