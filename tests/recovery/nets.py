"""Small networks whose units share their forward pass: tokens, pixels, nodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WORDS, WIDTH = 13, 12


@dataclass(frozen=True)
class Made:
    """A network with a batch, its unreduced losses, and the modules that are behind the last mixing."""

    model: nn.Module
    batch: Any
    losses: Callable[[nn.Module, Any], Tensor]
    solved_on: frozenset[str]

    @property
    def count(self) -> int:
        return self.losses(self.model, self.batch).numel()

    def cast(self, dtype: torch.dtype) -> Made:
        batch = tuple(part.to(dtype) if part.is_floating_point() else part for part in self.batch)
        return replace(self, model=self.model.to(dtype), batch=batch)


class Block(nn.Module):
    """Attention, over another sequence too where there is one, and a network of each token's own."""

    def __init__(self, own: nn.Module | None = None, *, causal: bool = True, crossing: bool = False) -> None:
        super().__init__()
        self.norm, self.qkv, self.out = (
            nn.LayerNorm(WIDTH),
            nn.Linear(WIDTH, 3 * WIDTH),
            nn.Linear(WIDTH, WIDTH),
        )
        self.cross = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(4)) if crossing else None
        self.own = (
            nn.Sequential(nn.Linear(WIDTH, 20), nn.GELU(), nn.Linear(20, WIDTH)) if own is None else own
        )
        self.causal = causal

    def forward(self, x: Tensor, other: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        q, k, v = self.qkv(self.norm(x)).chunk(3, -1)
        x = x + self.out(
            F.scaled_dot_product_attention(q, k, v, mask, is_causal=self.causal and mask is None)
        )
        if other is not None and self.cross is not None:
            q, k, v = self.cross[0](x), self.cross[1](other), self.cross[2](other)
            x = x + self.cross[3](F.scaled_dot_product_attention(q, k, v))
        return x + self.own(x)


class Experts(nn.Module):
    """Each token goes to one of three networks, as a router says, or past them where that one is full."""

    def __init__(self, capacity: int | None = None) -> None:
        super().__init__()
        self.capacity = capacity
        self.router = nn.Linear(WIDTH, 3)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(WIDTH, 16), nn.Tanh(), nn.Linear(16, WIDTH)) for _ in range(3)
        )

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(0, -2)
        share, chosen = self.router(flat).softmax(-1).max(-1)
        total = torch.zeros_like(flat)
        for index, expert in enumerate(self.experts):
            rows = (chosen == index).nonzero()[: self.capacity, 0]
            total = total.index_add(0, rows, expert(flat[rows]) * share[rows, None])
        return total.view_as(x)


class Decoder(nn.Module):
    """A language model of two blocks."""

    def __init__(self, *, own: nn.Module | None = None, tied: bool = False) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, WIDTH)
        self.blocks = nn.ModuleList([Block(), Block(own)])
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WORDS, bias=False)
        if tied:
            self.head.weight = self.words.weight

    def forward(self, tokens: Tensor, segments: Tensor | None = None) -> Tensor:
        x, mask = self.words(tokens), None
        if segments is not None:
            length = tokens.shape[1]
            mask = (segments[:, :, None] == segments[:, None]) & torch.ones(length, length).tril().bool()
        for block in self.blocks:
            x = block(x, mask=mask)
        return self.head(self.norm(x))


class Translator(nn.Module):
    """An encoder, and a decoder that looks at it."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.encoder = nn.Embedding(WORDS, WIDTH), Block(causal=False)
        self.decoder, self.head = Block(crossing=True), nn.Linear(WIDTH, WORDS)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        return self.head(self.decoder(self.words(target), self.encoder(self.words(source))))


class Gated(nn.Module):
    """T5's decoder: a norm without a mean, relative positions, a gated network, a head that is the words."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.near = nn.Embedding(WORDS, WIDTH), nn.Embedding(16, 1)
        self.scale = nn.Parameter(torch.ones(WIDTH))
        self.q, self.k, self.v, self.o = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(4))
        self.gate, self.up, self.down = nn.Linear(WIDTH, 20), nn.Linear(WIDTH, 20), nn.Linear(20, WIDTH)

    def normed(self, x: Tensor) -> Tensor:
        return self.scale * x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt()

    def forward(self, tokens: Tensor) -> Tensor:
        x, place = self.words(tokens), torch.arange(tokens.shape[1])
        apart = place[:, None] - place
        bias = self.near(apart.clamp(0, 15))[..., 0].masked_fill(apart < 0, -torch.inf)
        y = self.normed(x)
        x = x + self.o((self.q(y) @ self.k(y).mT + bias).softmax(-1) @ self.v(y))
        y = self.normed(x)
        x = x + self.down(F.gelu(self.gate(y)) * self.up(y))
        return F.linear(self.normed(x) * WIDTH**-0.5, self.words.weight)


