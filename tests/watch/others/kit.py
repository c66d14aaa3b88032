"""What the tables of watched loops have in common: a loop, where it is discussed, and what is said of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from suite.watch import AuditWarning, RunAudit


class Watched(NamedTuple):
    """A loop, its public source, and parts of what is said of it; a part after "−" is not said."""

    source: str
    run: Callable[[], RunAudit]
    said: tuple[str, ...]


@dataclass(frozen=True)
class Loops:
    """The loops of one kind."""

    all: dict[str, Watched] = field(default_factory=dict)

    def add(self, source: str, *said: str) -> Callable[[Callable[[], RunAudit]], Callable[[], RunAudit]]:
        """Adds a loop that a function runs under watch."""

        def added(run: Callable[[], RunAudit]) -> Callable[[], RunAudit]:
            self.all[run.__name__] = Watched(source, run, said)
            return run

        return added


def judge(loop: Watched) -> None:
    """Asserts that all that has to be said is, and nothing that must not be: nobody is accused."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AuditWarning)
        torch.manual_seed(0)
        text = str(loop.run())
    wanted = [part for part in loop.said if not part.startswith("−")]
    unwanted = [part[1:] for part in loop.said if part.startswith("−")]
    if not any("mistake" in part for part in wanted):
        unwanted.append("mistake")
    assert not [part for part in wanted if part not in text], text
    assert not [part for part in unwanted if part in text], text


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1)


def mean(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(model(x), y)
