"""Batches of nested tensors."""

from __future__ import annotations

from collections import namedtuple
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from suite.errors import UsageError
from suite.loops import batch as batches

Pair = namedtuple("Pair", "x y")


@pytest.mark.parametrize(
    "batch",
    [
        torch.arange(6).reshape(3, 2),
        (torch.arange(3), torch.ones(3, 2)),
        [torch.arange(3)],
        {"x": torch.arange(3), "more": (torch.ones(3),)},
        Pair(torch.arange(3), torch.ones(3)),
    ],
)
def test_any_nesting_has_a_size_and_is_cut_by_samples(batch: object) -> None:
    assert batches.size(batch) == 3
    cut = batches.select(batch, slice(1, 3))
    assert type(cut) is type(batch)
    assert batches.size(cut) == 2


def test_casting_leaves_integers_alone() -> None:
    x, y = batches.to((torch.ones(2, dtype=torch.float64), torch.arange(2)), "cpu", torch.float32)
    assert (x.dtype, y.dtype) == (torch.float32, torch.int64)


@pytest.mark.parametrize(
    ("batch", "said"),
    [
        ((torch.ones(2), torch.ones(3)), "must be the number of samples"),
        (torch.ones(()), "must be the number of samples"),
        ((), "holds no tensor"),
        (("a", "b"), "holds no tensor"),
    ],
)
def test_tensors_without_one_number_of_samples_are_refused(batch: object, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        batches.size(batch)


def test_what_can_hold_no_tensor_is_refused() -> None:
    with pytest.raises(UsageError, match="a batch holds a object"):
        batches.size((torch.ones(2), object()))


def test_what_stands_beside_the_tensors_is_cut_where_it_has_an_item_for_each_sample() -> None:
    names = {"x": torch.ones(3), "files": ["a", "b", "c"], "rows": np.arange(3), "epoch": 7, "pair": (1, 2)}
    cut = batches.select(names, torch.tensor([2, 0]))
    assert cut["files"] == ["c", "a"]
    assert cut["rows"].tolist() == [2, 0]
    assert (cut["epoch"], cut["pair"]) == (7, (1, 2))


def test_objects_that_refer_to_each_other_are_looked_at_once() -> None:
    batch = SimpleNamespace(x=torch.ones(3))
    batch.store = SimpleNamespace(y=torch.zeros(3), of=batch)
    assert len(batches.tensors(batch)) == 2
    assert len(batches.select(batch, [1]).store.y) == 1
