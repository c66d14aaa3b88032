"""Advice on the optimizers that people have, and the report's text on their batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from suite.algebra.units import Units
from suite.recovery import assert_convention
from tests.recovery.others.kit import (
    Case,
    Loop,
    Loops,
    classes,
    entropy,
    found,
    judge,
    network,
    normal,
    pieces,
)  # fmt: skip

ADVICE = Loops("advice")
TEXT = Loops("text")


def _summed(optimizer: torch.optim.Optimizer) -> Any:
    def step(model: nn.Module, batch: Any) -> None:
        optimizer.zero_grad()
        entropy(model, batch).sum().backward()
        optimizer.step()

    return step


def _advised(optimizer: torch.optim.Optimizer, model: nn.Module) -> Case:
    return Case(_summed(optimizer), model, (normal(8, 6), classes(8)), entropy, {"optimizer": optimizer})


@ADVICE.add(
    "https://github.com/facebookresearch/detectron2/issues/2127",
    "lr 0.1 → 0.0125, weight_decay 0.0001 → 0.0008",
)
def decay_in_plain_sgd() -> Case:
    model = network()
    return _advised(torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=1e-4), model)


@ADVICE.add(
    "https://github.com/rutgerswiselab/NCR/issues/2",
    "group 0 (0.weight, 2.weight): eps 1e-08 → 8e-08",
    "group 1 (0.bias",
)
def adam_with_decay_in_one_of_two_groups() -> Case:
    model = network()
    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": 0.01},
        {"params": [p for p in model.parameters() if p.ndim == 1], "weight_decay": 0.0, "lr": 2e-3},
    ]
    return _advised(torch.optim.AdamW(groups, 1e-3), model)


@ADVICE.add("https://github.com/hill-a/stable-baselines/issues/697", "eps 1e-05 → 8e-05")
def rmsprop_of_actor_and_critic() -> Case:
    model = network()
    return _advised(torch.optim.RMSprop(model.parameters(), 7e-4, eps=1e-5), model)


def advice(case: Case) -> str:
    options = dict(case.options)
    with pytest.raises(AssertionError) as refused:
        assert_convention(case.step, case.model, case.batch, case.losses, "mean", **options)
    return str(refused.value)


@pytest.mark.parametrize("loop", ADVICE.all, ids=ADVICE.names)
def test_advice_fits_the_optimizer(loop: Loop) -> None:
    said = advice(loop.make())
    assert not [part for part in loop.said if part not in said], said


@TEXT.add(
    "https://github.com/orybkin/sigma-vae-pytorch/pull/12",
    "1/n for image; 1/(2·n) for kl; 10/n for style", "samples 0 – 31 style", "−condition nan",
)  # fmt: skip
def three_terms_of_many_samples() -> Case:
    def losses(model: nn.Module, batch: Any) -> Tensor:
        out = model(batch)
        return torch.stack([out[:, :2].square().sum(1), out[:, 2].exp(), out[:, 3].square()], 1)

    def step(model: nn.Module, batch: Any) -> None:
        image, kl, style = losses(model, batch).mean(0)
        (image + 0.5 * kl + 10 * style).backward()

    return Case(
        step,
        network(width=64),
        normal(32, 6),
        losses,
        {"units": Units.of(32, parts=("image", "kl", "style"))},
    )


@TEXT.add("https://github.com/pytorch/torchtitan/issues/1842", "samples 0, 2, 4, 6", "samples 1, 3, 5, 7")
def ranks_that_take_turns() -> Case:
    def step(model: nn.Module, batch: Any) -> None:
        x, y = batch
        (entropy(model, (x[::2], y[::2])).mean() / 2).backward()
        (entropy(model, (x[1::2], y[1::2])).sum() / 2).backward()

    return Case(step, network(), (normal(8, 6), classes(8)), entropy)


@TEXT.add(
    "https://github.com/Novartis/torchsurv/issues/35",
    "1 sample:",
    "sample 0 ",
    "−condition nan",
    "−1 samples",
)
def a_batch_of_one() -> Case:
    def step(model: nn.Module, batch: Any) -> None:
        entropy(model, batch).mean().backward()

    return Case(step, network(), (normal(1, 6), classes(1)), entropy)


@TEXT.add(
    "https://github.com/omoindrot/tensorflow-triplet-loss/issues/25", "the step's gradient is zero", "−nan"
)
def nothing_left_to_learn() -> Case:
    """All triplets are easy: every loss is zero."""

    def losses(model: nn.Module, batch: Any) -> Tensor:
        return F.relu(model(batch).square().sum(1) * 0 - 1)

    def step(model: nn.Module, batch: Any) -> None:
        losses(model, batch).mean().backward()

    return Case(step, network(), normal(5, 6), losses)


@TEXT.add("https://github.com/karpathy/nanoGPT/issues/605", "runs of 4, 4, 2 samples", "window=3")
def neighbours_that_share() -> Case:
    """Micro-batches that the units table does not know of."""

    def step(model: nn.Module, batch: Any) -> None:
        for piece in pieces(batch, 4, 10):
            (entropy(model, piece).mean() / 3).backward()

    return Case(step, network(), (normal(10, 6), classes(10)), entropy)


@pytest.mark.parametrize("loop", TEXT.all, ids=TEXT.names)
def test_a_report_is_short_and_plain(loop: Loop) -> None:
    case = loop.make()
    judge(loop)
    report = found(case)
    assert repr(report) == str(report)
    assert len(str(report).splitlines()) < 24
    assert "<table>" in report._repr_html_()
    assert np.isfinite(report.residual)
