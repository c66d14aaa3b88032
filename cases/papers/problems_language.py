"""Tokens of lines of unequal lengths, preferences between lines, and words in their context."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor, nn

import cases
from cases.papers.problems_common import Branches, Pair, Triple, problem
from suite.case import Problem
from suite.replication.step import Port

LINES, LONGEST = 64, 24

BETA = 0.1


def language_model() -> Branches:
    """The logits of the next token from the token alone: an embedding and a linear layer."""
    return Branches(nn.Embedding(128, 6), nn.Linear(6, 128))


def text(added: float = 0.0, first: int = 0, **settings: Any) -> Problem:
    """Lines of text, of unequal lengths, padded to the longest of a batch.

    Args:
        added: what a step adds to the count of each rank; a share of it is each sample's.
        first: samples in the first of two micro-batches, where they are of unequal sizes.
        **settings: of the problem.
    """

    def columns(batch: Pair) -> Mapping[str, Any]:
        found = cases.data.token_columns(batch)
        share = added * settings.get("ranks", 1) / len(batch[0])
        found |= {"elements": found["elements"] + share} if added else {}
        return found | ({"microbatch": torch.arange(len(batch[0])) >= first} if first else {})

    tokens, targets = (t[::7][:LINES, :LONGEST] for t in cases.data.text())
    return problem(
        model=language_model,
        data=(tokens, targets),
        losses=cases.losses.next_token,
        columns=columns,
        collate=cases.data.trimmed,
        **settings,
    )


def token_losses(model: nn.Module, batch: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """`[samples, positions]` the loss of each token, zero where there is none; and where there is one."""
    tokens, targets = batch
    logits = model(tokens).transpose(1, 2)
    losses = F.cross_entropy(logits, targets, reduction="none", ignore_index=cases.data.IGNORED)
    return losses, targets != cases.data.IGNORED


def preferences(**settings: Any) -> Problem:
    """Pairs of lines of text, the first of which is preferred."""
    tokens, targets = (t[: 2 * LINES, :LONGEST] for t in cases.data.text())
    return problem(
        model=language_model,
        data=(tokens[::2], targets[::2], tokens[1::2], targets[1::2]),
        losses=preference_losses,
        columns=lambda _: {"elements": 1},
        **settings,
    )


def preference_losses(model: nn.Module, batch: Sequence[Tensor]) -> Tensor:
    """`[samples]` the loss of each pair, of summed log-probabilities; the reference model knows nothing."""
    chosen, rejected = (-token_losses(model, pair)[0].sum(1) for pair in (batch[:2], batch[2:]))
    return -F.logsigmoid(BETA * (chosen - rejected))


class Context(nn.Module):
    """A word from the mean of the vectors of those around it, or from their sum."""

    def __init__(self, *, summed: bool = False) -> None:
        super().__init__()
        self.summed = summed
        self.part, self.head = nn.Embedding(128, 6), nn.Linear(6, 128)

    def forward(self, words: Tensor) -> Tensor:
        """`[samples, 128]` the logits, from `[samples, 4]` words."""
        vectors = self.part(words)
        logits: Tensor = self.head(vectors.sum(1) if self.summed else vectors.mean(1))
        return logits


def context(*, summed: bool = False, **settings: Any) -> Problem:
    """The character in the middle of five, from the other four."""
    tokens = cases.data.text()[0][:, 10:15]
    return problem(
        model=lambda: Context(summed=summed),
        data=(tokens[:, [0, 1, 3, 4]], tokens[:, 2]),
        losses=cases.losses.cross_entropy,
        columns=lambda _: {"elements": 1},
        **settings,
    )


class Products(nn.Module):
    """The product of a word's vector and a neighbour's."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.neighbours = nn.Embedding(128, 6), nn.Embedding(128, 6)

    def forward(self, words: Tensor, neighbours: Tensor) -> Tensor:
        """`[samples]`."""
        products: Tensor = (self.words(words) * self.neighbours(neighbours)).sum(1)
        return products


def counts(**settings: Any) -> Problem:
    """Characters that follow one another, and how often they do."""
    tokens = cases.data.text()[0][:, :LONGEST]
    pairs = torch.stack([tokens[:, :-1], tokens[:, 1:]], -1).flatten(0, 1)
    found, number = pairs.unique(dim=0, return_counts=True)
    return problem(
        model=Products,
        data=(*found[::5].T, number[::5].double()),
        losses=count_losses,
        columns=lambda _: {"elements": 1},
        **settings,
    )


def count_losses(model: nn.Module, batch: Triple) -> Tensor:
    """`[samples]` the squared errors of the logarithms, weighted by `min(1, x/100)^¾`."""
    words, neighbours, number = batch
    squares: Tensor = (number / 100).clamp(max=1) ** 0.75 * (model(words, neighbours) - number.log()).square()
    return squares


def _tokens(model: nn.Module, batch: Pair) -> Tensor:
    return F.cross_entropy(model(batch[0]).flatten(0, 1), batch[1].flatten())


def _preferences(model: nn.Module, batch: Sequence[Tensor]) -> Tensor:
    chosen, rejected = (
        -losses.sum(1) / mask.sum(1)
        for losses, mask in (token_losses(model, p) for p in (batch[:2], batch[2:]))
    )
    return -F.logsigmoid(BETA * (chosen - rejected)).mean()


COUNTS = Port(
    "(f * (dots - counts.log()) ** 2).mean()", lambda model, batch: count_losses(model, batch).mean()
)

TOKENS = Port("F.cross_entropy(logits.flatten(0, 1), targets.flatten())", _tokens)

PREFERENCES = Port("-F.logsigmoid(beta * (chosen.mean(1) - rejected.mean(1))).mean()", _preferences)
