"""What a loop divides by is named from its batch."""

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
)  # fmt: skip

LOOPS = Loops("denominators from the batch")


@LOOPS.add(
    "https://github.com/keras-team/keras-hub/pull/2791",
    "weights are 1/6.",
    "6, the number of positive entries of batch[1]",
    "−cannot tell",
)
def anchors_of_which_some_are_ignored() -> Case:
    anchor = torch.tensor([[1, 0, 0, -1, 1], [0, 0, 0, -1, -1], [1, 1, 1, 0, 0], [0, -1, 1, 0, 0]])

    def losses(model: nn.Module, batch: Any) -> Tensor:
        x, state = batch
        each = F.binary_cross_entropy_with_logits(model(x), (state == 1).double(), reduction="none")
        return torch.where(state >= 0, each, 0.0).sum(1)

    def step(model: nn.Module, batch: Any) -> None:
        (losses(model, batch).sum() / (batch[1] == 1).sum().clamp(min=1)).backward()

    return Case(step, network(outputs=5), (normal(4, 6), anchor), losses)


@LOOPS.add(
    "https://github.com/eladhoffer/utils.pytorch/issues/4",
    "weights are 1/21.",
    "21, the number of entries of batch[1]",
)
def padding_counted() -> Case:
    """The sum over tokens that are no padding, over all tokens."""
    y = classes(3, 7, c=4)
    for row, length in enumerate((7, 4, 2)):
        y[row, length:] = -100

    def losses(model: nn.Module, batch: Any) -> Tensor:
        scores = model(batch[0]).flatten(0, 1)
        each = F.cross_entropy(scores, batch[1].flatten(), reduction="none", label_smoothing=0.1)
        return each.view_as(batch[1]).sum(1)

    def step(model: nn.Module, batch: Any) -> None:
        (losses(model, batch).sum() / batch[1].numel()).backward()

    return Case(step, network(), (normal(3, 7, 6), y), losses)


@LOOPS.add(
    "https://github.com/pytorch/pytorch/issues/73205",
    "weights are 1/5.",
    "5, the number of losses that are not zero or the entries other than -100 of batch[1]",
)
def smoothed_labels_with_ignored_samples() -> Case:
    y = torch.tensor([0, -100, 2, 3, -100, 1, 1])

    def losses(model: nn.Module, batch: Any) -> Tensor:
        return F.cross_entropy(model(batch[0]), batch[1], reduction="none", label_smoothing=0.2)

    def step(model: nn.Module, batch: Any) -> None:
        F.cross_entropy(model(batch[0]), batch[1], label_smoothing=0.2).backward()

    return Case(step, network(), (normal(7, 6), y), losses)


@LOOPS.add(
    "https://github.com/IGNF/lidar-prod/pull/2",
    "5.82524 × mean",
    "−divisor",
)
def a_smoothed_count_of_the_rare_class() -> Case:
    """A divisor that is no count of anything: it is not called one."""
    y = torch.tensor([0, 0, 1, 0, 0, 1, 0, 1, 0])

    def step(model: nn.Module, batch: Any) -> None:
        rare = (batch[1] == 1).sum()
        (entropy(model, batch).sum() / ((rare + len(batch[1]) / 100) / 2)).backward()

    return Case(step, network(), (normal(9, 6), y), entropy)


@LOOPS.add(
    "https://github.com/omoindrot/tensorflow-triplet-loss/issues/55",
    "cannot tell it from 1/(losses that are not zero)",
)
def triplets_that_are_not_easy() -> Case:
    def losses(model: nn.Module, batch: Any) -> Tensor:
        a, p, n = (model(part) for part in batch)
        return F.triplet_margin_loss(a, p, n, margin=0.3, reduction="none")

    def step(model: nn.Module, batch: Any) -> None:
        each = losses(model, batch)
        (each.sum() / (each > 0).sum()).backward()

    x = normal(9, 6)
    return Case(step, network(), (x, x + 0.3 * normal(9, 6, seed=3), normal(9, 6, seed=4)), losses)


@LOOPS.add(
    "https://github.com/GMvandeVen/continual-learning/issues/5",
    "cannot tell it from 0.4/n, 4/60 (60 is the number of entries of batch[1]); a batch in which ",
)
def soft_targets_averaged_over_classes() -> Case:
    def losses(model: nn.Module, batch: Any) -> Tensor:
        return -(batch[1] * (model(batch[0]) / 2).log_softmax(1)).sum(1)

    def step(model: nn.Module, batch: Any) -> None:
        (-(batch[1] * (model(batch[0]) / 2).log_softmax(1)).mean() * 2**2).backward()

    return Case(step, network(outputs=10), (normal(6, 6), normal(6, 10, seed=3).softmax(1)), losses)