class Recurrent(nn.Module):
    """A network whose states mix all tokens before, and a head behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.states = nn.Embedding(WORDS, WIDTH), nn.LSTM(WIDTH, WIDTH, batch_first=True)
        self.head = nn.Linear(WIDTH, WORDS)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.states(self.words(tokens))[0])


class Graph(nn.Module):
    """Two rounds of messages between the nodes of one graph."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(5, 16), nn.Linear(16, 16), nn.Linear(16, 4)

    def forward(self, nodes: Tensor, edges: Tensor) -> Tensor:
        x = torch.tanh(edges @ self.first(nodes))
        return self.head(torch.tanh(edges @ self.second(x)))


def of_tokens(model: nn.Module, batch: Any) -> Tensor:
    *inputs, targets = batch
    return F.cross_entropy(model(*inputs).transpose(1, 2), targets, reduction="none", ignore_index=-100)


def tokens(sequences: int = 3, length: int = 6, **options: Any) -> Made:
    torch.manual_seed(0)
    ids = torch.randint(WORDS, (sequences, length + 1))
    behind = {"blocks.1.out", "blocks.1.own.0", "blocks.1.own.2", "head"}
    return Made(Decoder(**options), (ids[:, :-1], ids[:, 1:]), of_tokens, frozenset(behind))


def masked() -> Made:
    made = tokens()
    targets = made.batch[1].clone()
    targets[1, 4:], targets[2, 2:] = -100, -100
    return replace(made, batch=(made.batch[0], targets))


def tied() -> Made:
    made = tokens(tied=True)
    return replace(made, solved_on=made.solved_on - {"head"})


def experts() -> Made:
    made = tokens(own=Experts())
    inside = {f"blocks.1.own.experts.{index}.{layer}" for index in range(3) for layer in (0, 2)}
    return replace(made, solved_on=frozenset({"blocks.1.out", "blocks.1.own.router", "head", *inside}))


def packed() -> Made:
    """Two rows of three sequences each."""
    made = tokens(2, 12)
    segments = torch.tensor([[0] * 5 + [1] * 3 + [2] * 4, [0] * 2 + [1] * 6 + [2] * 4])
    return replace(made, batch=(made.batch[0], segments, made.batch[1]))


def full_experts() -> Made:
    """Two tokens an expert: most pass by."""
    made = tokens(own=Experts(2))
    return replace(made, solved_on=experts().solved_on)


def gated() -> Made:
    made = tokens()
    return replace(made, model=Gated(), solved_on=frozenset({"o", "gate", "up", "down"}))


def recurrent() -> Made:
    made = tokens()
    return replace(made, model=Recurrent(), solved_on=frozenset({"head"}))


def translation() -> Made:
    torch.manual_seed(0)
    source, target = torch.randint(WORDS, (3, 7)), torch.randint(WORDS, (3, 6))
    behind = {"decoder.out", "decoder.cross.0", "decoder.cross.3", "decoder.own.0", "decoder.own.2", "head"}
    batch = source, target[:, :-1], target[:, 1:]
    return Made(Translator(), batch, of_tokens, frozenset(behind))


def pixels() -> Made:
    """A class for each pixel, from a convolution over its neighbours."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), nn.Tanh(), nn.Conv2d(6, 5, 3, padding=1))
    batch = torch.randn(3, 2, 4, 4), torch.randint(5, (3, 4, 4))

    def losses(model: nn.Module, batch: Any) -> Tensor:
        return F.cross_entropy(model(batch[0]), batch[1], reduction="none").flatten(1)

    return Made(model, batch, losses, frozenset({"2"}))


def nodes() -> Made:
    torch.manual_seed(0)
    edges = ((torch.rand(14, 14) < 0.3) | torch.eye(14).bool()).float()
    batch = torch.randn(14, 5), edges / edges.sum(1, keepdim=True), torch.randint(4, (14,))

    def losses(model: nn.Module, batch: Any) -> Tensor:
        return F.cross_entropy(model(*batch[:2]), batch[2], reduction="none")

    return Made(Graph(), batch, losses, frozenset({"head"}))


NETS: dict[str, Callable[[], Made]] = {
    "tokens": tokens,
    "masked tokens": masked,
    "packed sequences": packed,
    "tied embeddings": tied,
    "a mixture of experts": experts,
    "experts that are full": full_experts,
    "a gated decoder with relative positions": gated,
    "a recurrent network": recurrent,
    "an encoder and a decoder": translation,
    "pixels": pixels,
    "nodes of a graph": nodes,
}
