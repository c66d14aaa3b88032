"""One loss a sample, or one a view, a head or a term: digits, and the progression of a disease."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor, nn

import cases
from cases.papers.problems_common import Pair, Triple, network, problem, split
from suite.case import Problem
from suite.replication.step import Port


def images(**settings: Any) -> Problem:
    """Digits and their classes."""
    return problem(
        model=lambda: network(64, 10),
        data=cases.data.digits(),
        losses=cases.losses.cross_entropy,
        columns=lambda _: {"elements": 1},
        **settings,
    )


RHO = 0.05


def sharpness(ranks: int, **settings: Any) -> Problem:
    """The same where the gradient of each rank's mean loss takes the weights."""

    def losses(model: nn.Module, batch: Pair) -> Tensor:
        return torch.cat([sharpness_losses(model, rank) for rank in split(batch, ranks)])

    return replace(images(ranks=ranks, **settings), losses=losses)


def sharpness_losses(model: nn.Module, batch: Pair) -> Tensor:
    """`[samples]` the losses at `w + ρ·g/‖g‖`, g their mean's gradient at w; none flows through it."""
    images, labels = batch
    named = dict(model.named_parameters())
    gradient = torch.autograd.grad(F.cross_entropy(model(images), labels), list(named.values()))
    norm = torch.cat([g.flatten() for g in gradient]).norm()
    moved = {name: p + RHO * g / norm for (name, p), g in zip(named.items(), gradient, strict=True)}
    outputs = torch.func.functional_call(model, moved, (images,))
    return F.cross_entropy(outputs, labels, reduction="none")


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


def _classes(model: nn.Module, batch: Pair) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


def _mse(model: nn.Module, batch: Pair) -> Tensor:
    return F.mse_loss(model(batch[0]), batch[1])


def _huber(model: nn.Module, batch: Pair) -> Tensor:
    return F.smooth_l1_loss(model(batch[0]), batch[1])


def _views(model: nn.Module, batch: Pair) -> Tensor:
    views, classes = batch
    return F.cross_entropy(model(views.flatten(0, 1)), classes.repeat_interleave(views.shape[1]))


def _heads(model: nn.Module, batch: Pair) -> Tensor:
    main, auxiliary = model(batch[0]).chunk(2, dim=1)
    return F.cross_entropy(main, batch[1]) + F.cross_entropy(auxiliary, batch[1])


def _nodes(model: nn.Module, batch: Triple) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


def _evidence(model: nn.Module, batch: Pair) -> Tensor:
    restored, divergence = variational_losses(model, batch)
    return restored.mean() / 64 + divergence.mean()


CLASSES = Port("F.cross_entropy(logits, classes)", _classes)

MSE = Port("F.mse_loss(outputs, targets)", _mse)

HUBER = Port("F.smooth_l1_loss(q, targets)", _huber)

VIEWS = Port("F.cross_entropy(torch.cat(views), classes)", _views)

HEADS = Port("F.cross_entropy(main, classes) + F.cross_entropy(auxiliary, classes)", _heads)

NODES = Port("F.cross_entropy(logits, classes)", _nodes)

EVIDENCE = Port("F.binary_cross_entropy_with_logits(…) + kl.mean()", _evidence)