@LOOPS.add(
    "https://github.com/jingyaogong/minimind/issues/749",
    "those of partial-window-over-full-k",
    "1/(W·n_k), W = 4",
)
def a_last_window_that_is_short() -> Case:
    """Three micro-batches of 2, each divided by the 4 of a full window."""

    def step(model: nn.Module, batch: Any) -> None:
        for piece in pieces(batch, 2, 6):
            (entropy(model, piece).mean() / 4).backward()

    units = Units.of(6, {"microbatch": np.repeat(range(3), 2)}, window=4)
    return Case(step, network(), (normal(6, 6), classes(6)), entropy, {"units": units})


@LOOPS.add(
    "https://github.com/facebookresearch/fairseq/issues/494",
    "those of element-mean",
    "1/Σm, Σm = 14",
)
def an_average_over_ranks_undone() -> Case:
    """Sums on each rank are averaged, then multiplied by the ranks over all tokens."""
    lengths = torch.tensor([3, 5, 2, 4])
    mask = (torch.arange(5)[None] < lengths[:, None]).double()

    def losses(model: nn.Module, batch: Any) -> Tensor:
        scores = model(batch["x"]).transpose(1, 2)
        return (F.cross_entropy(scores, batch["y"], reduction="none") * batch["mask"]).sum(1)

    def step(model: nn.Module, batch: Any) -> None:
        for mine in pieces(batch, 2, 4):
            (losses(model, mine).sum() / 2).backward()
        for p in model.parameters():
            assert p.grad is not None
            p.grad.mul_(2 / batch["mask"].sum())

    batch = {"x": normal(4, 5, 6), "y": classes(4, 5), "mask": mask}
    units = Units.of(4, {"rank": [0, 0, 1, 1], "elements": lengths.numpy()}, world_size=2)
    return Case(step, network(), batch, losses, {"units": units})


def _replayed(reduce: str) -> Case:
    def losses(model: nn.Module, batch: Any) -> Tensor:
        x, a, target, _ = batch
        return (model(x).gather(1, a[:, None]).squeeze(1) - target).square()

    def step(model: nn.Module, batch: Any) -> None:
        weighted = batch[3] * losses(model, batch)
        (weighted.mean() if reduce == "mean" else weighted.sum() / batch[3].sum()).backward()

    weights = (normal(8, seed=5).abs() + 0.1) / 3
    return Case(step, network(), (normal(8, 6), classes(8), normal(8, seed=4), weights), losses)


@LOOPS.add(
    "https://github.com/openai/baselines/issues/1131",
    "weights are batch[3]/n",
)
def replay_with_importance_weights() -> Case:
    return _replayed("mean")


@LOOPS.add(
    "https://github.com/google-research/seed_rl/issues/3",
    "the sum of batch[3]",
)
def replay_with_normalised_weights() -> Case:
    return _replayed("sum of weights")


@LOOPS.add(
    "https://github.com/DLR-RM/stable-baselines3/issues/485",
    "(batch[2] less its mean)/(n·1.03325)",
    "1.03325, the standard deviation of batch[2] + 1e-08",
)
def advantages_normalised_per_batch() -> Case:
    def losses(model: nn.Module, batch: Any) -> Tensor:
        return -torch.distributions.Categorical(logits=model(batch[0])).log_prob(batch[1])

    def step(model: nn.Module, batch: Any) -> None:
        gain = (batch[2] - batch[2].mean()) / (batch[2].std() + 1e-8)
        (gain * losses(model, batch)).mean().backward()

    return Case(step, network(), (normal(8, 6), classes(8), normal(8, seed=5)), losses)


@LOOPS.add(
    "https://github.com/openai/baselines/issues/544",
    "weights are (batch[2] less its mean),",
)
def returns_less_a_baseline() -> Case:
    """REINFORCE with the mean return as its baseline."""

    def losses(model: nn.Module, batch: Any) -> Tensor:
        return -torch.distributions.Categorical(logits=model(batch[0])).log_prob(batch[1])

    def step(model: nn.Module, batch: Any) -> None:
        ((batch[2] - batch[2].mean()) * losses(model, batch)).sum().backward()

    return Case(step, network(), (normal(8, 6), classes(8), normal(8, seed=5)), losses)


