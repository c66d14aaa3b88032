"""Small training runs: data, models, and loops as people write them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Pair = tuple[Tensor, Tensor]


def network(*layers: nn.Module, dtype: torch.dtype = torch.float64, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 12), *layers, nn.Tanh(), nn.Linear(12, 3)).to(dtype)


def batches(*sizes: int, dtype: torch.dtype = torch.float64, seed: int = 1) -> list[Pair]:
    draw = torch.Generator().manual_seed(seed)
    return [
        (torch.randn(n, 6, generator=draw).to(dtype), torch.randint(3, (n,), generator=draw)) for n in sizes
    ]


def losses(model: nn.Module, batch: Pair) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1], reduction="none")


def accumulate(
    model: nn.Module,
    loader: Any,
    optimizer: torch.optim.Optimizer,
    window: int,
    *,
    loss: Callable[[Tensor, Tensor], Tensor] | None = None,
    clip: float | None = None,
) -> None:
    """Each mean over the window, one update a window; the last window of the epoch may be short."""
    count = len(loader)
    for index, (x, y) in enumerate(loader):
        scores = model(x)
        found = F.cross_entropy(scores, y) / window if loss is None else loss(scores, y)
        found.backward()
        if (index + 1) % window == 0 or index == count - 1:
            if clip is not None:
                torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            optimizer.zero_grad()


class Pairs(nn.Module):
    """A model whose call has its targets, as those of Hugging Face."""

    def __init__(self, inside: nn.Module) -> None:
        super().__init__()
        self.inside = inside

    def forward(self, x: Tensor, labels: Tensor | None = None, **_: Any) -> dict[str, Tensor]:
        scores = self.inside(x)
        return {"logits": scores} | ({} if labels is None else {"loss": F.cross_entropy(scores, labels)})


class Language(nn.Module):
    """The smallest causal language model: each position sees those before it."""

    def __init__(self, words: int = 11, width: int = 8) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(words, width), nn.Linear(width, words)

    def forward(self, input_ids: Tensor, labels: Tensor | None = None, **_: Any) -> dict[str, Tensor]:
        steps = torch.arange(1, input_ids.shape[1] + 1)[:, None]
        scores = self.head(torch.tanh(self.embed(input_ids).cumsum(1) / steps))
        found = {"logits": scores}
        if labels is not None:
            found["loss"] = F.cross_entropy(scores[:, :-1].transpose(1, 2), labels[:, 1:], ignore_index=-100)
        return found


def sentences(*lengths: Sequence[int], words: int = 11, seed: int = 2) -> list[dict[str, Tensor]]:
    """Micro-batches of sentences of these lengths, padded within each; padding is ignored."""
    draw = torch.Generator().manual_seed(seed)
    found = []
    for each in lengths:
        ids = torch.randint(1, words, (len(each), max(each)), generator=draw)
        inside = torch.arange(max(each)) < torch.tensor(each)[:, None]
        found.append({"input_ids": ids * inside, "labels": torch.where(inside, ids, -100)})
    return found
