"""What the steps of papers run on: small models, real data, and the losses of the units.

A batch is what a paper's step sees of it; losses are sums over elements, never averaged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor, nn

import cases
from suite.case import Problem
from suite.replication.step import Port

LINES, LONGEST = 64, 24
NO_DECAY = {"vectors": {"weight_decay": 0.0}}
"""The usual group of `torch.optim`: biases and norms are not decayed."""
Pair = tuple[Tensor, Tensor]
Triple = tuple[Tensor, Tensor, Tensor]


class Branches(nn.Module):
    """A model with a `part`, its backbone, and a head on top of it.

    Args:
        part: the backbone.
        head: what makes the outputs.
        scalar: whether there is one parameter more, without an axis: the factor of the outputs.
    """

    def __init__(self, part: nn.Module, head: nn.Module, *, scalar: bool = False) -> None:
        super().__init__()
        self.part, self.head = part, head
        self.scale = nn.Parameter(torch.tensor(1.5)) if scalar else 1.0

    def forward(self, inputs: Tensor) -> Tensor:
        """The outputs, times the factor."""
        outputs: Tensor = self.head(torch.tanh(self.part(inputs))) * self.scale
        return outputs


def network(inputs: int, outputs: int, *, scalar: bool = False) -> Branches:
    """Two linear layers, the first of which is the part."""
    return Branches(nn.Linear(inputs, 6), nn.Linear(6, outputs), scalar=scalar)


def language_model() -> Branches:
    """The logits of the next token from the token alone: an embedding and a linear layer."""
    return Branches(nn.Embedding(128, 6), nn.Linear(6, 128))


def problem(**settings: Any) -> Problem:
    """A problem on one rank, in one piece, that nothing clips, unless it is said otherwise."""
    return Problem(**{"microbatches": 1, "ranks": 1, "max_norm": None, **settings})


def images(**settings: Any) -> Problem:
    """Digits and their classes."""
    return problem(
        model=lambda: network(64, 10),
        data=cases.data.digits(),
        losses=cases.losses.cross_entropy,
        columns=lambda _: {"elements": 1},
        **settings,
    )


def values(**settings: Any) -> Problem:
    """The progression of a disease: one value a sample."""
    return problem(
        model=lambda: network(10, 1),
        data=cases.data.diabetes(),
        losses=cases.losses.squared_error,
        columns=lambda _: {"elements": 1},
        **settings,
    )


def huber_values(**settings: Any) -> Problem:
    """The same under Huber's loss, whose derivative is the clipped error."""
    return replace(values(**settings), losses=cases.losses.huber)


def pixels(**settings: Any) -> Problem:
    """Digits to be restored from themselves: 64 squared errors a sample."""
    return problem(
        model=lambda: network(64, 64),
        data=(cases.data.digits()[0],) * 2,
        losses=cases.losses.squared_error,
        columns=lambda _: {"elements": 64},
        **settings,
    )


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


def copies(count: int = 2, **settings: Any) -> Problem:
    """Views of each digit: as it is, and moved."""
    x, y = cases.data.shifted_images()
    return problem(
        model=lambda: network(64, 10),
        data=(x.flatten(2)[:, :count], y),
        losses=cases.losses.cross_entropy_of_copies,
        columns=lambda _: {"elements": 1},
        parts=tuple(f"view {number}" for number in range(count)),
        part_kind="copies",
        **settings,
    )


ANCHORS = 4


def boxes(counts: str = "own", weights: tuple[float, float] = (1.0, 1.0), **settings: Any) -> Problem:
    """The quarters of a digit as anchors: is there much ink, and if so, where is its centre.

    Args:
        counts: the elements of the class and of the box term: their `own`, all `anchors` and the positives;
            `anchors` for both; `positives` for both, or `positives and one` more an image; or those of the
            `box` term alone, none being the class term's.
        weights: of the class and of the box term.
        **settings: of the problem.
    """
    x = cases.data.digits()[0].reshape(-1, 2, 4, 2, 4).transpose(2, 3).reshape(-1, ANCHORS, 16)
    positive = x.sum(2) > 5.5
    centre = (x * torch.linspace(-1, 1, 16, dtype=x.dtype)).sum(2) / x.sum(2).clamp(min=1)

    def columns(batch: Triple) -> Mapping[str, Any]:
        matched = batch[1].sum(1)
        every, none = torch.full_like(matched, ANCHORS), torch.zeros_like(matched)
        both = {
            "own": (every, matched),
            "anchors": (every, every),
            "positives": (matched, matched),
            "positives and one": (matched + 1, matched + 1),
            "box": (none, matched),
        }[counts]
        return {"elements": torch.stack(both, 1)}

    return problem(
        model=lambda: network(64, 2 * ANCHORS),
        data=(x.flatten(1), positive.long(), centre),
        losses=lambda model, batch: torch.stack([t.sum(1) for t in box_losses(model, batch)], 1),
        columns=columns,
        parts=("class", "box"),
        term_weight=weights,
        **settings,
    )