@LOOPS.add(
    "https://github.com/areal-project/AReaL/pull/303",
    'weights are (batch["r"] less the mean of its 4, over their standard deviation + 0.0001)/n',
)
def advantages_of_groups() -> Case:
    """GRPO: the rewards of the four answers to a question, standardised among themselves."""

    def losses(model: nn.Module, batch: Any) -> Tensor:
        return -torch.distributions.Categorical(logits=model(batch["x"])).log_prob(batch["a"])

    def step(model: nn.Module, batch: Any) -> None:
        reward = batch["r"].view(-1, 4)
        gain = (reward - reward.mean(1, keepdim=True)) / (reward.std(1, keepdim=True) + 1e-4)
        (gain.flatten() * losses(model, batch)).mean().backward()

    batch = {"x": normal(8, 6), "a": classes(8), "r": normal(8, seed=5)}
    return Case(step, network(), batch, losses)


@LOOPS.add(
    "https://github.com/pytorch/pytorch/issues/91383",
    "the weights are w_y/Σw.",
    "w_y is one weight for each value of batch[1], up to a common factor: 1 for 0, 3 for 1, 10 for 2, "
    "2 for 3. With these in the column 'weight' of the units table, the step is weighted-mean.",
)
def class_weights_that_the_table_lacks() -> Case:
    weights = torch.tensor([1.0, 3.0, 10.0, 2.0], dtype=torch.float64)
    y = torch.tensor([0, 1, -100, 2, 3, 0, 2, 1])
    return Case(
        lambda model, batch: F.cross_entropy(model(batch[0]), batch[1], weights).backward(),
        network(), (normal(8, 6), y), entropy,
    )  # fmt: skip


@LOOPS.add(
    "https://github.com/haitongli/knowledge-distillation-pytorch/issues/48",
    "weights are 10/18.",
    "18, the number of entries of batch[1]",
)
def a_mean_of_outputs_times_ten() -> Case:
    def losses(model: nn.Module, batch: Any) -> Tensor:
        return (model(batch[0]) - batch[1]).square().sum(1)

    return Case(
        lambda model, batch: (10 * F.mse_loss(model(batch[0]), batch[1])).backward(),
        network(outputs=3), (normal(6, 6), normal(6, 3, seed=3)), losses,
    )  # fmt: skip


def _segmented(count_ignored: bool) -> Case:
    y = classes(4, 5, 5, c=3)
    y[0, :2], y[2, 3:], y[3] = 255, 255, torch.where(y[3] == 0, 255, y[3])
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), nn.Tanh(), nn.Conv2d(6, 3, 1)).double()

    def losses(model: nn.Module, batch: Any) -> Tensor:
        return F.cross_entropy(model(batch[0]), batch[1], ignore_index=255, reduction="none").sum((1, 2))

    def step(model: nn.Module, batch: Any) -> None:
        if count_ignored:
            F.cross_entropy(model(batch[0]), batch[1], ignore_index=255, reduction="none").mean().backward()
        else:
            F.cross_entropy(model(batch[0]), batch[1], ignore_index=255).backward()

    return Case(step, model, (normal(4, 2, 5, 5), y), losses)


@LOOPS.add(
    "https://github.com/open-mmlab/mmsegmentation/pull/1409",
    "weights are 1/71.",
    "71, the number of entries other than 255 of batch[1]",
)
def pixels_that_are_not_ignored() -> Case:
    return _segmented(count_ignored=False)


@LOOPS.add(
    "https://github.com/open-mmlab/mmsegmentation/issues/886",
    "weights are 1/100.",
    "100, the number of entries of batch[1]",
)
def pixels_ignored_and_counted() -> Case:
    return _segmented(count_ignored=True)


@LOOPS.add(
    "https://github.com/dmlc/dgl/issues/455",
    "weights are 1/5.",
    "True entries of batch[3]",
)
def nodes_of_a_graph_that_are_trained_on() -> Case:
    """A graph convolution; the loss is the mean over the training nodes."""
    adjacency = (normal(9, 9, seed=6) > 0.5).double() + torch.eye(9, dtype=torch.float64)
    train = torch.tensor([1, 0, 1, 1, 0, 0, 1, 0, 1]).bool()

    def scores(model: nn.Module, batch: Any) -> Tensor:
        x, near, *_ = batch
        return near @ model(near @ x) / 9

    def losses(model: nn.Module, batch: Any) -> Tensor:
        return F.cross_entropy(scores(model, batch), batch[2], reduction="none") * batch[3]

    def step(model: nn.Module, batch: Any) -> None:
        F.cross_entropy(scores(model, batch)[batch[3]], batch[2][batch[3]]).backward()

    return Case(step, network(), (normal(9, 6), adjacency, classes(9), train), losses)


