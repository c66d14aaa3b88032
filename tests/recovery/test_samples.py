"""Batches as people have them: what holds the samples is recognised, or a rule is asked for."""

from __future__ import annotations

from collections import UserDict
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from suite.errors import UsageError
from suite.recovery import assert_convention, recover

WEIGHTS = torch.tensor([0.5, 0.0, 1.0, 0.25, 2.0], dtype=torch.float64)


def network(inputs: int = 6) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(inputs, 12), nn.Tanh(), nn.Linear(12, 3)).double()


MODEL = network()
X, Y = torch.randn(5, 6, dtype=torch.float64), torch.tensor([0, 2, 1, 1, 0])
PIECES = [(x, y) for x, y in zip(X, Y, strict=True)]


@dataclass
class Example:
    """A batch with the names of its files."""

    x: Tensor
    y: Tensor
    files: tuple[str, ...] = ("a", "b", "c", "d", "e")
    epoch: int = 3


@dataclass(frozen=True)
class Frozen:
    """It cannot be assigned to."""

    x: Tensor
    y: Tensor


class Keyed(UserDict):
    """What tokenizers return."""


def entries(x, y) -> Tensor:
    return F.cross_entropy(MODEL(x), y, reduction="none")


def weighted_by(losses):
    return lambda model, batch: (WEIGHTS * losses(model, batch)).sum().backward()


def of_attributes(model, batch) -> Tensor:
    return F.cross_entropy(model(batch.x), batch.y, reduction="none")


def of_keys(model, batch) -> Tensor:
    return F.cross_entropy(model(batch["in"]["x"]), batch["y"], reduction="none")


def of_pairs(model, batch) -> Tensor:
    x, y = map(torch.stack, zip(*batch, strict=True))
    return F.cross_entropy(model(x), y, reduction="none")


TARGETS = [{"boxes": X[:k, :4] + k, "image": k} for k in (2, 4, 1, 3, 3)]
"""What a detector is given for each image: so many boxes, and a number that is no tensor."""


def of_targets(model, batch) -> Tensor:
    x, targets = batch
    boxes = torch.stack([target["boxes"].sum() + target["image"] for target in targets])
    return F.cross_entropy(model(x), Y[: len(x)], reduction="none") + boxes * model(x).square().mean(1)


def of_named_targets(model, batch) -> Tensor:
    return of_targets(model, (batch["x"], batch["more"]["targets"]))


@pytest.mark.parametrize(
    ("batch", "losses"),
    [
        (Example(X, Y), of_attributes),
        (Frozen(X, Y), of_attributes),
        (SimpleNamespace(x=X, y=Y), of_attributes),
        ({"in": {"x": X, "note": None}, "y": Y, "files": list("abcde"), "rows": np.arange(5)}, of_keys),
        (Keyed({"in": {"x": X}, "y": Y}), of_keys),
        (PIECES, of_pairs),
        (tuple(PIECES), of_pairs),
        ((X, TARGETS), of_targets),
        ({"x": X, "more": {"targets": tuple(TARGETS), "epoch": 3}}, of_named_targets),
    ],
    ids=[
        "dataclass",
        "frozen",
        "namespace",
        "nested",
        "mapping",
        "list",
        "tuple",
        "targets",
        "named targets",
    ],
)
def test_any_layout_has_its_weights(batch, losses) -> None:
    found = recover(weighted_by(losses), MODEL, batch, losses)
    assert np.abs(found.weights - WEIGHTS.numpy()).max() <= 1e-9


@pytest.mark.parametrize("kind", [list, tuple])
def test_two_samples_and_their_targets_are_no_list_of_two_samples(kind) -> None:
    def step(model, batch):
        (torch.tensor([1.0, 3.0]).double() * of_targets(model, batch)).sum().backward()

    found = recover(step, MODEL, kind([X[:2], TARGETS[:2]]), of_targets)
    assert np.abs(found.weights - [1, 3]).max() <= 1e-9


def test_images_that_may_be_cut_by_channel_or_by_image_are_asked_about() -> None:
    images = [torch.randn(3, size, size, dtype=torch.float64) for size in (4, 5, 6)]

    def losses(model, batch):
        means = torch.stack([image.mean((1, 2)) for image in batch["images"]])
        return F.cross_entropy(model(means.repeat(1, 2)), batch["y"], reduction="none") * len(
            batch["boxes"][0]
        )

    batch = {"images": images, "y": Y[:3], "boxes": [X[:k] for k in (2, 5, 1)]}
    with pytest.raises(UsageError, match="give select="):
        recover(weighted_by(losses), MODEL, batch, losses)


def padded(samples) -> tuple[Tensor, Tensor]:
    """Sequences of unequal length, padded to the longest of them."""
    x = nn.utils.rnn.pad_sequence([x for x, _ in samples], batch_first=True)
    return x, torch.stack([y for _, y in samples])


RAGGED = [(torch.randn(k, 6, dtype=torch.float64), y) for k, y in zip((3, 1, 4, 2, 5), Y, strict=True)]