def box_losses(model: nn.Module, batch: Triple) -> tuple[Tensor, Tensor]:
    """`[samples, anchors]` the class loss of each anchor, and the box loss of each positive one."""
    x, positive, centre = batch
    scores, places = model(x).chunk(2, dim=1)
    classes = F.binary_cross_entropy_with_logits(scores, positive.to(scores), reduction="none")
    return classes, F.smooth_l1_loss(places, centre, reduction="none") * positive


def policy(weights: tuple[float, ...] = (1.0, 0.5, 0.01), **settings: Any) -> Problem:
    """A policy on digits: what it gains, the squared error of its value, and minus its entropy."""
    x, y = cases.data.digits()
    advantage = (x.mean(1) - x.mean()) / x.mean(1).std()
    return problem(
        model=lambda: network(64, 11),
        data=(x, y, advantage),
        losses=lambda model, batch: torch.stack(policy_losses(model, batch), 1),
        columns=lambda _: {"elements": 1},
        parts=("policy", "value", "entropy"),
        term_weight=weights,
        **settings,
    )


def policy_losses(model: nn.Module, batch: Triple) -> tuple[Tensor, Tensor, Tensor]:
    """`[samples]` each: `−A log π(a)`, `(v − R)²`, and minus the entropy of the policy."""
    x, action, advantage = batch
    outputs = model(x)
    logp = F.log_softmax(outputs[:, :10], dim=1)
    gain = F.nll_loss(logp, action, reduction="none") * advantage
    return gain, (outputs[:, 10] - advantage).square(), (logp.exp() * logp).sum(1)


def heads(weights: tuple[float, float] = (1.0, 1.0), **settings: Any) -> Problem:
    """Digits and their classes under two heads, the main one and an auxiliary one."""
    x, y = cases.data.digits()

    def losses(model: nn.Module, batch: Pair) -> Tensor:
        both = model(batch[0]).chunk(2, dim=1)
        return torch.stack([F.cross_entropy(head, batch[1], reduction="none") for head in both], 1)

    return problem(
        model=lambda: network(64, 20),
        data=(x, y),
        losses=losses,
        columns=lambda _: {"elements": 1},
        parts=("main", "auxiliary"),
        term_weight=weights,
        **settings,
    )


def nodes(**settings: Any) -> Problem:
    """Digits as the nodes of a graph, of which every third has a label that is known."""
    x, y = cases.data.digits()
    known = (torch.arange(len(x)) % 3 == 0).to(x)
    return problem(
        model=lambda: network(64, 10),
        data=(x, y, known),
        losses=lambda model, batch: cases.losses.cross_entropy(model, batch[:2]),
        columns=lambda batch: {"elements": 1, "weight": batch[2]},
        **settings,
    )


BETA = 0.1


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


class TwoSides(nn.Module):
    """Features of either half of a digit, and the factor of their products."""

    def __init__(self) -> None:
        super().__init__()
        self.sides = nn.ModuleList([nn.Linear(32, 4), nn.Linear(32, 4)])
        self.logit_scale = nn.Parameter(torch.tensor(1.5))

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        """`[samples, samples]` how well each left half goes with each right one."""
        one, other = self.sides
        logits: Tensor = self.logit_scale * one(left) @ other(right).T
        return logits


def pairs(**settings: Any) -> Problem:
    """The upper and the lower half of a digit, to be told from those of the others in the batch."""
    upper, lower = cases.data.digits()[0].chunk(2, dim=1)
    return problem(
        model=TwoSides,
        data=(upper, lower),
        losses=contrast,
        columns=lambda _: {"elements": 1},
        **settings,
    )


def contrast(model: nn.Module, batch: Pair) -> Tensor:
    """`[samples]` the mean of the two cross-entropies of each pair, all of the batch being the others."""
    logits = model(*batch)
    labels = torch.arange(len(logits))
    return sum(F.cross_entropy(side, labels, reduction="none") for side in (logits, logits.T)) / 2  # type: ignore[return-value]


def both_ways(**settings: Any) -> Problem:
    """The same pairs, the upper half in search of the lower one and the other way round as two copies."""

    def losses(model: nn.Module, batch: Pair) -> Tensor:
        logits = model(*batch)
        labels = torch.arange(len(logits))
        ways = [F.cross_entropy(side, labels, reduction="none") for side in (logits, logits.T)]
        return torch.stack(ways, 1)

    return replace(pairs(**settings), losses=losses, parts=("a", "b"), part_kind="copies")


class Context(nn.Module):
    """A word from the mean of the vectors of those around it."""

    def __init__(self) -> None:
        super().__init__()
        self.part, self.head = nn.Embedding(128, 6), nn.Linear(6, 128)

    def forward(self, words: Tensor) -> Tensor:
        """`[samples, 128]` the logits, from `[samples, 4]` words."""
        logits: Tensor = self.head(self.part(words).mean(1))
        return logits


def context(**settings: Any) -> Problem:
    """The character in the middle of five, from the other four."""
    tokens = cases.data.text()[0][:, 10:15]
    return problem(
        model=Context,
        data=(tokens[:, [0, 1, 3, 4]], tokens[:, 2]),
        losses=cases.losses.cross_entropy,
        columns=lambda _: {"elements": 1},
        **settings,
    )