@LOOPS.add(
    "https://github.com/huggingface/transformers/issues/34242",
    "1/10 for words; 1/n for next",
    'divisor for words is 10, the number of entries other than -100 of batch["words"]',
)
def masked_words_and_sentences() -> Case:
    """A language model of masked words, whose mean is over the masked ones, and a mean over sentences."""
    words = torch.where(normal(4, 6, seed=3) > 0.6, classes(4, 6), -100)
    words[:, 0] = 1
    model = nn.ModuleDict({"words": network(), "next": network(outputs=2, seed=1)})
    batch = {"x": normal(4, 6, 6), "words": words, "next": classes(4, c=2)}

    def terms(model: Any, batch: Any, how: str) -> tuple[Tensor, Tensor]:
        scores = model["words"](batch["x"]).transpose(1, 2)
        order = model["next"](batch["x"].mean(1))
        return (
            F.cross_entropy(scores, batch["words"], reduction=how),
            F.cross_entropy(order, batch["next"], reduction=how),
        )

    def losses(model: nn.Module, batch: Any) -> Tensor:
        words, order = terms(model, batch, "none")
        return torch.stack([words.sum(1), order], 1)

    def step(model: nn.Module, batch: Any) -> None:
        sum(terms(model, batch, "mean")).backward()  # type: ignore[union-attr]

    return Case(step, model, batch, losses, {"units": Units.of(4, parts=("words", "next"))})


@LOOPS.add(
    "https://github.com/ultralytics/yolov3/issues/2082",
    "1/2 for fine; 2/15 for coarse",
    "15, the number of entries of batch[2]",
    "−1/d",
)
def means_times_the_batch_size() -> Case:
    """Two scales with a weight each; each is a mean over its cells, and all is multiplied by the batch."""

    def losses(model: nn.Module, batch: Any) -> Tensor:
        x, fine, coarse = batch
        out = model(x)
        cells = F.binary_cross_entropy_with_logits(out[:, :8], fine, reduction="none")
        large = F.binary_cross_entropy_with_logits(out[:, 8:], coarse, reduction="none")
        return torch.stack([cells.sum(1), large.sum(1)], 1)

    def step(model: nn.Module, batch: Any) -> None:
        x, fine, coarse = batch
        out = model(x)
        loss = 4.0 * F.binary_cross_entropy_with_logits(out[:, :8], fine)
        loss = loss + 0.4 * F.binary_cross_entropy_with_logits(out[:, 8:], coarse)
        (loss * len(x)).backward()

    batch = (normal(5, 6), (normal(5, 8, seed=2) > 0).double(), (normal(5, 3, seed=3) > 0).double())
    return Case(step, network(outputs=11), batch, losses, {"units": Units.of(5, parts=("fine", "coarse"))})


@LOOPS.add(
    "https://github.com/k2-fsa/icefall/pull/2081",
    "weights are 1/39.",
    "39, the sum of batch[2]",
)
def frames_of_utterances() -> Case:
    """CTC summed, over all frames of the batch."""
    frames, symbols = torch.tensor([12, 9, 11, 7]), torch.tensor([3, 2, 4, 1])
    batch = (normal(4, 12, 7), torch.randint(1, 4, (4, 4)), frames, symbols)

    def losses(model: nn.Module, batch: Any) -> Tensor:
        x, y, frames, symbols = batch
        scores = model(x).log_softmax(2).transpose(0, 1)
        return F.ctc_loss(scores, y, frames, symbols, reduction="none")

    def step(model: nn.Module, batch: Any) -> None:
        (losses(model, batch).sum() / batch[2].sum()).backward()

    return Case(step, network(7, 4), batch, losses)


@LOOPS.add(
    "https://github.com/huggingface/blog/pull/2414",
    'The divisor is 22, the number of entries other than -100 of batch["labels"][:, 1:].',
    "−a constant",
)
def next_words_of_a_model_that_shifts() -> Case:
    """A causal model of Hugging Face: it shifts the labels itself, and some are ignored."""
    torch.manual_seed(0)
    words = classes(5, 7, c=20)
    labels = words.clone()
    labels[0, 4:], labels[2, 2:] = -100, -100
    model = nn.Sequential(nn.Embedding(20, 8), nn.Tanh(), nn.Linear(8, 20)).double()

    def each(model: nn.Module, batch: Any, reduction: str) -> Tensor:
        scores = model(batch["input_ids"])[:, :-1].transpose(1, 2)
        return F.cross_entropy(scores, batch["labels"][:, 1:], reduction=reduction)

    batch = {"input_ids": words, "labels": labels, "attention_mask": torch.ones_like(words)}
    step = lambda model, batch: each(model, batch, "mean").backward()  # noqa: E731  one line
    return Case(step, model, batch, lambda model, batch: each(model, batch, "none").sum(1))


@pytest.mark.parametrize("loop", LOOPS.all, ids=LOOPS.names)
def test_a_divisor_is_called_what_it_is(loop: Loop) -> None:
    judge(loop)
