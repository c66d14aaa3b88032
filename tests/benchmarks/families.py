"""Five model families, each with a random batch of any size: what engines are timed on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cases.models import Transformer

Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Family:
    """A model, its data and its unreduced losses.

    Args:
        name: of the family.
        model: makes the model.
        batch: makes a batch of so many samples.
        losses: `[samples]`.
        units: the batch size that its reference figures are for.
    """

    name: str
    model: Callable[[], nn.Module]
    batch: Callable[[int], Pair]
    losses: Callable[[nn.Module, Pair], Tensor]
    units: int


def relu_mlp(*sizes: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def lenet() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.GroupNorm(8, 32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.GroupNorm(8, 64), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64 * 7 * 7, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False), nn.GroupNorm(8, outputs),
            nn.ReLU(), nn.Conv2d(outputs, outputs, 3, padding=1, bias=False), nn.GroupNorm(8, outputs),
        )  # fmt: skip
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride=stride) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.shortcut(x))


def resnet() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1, bias=False), nn.GroupNorm(8, 32), nn.ReLU(),
        Block(32, 32, 1), Block(32, 64, 2), Block(64, 128, 2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10),
    )  # fmt: skip


def cross_entropy(model: nn.Module, batch: Pair) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1], reduction="none")


def next_token(model: nn.Module, batch: Pair) -> Tensor:
    return F.cross_entropy(model(batch[0]).transpose(1, 2), batch[1], reduction="none").sum(1)


def images(*shape: int) -> Callable[[int], Pair]:
    return lambda n: (torch.randn(n, *shape), torch.randint(0, 10, (n,)))


def tokens(n: int) -> Pair:
    return torch.randint(0, 256, (n, 64)), torch.randint(0, 256, (n, 64))


FAMILIES = (
    Family("mlp", lambda: relu_mlp(64, 256, 256, 10), images(64), cross_entropy, 256),
    Family("lenet-groupnorm", lenet, images(1, 28, 28), cross_entropy, 128),
    Family("resnet-groupnorm", resnet, images(3, 32, 32), cross_entropy, 128),
    Family("gpt", lambda: Transformer(256, 64, width=128, depth=4), tokens, next_token, 32),
    Family("mlp-10m", lambda: relu_mlp(784, 2048, 2048, 2048, 10), images(784), cross_entropy, 64),
)
