"""Losses that couple samples, and steps that minimise something else: told apart by experiment."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.recovery.others.kit import (
    Case,
    Loop,
    Loops,
    classes,
    entropy,
    judge,
    network,
    normal,
    pieces,
)  # fmt: skip

LOOPS = Loops("coupled losses")


def _distances(x: Tensor) -> Tensor:
    return (x[:, None] - x[None]).square().sum(-1).add(1e-12).sqrt()


def _hardest(model: nn.Module, batch: Any) -> Tensor:
    far, same = _distances(model(batch[0])), batch[1][:, None] == batch[1][None]
    positive = far.masked_fill(~same, -1).max(1).values
    negative = far.masked_fill(same, 1e9).min(1).values
    return F.relu(positive - negative + 1.0)


@LOOPS.add(
    "https://github.com/VisualComputingInstitute/triplet-reid/issues/6",
    "those of mean.",
)
def hardest_triplets_of_the_batch() -> Case:
    y = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])
    return Case(
        lambda model, batch: _hardest(model, batch).mean().backward(),
        network(), (normal(8, 6), y), _hardest,
    )  # fmt: skip


@LOOPS.add(
    "https://github.com/KevinMusgrave/pytorch-metric-learning/issues/20",
    "coupled losses",
    "takes them in pieces of 4",
    "those of mean",
)
def hardest_triplets_of_micro_batches() -> Case:
    y = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])

    def step(model: nn.Module, batch: Any) -> None:
        for piece in pieces(batch, 4, 8):
            (_hardest(model, piece).mean() / 2).backward()

    return Case(step, network(), (normal(8, 6), y), _hardest)


def _supervised(model: nn.Module, batch: Any) -> Tensor:
    z, y = F.normalize(model(batch[0]), dim=1), batch[1]
    own = torch.eye(len(z), dtype=torch.bool)
    log = (z @ z.T / 0.2).masked_fill(own, -1e9).log_softmax(1)
    same = (y[:, None] == y[None]) & ~own
    return -(log * same).sum(1) / same.sum(1).clamp(min=1)


@LOOPS.add(
    "https://github.com/lightly-ai/lightly/pull/1877",
    "coupled losses",
    "takes them in pieces of 4",
    "those of mean",
)
def supervised_contrast_on_two_ranks() -> Case:
    """Each rank contrasts its own samples; gradients are averaged."""
    y = torch.tensor([0, 0, 1, 1, 0, 1, 0, 1])

    def step(model: nn.Module, batch: Any) -> None:
        for mine in pieces(batch, 4, 8):
            (_supervised(model, mine).mean() / 2).backward()

    return Case(step, network(), (normal(8, 6), y), _supervised)


@LOOPS.add(
    "https://github.com/mlfoundations/open_clip/issues/616",
    "those of mean.",
)
def images_and_texts() -> Case:
    """CLIP with the logit scale as a parameter."""
    model = nn.ModuleDict({"image": network(outputs=5), "text": network(outputs=5, seed=1)})
    model.register_parameter("scale", nn.Parameter(torch.tensor(2.0, dtype=torch.float64)))

    def losses(model: Any, batch: Any) -> Tensor:
        a, b = (F.normalize(model[k](x), dim=1) for k, x in zip(("image", "text"), batch, strict=True))
        scores, own = model.scale.exp() * a @ b.T, torch.arange(len(a))
        ways = (F.cross_entropy(s, own, reduction="none") for s in (scores, scores.T))
        return sum(ways) / 2  # type: ignore[return-value]

    return Case(
        lambda model, batch: losses(model, batch).mean().backward(),
        model, (normal(6, 6), normal(6, 6, seed=2)), losses,
    )  # fmt: skip


@LOOPS.add(
    "https://github.com/facebookresearch/barlowtwins/issues/10",
    "coupled samples or another function",
)
def redundancy_reduction() -> Case:
    """Barlow Twins: the cross-correlation of the batch; `losses` are of pairs alone."""

    def losses(model: nn.Module, batch: Any) -> Tensor:
        return (model(batch[0]) - model(batch[1])).square().sum(1)

    def step(model: nn.Module, batch: Any) -> None:
        a, b = (model(view) for view in batch)
        a, b = ((z - z.mean(0)) / z.std(0) for z in (a, b))
        c = a.T @ b / len(a)
        own = torch.diagonal(c)
        ((own - 1).square().sum() + 0.005 * (c.square().sum() - own.square().sum())).backward()

    x = normal(8, 6)
    return Case(step, network(), (x, x + 0.2 * normal(8, 6, seed=3)), losses)


@LOOPS.add(
    "https://github.com/jaredleekatzman/DeepSurv/issues/71",
    "weights are 1/6.",
    "non-zero entries of batch[2]",
)
def a_partial_likelihood() -> Case:
    """Cox: each event against all that are still at risk."""

    def losses(model: nn.Module, batch: Any) -> Tensor:
        x, time, event = batch
        risk = model(x).squeeze(1)
        still = time[None] >= time[:, None]
        return (
            -(risk - risk.masked_fill(~still, -1e9).logsumexp(1)) * event
            if risk.ndim == 2
            else (-(risk - torch.where(still, risk[None], -1e9).logsumexp(1)) * event)
        )

    def step(model: nn.Module, batch: Any) -> None:
        (losses(model, batch).sum() / batch[2].sum()).backward()

    batch = (normal(8, 6), normal(8, seed=2).abs(), (normal(8, seed=3) > -0.3).double())
    return Case(step, network(outputs=1), batch, losses)


@LOOPS.add(
    "https://github.com/NifTK/NiftyNet/issues/22",
    "the step couples the samples",
    "on each of 4 samples alone it is a weighting",
)
def overlap_of_the_whole_batch() -> Case:
    """Generalised Dice of the batch, where Dice by image is given."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 5, 3, padding=1), nn.Tanh(), nn.Conv2d(5, 2, 1)).double()

    def dice(model: nn.Module, batch: Any, axes: tuple[int, ...]) -> Tensor:
        p = model(batch[0]).softmax(1)
        y = F.one_hot(batch[1], 2).permute(0, 3, 1, 2).to(p)
        return (1 - 2 * (p * y).sum(axes) / (p + y).sum(axes)).mean(-1)

    def step(model: nn.Module, batch: Any) -> None:
        dice(model, batch, (0, 2, 3)).backward()

    y = (normal(4, 6, 6, seed=2) > torch.tensor([0.0, 1.0, 0.5, -0.5])[:, None, None]).long()
    return Case(step, model, (normal(4, 1, 6, 6), y), lambda m, b: dice(m, b, (2, 3)))


