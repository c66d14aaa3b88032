"""Trainings that an audit could disturb or misread: each ends in the bits that it ends in alone."""

from __future__ import annotations

import copy
import dataclasses
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import suite
from tests.watch.runs import Pairs, batches, losses, network

SIZES = (3, 2, 4, 5)


@dataclasses.dataclass
class Batch:
    """What some models are called with."""

    x: Tensor
    y: Tensor


class Whole(nn.Module):
    """A model that is called with a dataclass."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = network(dtype=torch.float32)

    def forward(self, batch: Batch) -> Tensor:
        return F.cross_entropy(self.inside(batch.x), batch.y)


class Tied(nn.Module):
    """A weight that is used in two places."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.first(torch.tanh(self.first(x)))))


def pairs() -> list[Any]:
    return batches(*SIZES, dtype=torch.float32)


Loop = Callable[[nn.Module, Any], None]


def each(optimizer: Callable[[nn.Module], Any], scheduler: Any = None, **zero: Any) -> Loop:
    """A step a batch."""

    def loop(model: nn.Module, see: Any) -> None:
        made = optimizer(model)
        rates = scheduler(made) if scheduler else None
        for x, y in see(pairs()):
            made.zero_grad(**zero)
            F.cross_entropy(model(x), y).backward()
            made.step()
            if rates is not None:
                rates.step()

    return loop


def evaluated(model: nn.Module, see: Any) -> None:
    """Evaluation, an average of weights and noise between updates."""
    optimizer, average = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), copy.deepcopy(model)
    for x, y in see(pairs()):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        with torch.no_grad():
            for mine, its in zip(average.parameters(), model.parameters(), strict=True):
                mine.lerp_(its, 0.1)
        model.eval()
        with torch.inference_mode():
            model(x + torch.randn_like(x))
        model.train()


