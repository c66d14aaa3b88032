"""Loops in bfloat16, float16, under autocast and with a loss scale."""

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
    judge,
    normal,
    pieces,
)  # fmt: skip

LOOPS = Loops("reduced precision")


def wide(dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(32, 96), nn.GELU(), nn.LayerNorm(96), nn.Linear(96, 5))
    return layers.to(dtype)


def given(dtype: torch.dtype = torch.float32, n: int = 8) -> Any:
    return normal(n, 32).to(dtype), classes(n, c=5)


@LOOPS.add(
    "https://github.com/NVIDIA/Megatron-LM/issues/502",
    "those of mean (", "rounding of bfloat16",
)  # fmt: skip
def accumulated_in_bfloat16() -> Case:
    def step(model: nn.Module, batch: Any) -> None:
        for piece in pieces(batch, 2, 8):
            (entropy(model, piece).mean() / 4).backward()

    units = Units.of(8, {"microbatch": np.repeat(range(4), 2)}, window=4)
    return Case(step, wide(torch.bfloat16), given(torch.bfloat16), entropy, {"units": units})


@LOOPS.add(
    "https://github.com/agokrani/distillKitPlus/issues/5",
    "Formula: 1/2.",
    "no column 'microbatch'",
    "rounding of bfloat16",
)
def accumulated_in_bfloat16_and_not_divided() -> Case:
    def step(model: nn.Module, batch: Any) -> None:
        for piece in pieces(batch, 2, 8):
            entropy(model, piece).mean().backward()

    return Case(step, wide(torch.bfloat16), given(torch.bfloat16), entropy)


@LOOPS.add(
    "https://github.com/wandb/senpai/pull/328", "those of mean (", "rounding of bfloat16 under autocast"
)
def losses_outside_of_autocast() -> Case:
    """The forward pass in bfloat16, the loss in float32."""

    def losses(model: nn.Module, batch: Any) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            out = model(batch[0])
        return F.cross_entropy(out.float(), batch[1], reduction="none")

    return Case(lambda model, batch: losses(model, batch).mean().backward(), wide(), given(), losses)


@LOOPS.add(
    "https://github.com/pytorch/examples/issues/1196",
    "× 1/n", "rounding of float16", "the norm stays at 0.007812",
)  # fmt: skip
def scaled_and_clipped_in_float16() -> Case:
    """minGPT's trainer: the scaled gradient is clipped."""
    model = wide()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=128.0)

    def step(model: nn.Module, batch: Any) -> None:
        with torch.autocast("cpu", torch.float16):
            loss = entropy(model, batch).mean()
        scaler.scale(loss).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)

    return Case(step, model, given(), entropy)


@LOOPS.add("https://github.com/pytorch/xla/pull/2425", "those of sum", "rounding of bfloat16")
def summed_in_bfloat16() -> Case:
    return Case(
        lambda model, batch: entropy(model, batch).sum().backward(),
        wide(torch.bfloat16), given(torch.bfloat16), entropy,
    )  # fmt: skip


@LOOPS.add("https://github.com/hp-l33/AiM/issues/10", "those of mean (", "rounding of float16")
def norms_kept_in_float32() -> Case:
    """A half-precision model whose LayerNorm stays in float32."""
    model = wide(torch.float16)
    model[2].float()

    def out(model: Any, x: Tensor) -> Tensor:
        x = model[1](model[0](x))
        return model[3](model[2](x.float()).half())

    def losses(model: nn.Module, batch: Any) -> Tensor:
        return F.cross_entropy(out(model, batch[0]).float(), batch[1], reduction="none")

    return Case(
        lambda model, batch: losses(model, batch).mean().backward(),
        model, given(torch.float16), losses,
    )  # fmt: skip


def in_single(model: nn.Module, batch: Any) -> Tensor:
    """The model in its own format, the loss in float32."""
    return F.cross_entropy(model(batch[0]).float(), batch[1], reduction="none")


@LOOPS.add("https://github.com/mgrankin/ru_transformers/issues/11", "those of mean (", "rounding of float16")
def master_gradients_of_a_scaled_loss() -> Case:
    """Apex: the loss is scaled, and float32 copies of the gradients are unscaled."""

    def step(model: nn.Module, batch: Any) -> list[Tensor]:
        (in_single(model, batch).mean() * 128).backward()
        return [p.grad.float() / 128 for p in model.parameters()]

    return Case(step, wide(torch.float16), given(torch.float16), in_single)


@LOOPS.add(
    "https://github.com/deepspeedai/DeepSpeed/pull/8588", "those of half-mean (", "rounding of float16"
)
def unscaled_by_the_next_scale() -> Case:
    """The scale grows between the backward pass and the division."""

    def step(model: nn.Module, batch: Any) -> None:
        (in_single(model, batch).mean() * 4).backward()
        for p in model.parameters():
            p.grad.div_(8)

    return Case(step, wide(torch.float16), given(torch.float16), in_single)


@LOOPS.add("https://github.com/NVIDIA/DeepLearningExamples/issues/625", "w_u/Σw", "rounding of bfloat16")
def class_weights_in_bfloat16() -> Case:
    weight = torch.tensor([1.0, 2.0, 0.5, 3.0, 1.0])
    batch = given(torch.bfloat16)

    def step(model: nn.Module, batch: Any) -> None:
        F.cross_entropy(model(batch[0]).float(), batch[1], weight=weight).backward()

    units = Units.of(8, {"weight": weight[batch[1]].numpy()})
    return Case(step, wide(torch.bfloat16), batch, in_single, {"units": units})


@pytest.mark.parametrize("loop", LOOPS.all, ids=LOOPS.names)
def test_rounding_is_told_with_what_is_beneath(loop: Loop) -> None:
    judge(loop)


MEANS = [row for row in LOOPS.all if "those of mean (" in row.said]


@pytest.mark.parametrize("loop", MEANS, ids=lambda row: row.make.__name__)
def test_twice_of_a_right_step_is_refused_and_it_is_accepted(loop: Loop) -> None:
    case = loop.make()

    def twice(model: nn.Module, batch: Any) -> Any:
        case.step(model, batch)
        for p in model.parameters():
            p.grad.mul_(2)

    assert_convention(case.step, case.model, case.batch, case.losses, "mean", **case.options)
    with pytest.raises(AssertionError, match="mean"):
        assert_convention(twice, case.model, case.batch, case.losses, "mean", **case.options)