@LOOPS.add(
    "https://github.com/BloodAxe/pytorch-toolbelt/issues/99",
    "neither `losses` nor a sum over samples",
    "do not add up",
)
def overlap_of_micro_batches() -> Case:
    """Batch dice in two pieces, where the losses are cross-entropies."""

    def losses(model: nn.Module, batch: Any) -> Tensor:
        return F.binary_cross_entropy_with_logits(model(batch[0]), batch[1], reduction="none").sum(1)

    def step(model: nn.Module, batch: Any) -> None:
        for x, y in pieces(batch, 3, 6):
            p = model(x).sigmoid()
            (1 - (2 * (p * y).sum() + 1) / (p.sum() + y.sum() + 1)).backward()

    y = (normal(6, 8, seed=2) > torch.linspace(-1, 1.5, 6, dtype=torch.float64)[:, None]).double()
    return Case(step, network(outputs=8), (normal(6, 6), y), losses)


@LOOPS.add(
    "https://github.com/facebookresearch/simsiam/issues/20",
    "the gradient of no function",
    "detached",
)
def a_stopped_gradient() -> Case:
    """SimSiam, whose losses were written without the `detach` of the step."""
    model = nn.ModuleDict({"encoder": network(outputs=5), "predictor": network(5, 5, seed=1)})

    def losses(model: Any, batch: Any, stop: bool = False) -> Tensor:
        z = [model["encoder"](view) for view in batch]
        p = [model["predictor"](each) for each in z]
        z = [each.detach() if stop else each for each in z]
        return -(F.cosine_similarity(p[0], z[1]) + F.cosine_similarity(p[1], z[0])) / 2

    def step(model: nn.Module, batch: Any) -> None:
        losses(model, batch, stop=True).mean().backward()

    x = normal(6, 6)
    return Case(step, model, (x, x + 0.2 * normal(6, 6, seed=3)), losses)