def of_padded(model, batch) -> Tensor:
    x, y = batch
    return F.cross_entropy(model(x.sum(1)), y, reduction="none")


def test_a_list_of_samples_goes_through_its_collate_function() -> None:
    found = recover(weighted_by(of_padded), MODEL, RAGGED, of_padded, collate=padded)
    assert np.abs(found.weights - WEIGHTS.numpy()).max() <= 1e-9


def test_pieces_are_collated_from_their_samples() -> None:
    """Losses that couple samples, taken in pieces of the list as a loader would make them."""

    def coupled(model, batch):
        out = model(batch[0].sum(1))
        return F.cross_entropy(out - out.mean(0), batch[1], reduction="none")

    def step(model, batch):
        x, y = batch
        for rows in (slice(0, 3), slice(3, 5)):
            (coupled(model, (x[rows], y[rows])).sum() / 5).backward()

    found = recover(step, MODEL, RAGGED, coupled, collate=padded)
    assert found.cause.name == "coupled losses"
    assert found.cause.convention == "mean"


def test_parts_with_samples_of_their_own_follow_each_other() -> None:
    """Two labelled samples, then three unlabelled ones, each with a term of its kind."""
    batch = {"labelled": (X[:2], Y[:2]), "unlabelled": X[2:]}

    def losses(model, batch):
        x, y = batch["labelled"]
        known = F.cross_entropy(model(x), y, reduction="none")
        p = model(batch["unlabelled"]).softmax(1)
        return torch.cat([known, -(p * p.log()).sum(1)])

    def step(model, batch):
        every = losses(model, batch)
        (every[:2].mean() + 0.1 * every[2:].mean()).backward()

    found = recover(step, MODEL, batch, losses)
    assert np.abs(found.weights - [0.5, 0.5, 0.1 / 3, 0.1 / 3, 0.1 / 3]).max() <= 1e-9


def second_axis(batch, rows) -> tuple[Tensor, Tensor]:
    return batch[0][:, rows], batch[1][rows]


def of_time_first(model, batch) -> Tensor:
    return F.cross_entropy(model(batch[0].sum(0)), batch[1], reduction="none")


def test_a_rule_takes_samples_out_of_any_layout() -> None:
    """Time first, samples second."""
    batch = torch.randn(4, 5, 6, dtype=torch.float64), Y
    step = weighted_by(of_time_first)
    found = recover(step, MODEL, batch, of_time_first, select=second_axis)
    assert np.abs(found.weights - WEIGHTS.numpy()).max() <= 1e-9


def test_a_rule_takes_single_samples_for_experiments() -> None:
    """The dice of the whole batch is no sum over samples, and on each sample alone it is that sample's."""

    def dice(model, batch, *axes):
        p = model(batch[0].sum(0)).softmax(1)
        hit = (p * F.one_hot(batch[1], 3)).sum(axes)
        return 1 - 2 * hit / (p.square().sum(axes) + F.one_hot(batch[1], 3).sum(axes))

    batch = torch.randn(4, 5, 6, dtype=torch.float64), Y
    found = recover(
        lambda model, batch: dice(model, batch, 0, 1).backward(),
        MODEL,
        batch,
        lambda model, batch: dice(model, batch, 1),
        select=second_axis,
    )
    assert found.cause.name == "the step couples the samples"


def test_an_assertion_takes_the_same_rules() -> None:
    def step(model, batch):
        of_padded(model, batch).mean().backward()

    assert_convention(step, MODEL, RAGGED, of_padded, "mean", collate=padded)


def fails(*_) -> None:
    raise KeyError("x")


@pytest.mark.parametrize(
    ("batch", "losses", "rules", "said"),
    [
        ((X, Y, torch.ones(3)), of_pairs, {}, r"the losses failed"),
        ((torch.randn(4, 5, 6).double(), Y), of_time_first, {}, r"losses of 5 samples.*of 4, 5:.*select="),
        (
            (X, Y, torch.ones(3)), lambda m, b: of_padded(m, (b[0][:, None], b[1])), {},
            r"first axes of 5, 5, 3: all must be the number of samples\. Take out .*class weights",
        ),
        (list(X), lambda m, b: entries(torch.stack(b), Y), {}, r"each of them is a sample, give select="),
        ((X, Y), of_time_first, {"select": second_axis, "collate": padded}, "give one of them"),
        ({"x": X}, of_padded, {"collate": padded}, "collate makes a batch of a list of samples.*dict"),
        (RAGGED, of_padded, {"collate": fails}, r"collate failed \(test_samples.py:\d+\): KeyError"),
        (
            (torch.randn(4, 5, 6).double(), Y), of_time_first, {"select": fails},
            r"select failed \(test_samples.py:\d+\): KeyError.*select\(batch, rows\)",
        ),
        ((X, object()), of_padded, {}, "a batch holds a object: it must be made of tensors"),
    ],
)  # fmt: skip
def test_a_batch_that_will_not_do_is_refused_with_what_to_do(batch, losses, rules, said) -> None:
    with pytest.raises(UsageError, match=said):
        recover(lambda model, batch: losses(model, batch).sum().backward(), MODEL, batch, losses, **rules)