def twice_forward(model: nn.Module, see: Any) -> None:
    """Two forward passes before one backward pass."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    loader = iter(see(pairs()))
    for (x, y), (u, v) in zip(loader, loader, strict=True):
        optimizer.zero_grad()
        ((F.cross_entropy(model(x), y) + F.cross_entropy(model(u), v)) / 2).backward()
        optimizer.step()


def generated(model: nn.Module, see: Any) -> None:
    """A generator of batches, without a length."""

    def source() -> Iterator[Any]:
        yield from pairs()

    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for x, y in see(source()):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()


def dataclassed(model: nn.Module, see: Any) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for x, y in see(pairs()):
        optimizer.zero_grad()
        model(Batch(x, y)).backward()
        optimizer.step()


def checkpointed(reentrant: bool) -> Loop:
    def loop(model: nn.Module, see: Any) -> None:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for x, y in see(pairs()):
            optimizer.zero_grad()
            x.requires_grad_(requires_grad=True)
            F.cross_entropy(checkpoint(model, x, use_reentrant=reentrant), y).backward()
            optimizer.step()

    return loop


def inside_backward(model: nn.Module, see: Any) -> None:
    """One optimizer for each parameter, in its hook."""
    owners = {p: torch.optim.Adam([p], lr=0.1) for p in model.parameters()}

    def step(p: Tensor) -> None:
        owners[p].step()
        owners[p].zero_grad()

    handles = [p.register_post_accumulate_grad_hook(step) for p in model.parameters()]
    for x, y in see(pairs()):
        F.cross_entropy(model(x), y).backward()
    for handle in handles:
        handle.remove()


def second_order(model: nn.Module, see: Any) -> None:
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=3)
    for x, y in see(pairs()):

        def closure(x: Tensor = x, y: Tensor = y) -> Tensor:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            return loss

        optimizer.step(closure)


def sgd(model: nn.Module) -> Any:
    return torch.optim.SGD(model.parameters(), lr=0.1)


def fused(model: nn.Module) -> Any:
    return torch.optim.AdamW(model.parameters(), lr=0.1, fused=True)


def foreach(model: nn.Module) -> Any:
    return torch.optim.AdamW(model.parameters(), lr=0.1, foreach=True)


def decaying(optimizer: Any) -> Any:
    return torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)


def dropping() -> nn.Module:
    return network(nn.BatchNorm1d(12), nn.Dropout(0.4), dtype=torch.float32)


def plain() -> nn.Module:
    return network(dtype=torch.float32)


def tied() -> nn.Module:
    torch.manual_seed(0)
    return Tied()


def whole() -> nn.Module:
    return Whole()


def of_the_inside(model: Whole, batch: Any) -> Tensor:
    return losses(model.inside, batch)


# The loop, the model, its losses, and the convention of every update; none where an update has no name.
LOOPS: dict[str, tuple[Loop, Callable[[], nn.Module], Any, str]] = {
    "fused optimizers": (each(fused), plain, losses, "mean"),
    "foreach optimizers": (each(foreach), plain, losses, "mean"),
    "a scheduler's step": (each(sgd, decaying), plain, losses, "mean"),
    "gradients that are set to zero": (each(sgd, set_to_none=False), plain, losses, "mean"),
    "evaluation between updates": (evaluated, dropping, losses, "mean"),
    "two forward passes": (twice_forward, plain, losses, "mean-of-microbatch-means"),
    "a weight in two places": (each(sgd), tied, losses, "mean"),
    "a generator of batches": (generated, plain, losses, "mean"),
    "a model called with a dataclass": (dataclassed, whole, of_the_inside, "mean"),
    "reentrant checkpoints": (checkpointed(True), plain, losses, "mean"),
    "checkpoints": (checkpointed(False), plain, losses, "mean"),
    "steps inside the backward pass": (inside_backward, plain, losses, "mean"),
    "L-BFGS": (second_order, plain, losses, "mean"),
}


def alone(batch: Any) -> Any:
    return batch


@pytest.mark.parametrize("name", LOOPS)
def test_a_training_ends_in_its_own_bits_and_its_updates_are_told(name) -> None:
    loop, make, given, convention = LOOPS[name]
    left = []
    for watched in (False, True):
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002
        model = make()
        model.train()
        torch.manual_seed(7)
        if watched:
            with suite.watch(model, given) as audit:
                loop(model, audit.see)
        else:
            loop(model, alone)
        tensors = [*model.parameters(), *model.buffers()]
        tensors += [p.grad for p in model.parameters() if p.grad is not None]
        drawn = torch.tensor([random.random(), np.random.rand(), float(torch.rand(()))])  # noqa: NPY002, S311
        left.append([*(t.detach().clone() for t in tensors), drawn])
    assert len(left[0]) == len(left[1])
    assert all(torch.equal(a, b) for a, b in zip(*left, strict=True))
    assert not audit.failures
    assert len(audit.updates) >= 2
    assert all(convention in update.names for update in audit.updates), audit


def test_two_models_that_train_against_each_other_are_two_audits() -> None:
    torch.manual_seed(0)
    maker, judge = nn.Linear(2, 6), nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1))
    first, second = (torch.optim.Adam(m.parameters(), lr=0.1) for m in (maker, judge))

    def judged(model: nn.Module, batch: Any) -> Tensor:
        return F.softplus(-model(batch)).flatten()

    def made(model: nn.Module, batch: Any) -> Tensor:
        return F.softplus(-frozen(model(batch))).flatten()

    with suite.watch(judge, judged) as of_judge:
        for n in (3, 4):
            F.softplus(-judge(torch.randn(n, 6))).mean().backward()
            second.step()
            second.zero_grad()
    frozen = copy.deepcopy(judge)
    with suite.watch(maker, made) as of_maker:
        for n in (3, 4):
            F.softplus(-frozen(maker(torch.randn(n, 2)))).mean().backward()
            first.step()
            first.zero_grad()
    of_judge.assert_convention("mean")
    of_maker.assert_convention("mean")


def ends(model: nn.Module, audit: Any) -> None:
    for x, y in audit.see(pairs()):
        F.cross_entropy(model(x), y).backward()
        raise KeyboardInterrupt


def test_an_exception_of_the_training_is_passed_on_and_leaves_nothing_behind() -> None:
    model = plain()
    with pytest.raises(KeyboardInterrupt), suite.watch(model, losses) as audit:
        ends(model, audit)
    assert not model._forward_pre_hooks
    assert not audit.running
    with suite.watch(model, losses) as again:
        each(sgd)(model, again.see)
    again.assert_convention("mean")


def test_targets_by_keyword_and_a_half_of_a_batch_that_is_left_out() -> None:
    model = Pairs(plain())
    optimizer = sgd(model)
    with suite.watch(model, suite.losses.classification) as audit:
        for x, y in pairs()[:2]:
            optimizer.zero_grad()
            model(x=x, labels=y, name="not a tensor")["loss"].backward()
            optimizer.step()
    audit.assert_convention("mean")


def goes_on(model: nn.Module, see: Any) -> None:
    """The second batch fails in the model; the loop goes on without it."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for number, (x, y) in enumerate(see(pairs())):
        optimizer.zero_grad()
        try:
            F.cross_entropy(model(x[:, :5] if number == 1 else x), y).backward()
        except RuntimeError:
            continue
        optimizer.step()


def test_a_batch_that_failed_is_told_and_left_out() -> None:
    model = plain()
    with suite.watch(model, losses) as audit:
        goes_on(model, audit.see)
    assert [update.units.n for update in audit.updates] == [3, 4, 5]
    audit.assert_convention("mean")
    assert "Micro-batch 0 (from 0) has weight 0" in audit.updates[1].notes[0]