@LOOPS.add(
    "https://github.com/huggingface/transformers/pull/10338",
    "`losses` is not what the step minimises",
    "it minimises another function",
)
def other_labels() -> Case:
    """The step smooths its labels, and `losses` does not."""

    def step(model: nn.Module, batch: Any) -> None:
        F.cross_entropy(model(batch[0]), batch[1], label_smoothing=0.2).backward()

    return Case(step, network(), (normal(8, 6), classes(8)), entropy)


@LOOPS.add(
    "https://github.com/clcarwin/focal_loss_pytorch/issues/8",
    "The larger a sample's loss, the larger its weight, without exception",
)
def a_focal_factor() -> Case:
    """Focal loss in the step, cross-entropy in `losses`."""

    def step(model: nn.Module, batch: Any) -> None:
        each = entropy(model, batch)
        ((1 - (-each).exp()).square() * each).mean().backward()

    return Case(step, network(), (normal(8, 6), classes(8)), entropy)


@LOOPS.add(
    "https://github.com/kemaloksuz/RankSortLoss/issues/6",
    "those of no registered convention",
)
def pairs_ranked() -> Case:
    """All pairs of the batch are ranked (AUC); the losses are of single samples."""

    def losses(model: nn.Module, batch: Any) -> Tensor:
        return F.binary_cross_entropy_with_logits(model(batch[0]).squeeze(1), batch[1], reduction="none")

    def step(model: nn.Module, batch: Any) -> None:
        scores = model(batch[0]).squeeze(1)
        gaps = scores[batch[1] == 1][:, None] - scores[batch[1] == 0][None]
        F.relu(1 - gaps).square().mean().backward()

    y = torch.tensor([1.0, 0, 1, 0, 0, 1, 0, 0], dtype=torch.float64)
    return Case(step, network(outputs=1), (normal(8, 6), y), losses)


