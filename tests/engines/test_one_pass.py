"""The sizes, the engine and the check have one forward pass between them."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import suite
from cases import models
from suite.engines import engines
from suite.engines.size import size_of
from suite.errors import CaseError
from suite.machine.allocations import peak_tensor_bytes

BATCH = (torch.randn(5, 6, dtype=torch.float64), torch.tensor([0, 2, 1, 1, 0]))


class Counted:
    def __init__(self) -> None:
        self.passes: list[int] = []

    def __call__(self, model, batch):
        self.passes.append(len(batch[0]))
        return F.cross_entropy(model(batch[0]), batch[1], reduction="none")


def plain(model, batch):
    return F.cross_entropy(model(batch[0]), batch[1], reduction="none")


@pytest.mark.parametrize("name", engines.names)
def test_the_batch_goes_forward_as_often_as_the_engine_needs_and_no_more(name: str) -> None:
    losses, model = Counted(), models.mlp(6, 5, 3).double()
    found = suite.per_sample_gradients(model, BATCH, losses, engine=name)
    assert found.engine == name
    # Autograd sees another graph than engines that have none of the whole batch, or are held against it.
    assert len(losses.passes) == (1 if engines[name].one_pass else 2)
    assert found.size == size_of(model, BATCH, plain)


def test_an_engine_that_takes_over_begins_anew_and_the_size_is_known() -> None:
    losses, model = Counted(), nn.Sequential(nn.Linear(6, 5), nn.ReLU(inplace=True), nn.Linear(5, 3)).double()
    found = suite.per_sample_gradients(model, BATCH, losses, engine="opacus")
    assert found.engine == "streaming"
    assert found.size == size_of(model, BATCH, plain)


@pytest.mark.parametrize("name", engines.names)
def test_an_engine_and_its_check_see_the_same_dropout(name: str) -> None:
    model = nn.Sequential(nn.Linear(6, 5), nn.Dropout(0.5), nn.Linear(5, 3)).double()
    torch.manual_seed(3)
    found = suite.per_sample_gradients(model, BATCH, plain, engine=name)
    torch.manual_seed(3)
    plain(model, BATCH).sum().backward()
    if name != "torch-func":  # draws one mask for all samples
        assert dict(found.refused) == {}
        expected = torch.cat([p.grad.flatten() for p in model.parameters()])
        torch.testing.assert_close(found.reduce([[1.0] * 5])[0], expected)


@pytest.mark.parametrize("name", engines.names)
def test_an_overwritten_tensor_is_found_as_autograd_finds_it(name: str) -> None:
    def spoilt(model, batch):
        out = model(batch[0]).sigmoid()
        loss = out.square().sum(1)
        out.mul_(2)
        return loss

    with pytest.raises(CaseError, match="modified by an inplace operation"):
        suite.per_sample_gradients(models.mlp(6, 5, 3).double(), BATCH, spoilt, engine=name)


class Held:
    """What a node of the graph holds."""


class Holding(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, held):
        ctx.held = held
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient, None


@pytest.mark.parametrize("name", ["opacus", "streaming"])
def test_the_graph_is_let_go(name: str) -> None:
    kept: list[weakref.ref] = []

    def watched(model, batch):
        held = Held()
        kept.append(weakref.ref(held))
        return plain(lambda x: Holding.apply(model(x), held), batch)

    found = suite.per_sample_gradients(models.mlp(6, 5, 3).double(), BATCH, watched, engine=name)
    gc.collect()
    assert found.engine == name
    assert kept[0]() is None


def test_a_graph_that_takes_much_of_the_memory_is_let_go_as_it_comes() -> None:
    def waves(model, batch):
        x = model(batch) * torch.linspace(0, 1, 2000, dtype=batch.dtype)
        for _ in range(10):
            x = x.sin()
        return x.sum(1)

    model, batch = nn.Linear(4, 1).double(), torch.randn(100, 4, dtype=torch.float64)
    saved = size_of(model, batch, waves).saved
    kept = []
    most, _ = peak_tensor_bytes(
        lambda: kept.append(suite.per_sample_gradients(model, batch, waves, memory=saved // 2)),
        [batch, *model.parameters()],
    )
    assert kept[0].size.saved == saved
    assert most < saved // 2
