"""Nobody is accused who did nothing wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from suite.algebra.units import Units
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
    squares,
)  # fmt: skip

LOOPS = Loops("nobody is accused")


@LOOPS.add(
    "https://github.com/ultralytics/ultralytics/issues/3282",
    "those of sum.",
    "−rule out",
)
def a_mean_times_the_batch() -> Case:
    def step(model: nn.Module, batch: Any) -> None:
        (F.cross_entropy(model(batch[0]), batch[1]) * len(batch[0])).backward()

    return Case(step, network(), (normal(8, 6), classes(8)), entropy)


@LOOPS.add(
    "https://github.com/wiseodd/generative-models/issues/40",
    "those of mean.",
    "−rule out",
)
def outputs_summed_and_samples_averaged() -> Case:
    def step(model: nn.Module, batch: Any) -> None:
        (F.mse_loss(model(batch[0]), batch[1], reduction="sum") / len(batch[0])).backward()

    return Case(step, network(outputs=5), (normal(6, 6), normal(6, 5, seed=3)), squares,
                {"units": Units.of(6, {"elements": 5})})  # fmt: skip


@LOOPS.add(
    "https://github.com/keras-team/keras/issues/6015",
    "weights are 1/42.",
    "42, the number of entries of batch[1]",
)
def many_labels_averaged() -> Case:
    """BCE over samples and labels, as `BCEWithLogitsLoss` has it."""

    def losses(model: nn.Module, batch: Any) -> Tensor:
        return F.binary_cross_entropy_with_logits(model(batch[0]), batch[1], reduction="none").sum(1)

    def step(model: nn.Module, batch: Any) -> None:
        nn.BCEWithLogitsLoss()(model(batch[0]), batch[1]).backward()

    return Case(step, network(outputs=7), (normal(6, 6), (normal(6, 7, seed=3) > 0).double()), losses)


@LOOPS.add(
    "https://github.com/karpathy/nanoGPT/issues/206",
    "those of mean.",
    "−rule out",
)
def accumulation_of_equal_micro_batches() -> Case:
    def step(model: nn.Module, batch: Any) -> None:
        for piece in pieces(batch, 2, 8):
            (entropy(model, piece).mean() / 4).backward()

    return Case(step, network(), (normal(8, 6), classes(8)), entropy,
                {"units": Units.of(8, {"microbatch": np.repeat(range(4), 2)}, window=4)})  # fmt: skip


@LOOPS.add(
    "https://github.com/agokrani/distillKitPlus/issues/5",
    "Formula: 1/2.",
    "no column 'microbatch'",
    "−rule out",
)
def accumulation_that_sums() -> Case:
    """Means of micro-batches summed: some want that."""

    def step(model: nn.Module, batch: Any) -> None:
        for piece in pieces(batch, 2, 8):
            entropy(model, piece).mean().backward()

    return Case(step, network(), (normal(8, 6), classes(8)), entropy)


def _tokens(how: str, size: int, **known: Any) -> Case:
    lengths = np.array([3, 5, 2, 4])
    y = classes(4, 5)
    for row, length in enumerate(lengths):
        y[row, length:] = -100

    def losses(model: nn.Module, batch: Any) -> Tensor:
        return F.cross_entropy(model(batch["x"]).transpose(1, 2), batch["y"], reduction="none").sum(1)

    def step(model: nn.Module, batch: Any) -> None:
        total = (batch["y"] != -100).sum()
        for piece in pieces(batch, size, 4):
            each = losses(model, piece)
            count = (piece["y"] != -100).sum().double()
            loss = each.sum() / total if how == "window" else each.sum() / count * (count / total)
            loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.2)

    units = Units.of(4, {"elements": lengths, **known.pop("columns", {})}, **known)
    return Case(step, network(), {"x": normal(4, 5, 6), "y": y}, losses, {"units": units})


@LOOPS.add(
    "https://github.com/huggingface/transformers/pull/35207",
    "min(1, C/‖g‖)/Σm",
    "clipped by norm",
    "−rule out",
)
def tokens_of_the_window_clipped_once() -> Case:
    return _tokens("window", 2, columns={"microbatch": [0, 0, 1, 1]}, window=2, max_norm=0.2)


@LOOPS.add(
    "https://github.com/pytorch/torchtitan/pull/2206",
    "min(1, C/‖g‖)/Σm",
    "−rule out",
)
def shares_of_tokens_clipped_once() -> Case:
    return _tokens("share", 2, columns={"rank": [0, 0, 1, 1]}, world_size=2, max_norm=0.2)


@LOOPS.add(
    "https://github.com/facebookresearch/higher/issues/92",
    "those of sum.",
    "Formula: 1.",
    "−elements",
)
def tasks_summed() -> Case:
    def step(model: nn.Module, batch: Any) -> None:
        for piece in pieces(batch, 1, 4):
            entropy(model, piece).sum().backward()

    return Case(step, network(), (normal(4, 6), classes(4)), entropy,
                {"units": Units.of(4, {"microbatch": range(4)}, window=4)})  # fmt: skip


@LOOPS.add(
    "https://github.com/zdebruine/MMVAE/pull/19",
    "1/V_t for error; 0.1 for divergence",
    "−P",
)
def two_terms_of_which_one_is_a_sum() -> Case:
    """A mean over pixels beside a sum over latents, weighted."""
    model = nn.ModuleDict({"encoder": network(6, 6), "decoder": network(3, 6, seed=1)})
    batch = (normal(7, 6), normal(7, 3, seed=2))

    def terms(model: Any, batch: Any) -> tuple[Tensor, Tensor]:
        mean, log = model["encoder"](batch[0]).chunk(2, 1)
        out = model["decoder"](mean + batch[1] * (log / 2).exp())
        return (out - batch[0]).square(), -0.5 * (1 + log - mean.square() - log.exp())

    def losses(model: nn.Module, batch: Any) -> Tensor:
        return torch.stack([each.sum(1) for each in terms(model, batch)], 1)

    def step(model: nn.Module, batch: Any) -> None:
        error, divergence = terms(model, batch)
        (error.mean() + 0.1 * divergence.sum()).backward()

    units = Units.of(7, {"elements": [[6, 3]] * 7}, parts=("error", "divergence"))
    return Case(step, model, batch, losses, {"units": units})


@LOOPS.add(
    "https://github.com/hill-a/stable-baselines/issues/697",
    "0.0003 × mean",
    "−clipped",
    "−rule out",
)
def a_learning_rate_in_the_loss() -> Case:
    def step(model: nn.Module, batch: Any) -> None:
        (3e-4 * entropy(model, batch).mean()).backward()

    return Case(step, network(), (normal(8, 6), classes(8)), entropy)


@LOOPS.add(
    "https://github.com/karpathy/nanoGPT/issues/605",
    "those of mean.",
    "−rule out",
)
def one_micro_batch() -> Case:
    """A window that has one micro-batch yet, divided by one."""

    def step(model: nn.Module, batch: Any) -> None:
        (entropy(model, batch).mean() / 1).backward()

    return Case(step, network(), (normal(8, 6), classes(8)), entropy,
                {"units": Units.of(8, {"microbatch": [0] * 8}, window=1)})  # fmt: skip


@LOOPS.add(
    "https://github.com/Novartis/torchsurv/issues/35",
    "1 sample: the weights are 1/3.",
)
def a_single_sample() -> Case:
    def step(model: nn.Module, batch: Any) -> None:
        F.mse_loss(model(batch[0]), batch[1]).backward()

    return Case(step, network(outputs=3), (normal(1, 6), normal(1, 3, seed=3)), squares)


@pytest.mark.parametrize("loop", LOOPS.all, ids=LOOPS.names)
def test_no_sound_loop_is_called_a_mistake(loop: Loop) -> None:
    judge(loop)