@LOOPS.add(
    "https://github.com/qubvel-org/segmentation_models.pytorch/issues/712",
    "the step couples the samples",
    "on each of 5 samples alone it is a weighting of the losses of that",
)
def overlap_along_the_samples_too() -> Case:
    """Dice over axes 0 and 2, where each image's own was meant."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 1, 1)).double()

    def dice(model: nn.Module, batch: Any, axes: tuple[int, ...]) -> Tensor:
        p, y = model(batch[0]).sigmoid().flatten(2), batch[1].flatten(2)
        return 1 - (2 * (p * y).sum(axes) + 1e-7) / ((p + y).sum(axes) + 1e-7)

    batch = (normal(5, 1, 6, 6), (normal(5, 1, 6, 6, seed=3) > 0.3).double())
    step = lambda model, batch: dice(model, batch, (0, 2)).mean().backward()  # noqa: E731  one line
    return Case(step, model, batch, lambda model, batch: dice(model, batch, (2,)).mean(1))


@LOOPS.add("https://github.com/modelscope/ms-swift/pull/10081", "those of half-mean.", "1/(2·n)")
def contrast_with_gathered_samples() -> Case:
    """Two ranks gather all embeddings, differentiate their own, and are averaged: half the gradient."""

    def contrast(a: Tensor, b: Tensor) -> Tensor:
        return F.cross_entropy(a @ b.T / 0.1, torch.arange(len(a)), reduction="none")

    def losses(model: nn.Module, batch: Any) -> Tensor:
        a, b = (F.normalize(model(view), dim=1) for view in batch)
        return contrast(a, b)

    def step(model: nn.Module, batch: Any) -> None:
        rank = torch.arange(8)[:, None] // 4
        for mine in range(2):
            views = (F.normalize(model(view), dim=1) for view in batch)
            a, b = (torch.where(rank == mine, view, view.detach()) for view in views)
            (contrast(a, b).mean() / 2).backward()

    x = normal(8, 6)
    return Case(step, network(), (x, x + 0.2 * normal(8, 6, seed=3)), losses)


@LOOPS.add(
    "https://github.com/vturrisi/solo-learn/issues/229", "those of mean.", "put back after each run: state"
)
def a_queue_of_negatives() -> Case:
    """MoCo: negatives are in a queue that each step moves on, positives of a network that follows."""
    model, slow = network(), network(seed=3).requires_grad_(requires_grad=False)
    state = {"queue": F.normalize(normal(16, 4, seed=8), dim=1), "at": 0}

    def losses(model: nn.Module, batch: Any) -> Tensor:
        a, b = F.normalize(model(batch[0]), dim=1), F.normalize(slow(batch[1]), dim=1)
        scores = torch.cat([(a * b).sum(1, keepdim=True), a @ state["queue"].T], 1) / 0.2
        return F.cross_entropy(scores, torch.zeros(len(a), dtype=torch.long), reduction="none")

    def step(model: nn.Module, batch: Any) -> None:
        losses(model, batch).mean().backward()
        with torch.no_grad():
            keys, at = F.normalize(slow(batch[1]), dim=1), state["at"]
            state["queue"][at : at + len(keys)] = keys
            state["at"] = (at + len(keys)) % 16
            for mine, theirs in zip(slow.parameters(), model.parameters(), strict=True):
                mine.mul_(0.99).add_(0.01 * theirs)

    x = normal(8, 6)
    return Case(step, model, (x, x + 0.1 * normal(8, 6, seed=3)), losses)


@LOOPS.add(
    "https://github.com/facebookresearch/higher/issues/63",
    "not the gradient of `losses`",
    "or changes gradients after the backward pass).",
    "those of mean.",
)
def first_order_only() -> Case:
    """First-order MAML: the gradient at the adapted copy, where `losses` go through the adaptation."""

    def adapted(model: nn.Module, x: Tensor, y: Tensor, *, through: bool) -> dict[str, Tensor]:
        fast = dict(model.named_parameters())
        loss = F.mse_loss(torch.func.functional_call(model, fast, (x,)), y)
        slopes = torch.autograd.grad(loss, list(fast.values()), create_graph=through)
        return {name: p - 0.1 * slope for (name, p), slope in zip(fast.items(), slopes, strict=True)}

    def tasks(model: nn.Module, batch: Any, *, through: bool) -> Tensor:
        each = []
        for x, y, new_x, new_y in zip(*batch, strict=True):
            fast = adapted(model, x, y, through=through)
            each.append(F.mse_loss(torch.func.functional_call(model, fast, (new_x,)), new_y))
        return torch.stack(each)

    def step(model: nn.Module, batch: Any) -> None:
        tasks(model, batch, through=False).mean().backward()

    batch = tuple(normal(4, 5, 1, seed=seed) for seed in range(4))
    return Case(step, network(1, 1, width=8), batch, lambda m, b: tasks(m, b, through=True))


@pytest.mark.parametrize("loop", LOOPS.all, ids=LOOPS.names)
def test_what_couples_and_what_is_another_function_is_told(loop: Loop) -> None:
    judge(loop)