def variational(weights: tuple[float, float] = (1.0, 1.0), **settings: Any) -> Problem:
    """An autoencoder of digits: 64 pixels restored, and the divergence of 3 latents, with means alone."""
    return problem(
        model=lambda: nn.Sequential(nn.Linear(64, 3), nn.Linear(3, 64)),
        data=cases.data.digits(),
        losses=lambda model, batch: torch.stack(variational_losses(model, batch), 1),
        columns=lambda _: {"elements": torch.tensor([64, 3]).expand(8, 2)},
        parts=("reconstruction", "divergence"),
        term_weight=weights,
        **settings,
    )


def variational_losses(model: Any, batch: Pair) -> tuple[Tensor, Tensor]:
    """`[samples]` each: the cross-entropy of the pixels, and `½‖μ‖²`, the divergence."""
    x, _ = batch
    latent = model[0](x)
    restored = F.binary_cross_entropy_with_logits(model[1](latent), x, reduction="none").sum(1)
    return restored, 0.5 * latent.square().sum(1)


def with_penalty(problem: Problem, select: str = "", factor: float = 1.0) -> Problem:
    """The problem with `factor·½‖w‖²` added, over the parameters whose names begin with `select`."""

    def penalty(model: nn.Module) -> Tensor:
        squares = [p.square().sum() for name, p in model.named_parameters() if name.startswith(select)]
        return factor * 0.5 * torch.stack(squares).sum()

    return replace(problem, regulariser=penalty)


def split(batch: Any, pieces: int) -> list[Any]:
    """The batch cut evenly into micro-batches, or over ranks."""
    cut = [tensor.chunk(pieces) for tensor in batch]
    return list(zip(*cut, strict=True))


def _classes(model: nn.Module, batch: Pair) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


def _mse(model: nn.Module, batch: Pair) -> Tensor:
    return F.mse_loss(model(batch[0]), batch[1])


def _huber(model: nn.Module, batch: Pair) -> Tensor:
    return F.smooth_l1_loss(model(batch[0]), batch[1])


def _tokens(model: nn.Module, batch: Pair) -> Tensor:
    return F.cross_entropy(model(batch[0]).flatten(0, 1), batch[1].flatten())


def _views(model: nn.Module, batch: Pair) -> Tensor:
    views, classes = batch
    return F.cross_entropy(model(views.flatten(0, 1)), classes.repeat_interleave(views.shape[1]))


def _anchors(model: nn.Module, batch: Triple) -> Tensor:
    classes, places = box_losses(model, batch)
    return classes.mean() + places[batch[1] > 0].mean()


def _actor_critic(model: nn.Module, batch: Triple) -> Tensor:
    gain, square, negentropy = policy_losses(model, batch)
    return gain.mean() + 0.5 * square.mean() + 0.01 * negentropy.mean()


def _evidence(model: nn.Module, batch: Pair) -> Tensor:
    restored, divergence = variational_losses(model, batch)
    return restored.mean() / 64 + divergence.mean()


def _heads(model: nn.Module, batch: Pair) -> Tensor:
    main, auxiliary = model(batch[0]).chunk(2, dim=1)
    return F.cross_entropy(main, batch[1]) + F.cross_entropy(auxiliary, batch[1])


def _contrast(model: nn.Module, batch: Pair) -> Tensor:
    return contrast(model, batch).mean()


def _nodes(model: nn.Module, batch: Triple) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


def _preferences(model: nn.Module, batch: Sequence[Tensor]) -> Tensor:
    chosen, rejected = (
        -losses.sum(1) / mask.sum(1)
        for losses, mask in (token_losses(model, p) for p in (batch[:2], batch[2:]))
    )
    return -F.logsigmoid(BETA * (chosen - rejected)).mean()


CLASSES = Port("F.cross_entropy(logits, classes)", _classes)
MSE = Port("F.mse_loss(outputs, targets)", _mse)
HUBER = Port("F.smooth_l1_loss(q, targets)", _huber)
TOKENS = Port("F.cross_entropy(logits.flatten(0, 1), targets.flatten())", _tokens)
VIEWS = Port("F.cross_entropy(torch.cat(views), classes)", _views)
ANCHORS_AND_BOXES = Port("F.binary_cross_entropy_with_logits(…) + F.smooth_l1_loss(…)", _anchors)
ACTOR_CRITIC = Port("gain.mean() + 0.5 * F.mse_loss(v, r) - 0.01 * entropy.mean()", _actor_critic)
EVIDENCE = Port("F.binary_cross_entropy_with_logits(…) + kl.mean()", _evidence)
HEADS = Port("F.cross_entropy(main, classes) + F.cross_entropy(auxiliary, classes)", _heads)
CONTRAST = Port("(F.cross_entropy(logits, i) + F.cross_entropy(logits.T, i)) / 2", _contrast)
NODES = Port("F.cross_entropy(logits, classes)", _nodes)
PREFERENCES = Port("-F.logsigmoid(beta * (chosen.mean(1) - rejected.mean(1))).mean()", _preferences)
