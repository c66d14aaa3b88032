"""Models that share their numbers with another, and nothing else."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from cases import models
from suite.engines.sharing import only, sharing
from tests.benchmarks.families import FAMILIES


class Listing(nn.Module):
    """Knows its layers by other ways than their names, too."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.norm = nn.BatchNorm1d(3)
        self.again = {"order": [self.first, self.norm]}
        self.plain = torch.ones(3)

    def forward(self, x):
        for layer in self.again["order"]:
            x = layer(x)
        return x * self.plain


def tied() -> nn.Module:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    return model


MODELS = {
    "nested": lambda: models.mlp(3, 5, 3),
    "by other ways": Listing,
    "tied": tied,
    "twice": lambda: nn.Sequential(*[nn.Linear(3, 3)] * 2),
    "weight normalisation": lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(3, 3)), nn.Tanh()),
}


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_it_computes_what_the_model_does_with_parameters_of_its_own(make) -> None:
    model = make().double()
    state = copy.deepcopy(model.state_dict())
    twin, reference = sharing(model), copy.deepcopy(model)
    assert [n for n, _ in twin.named_parameters()] == [n for n, _ in model.named_parameters()]
    assert [type(m) for m in twin.modules()] == [type(m) for m in model.modules()]
    assert not {id(m) for m in twin.modules()} & {id(m) for m in model.modules()}
    x = torch.randn(4, 3, dtype=torch.float64)
    assert torch.equal(twin(x), reference(x))
    twin(x).sum().backward()
    assert all(p.grad is None for p in model.parameters())
    for ours, theirs in zip(twin.parameters(), model.parameters(), strict=True):
        assert ours is not theirs
        assert ours.data_ptr() == theirs.data_ptr()
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


def test_hooks_of_the_one_are_not_hooks_of_the_other() -> None:
    model = models.mlp(3, 5, 3)
    seen: list[nn.Module] = []
    model[0].register_forward_hook(lambda module, *_: seen.append(module))
    twin = sharing(model)
    twin[2].register_forward_hook(lambda module, *_: seen.append(module))
    twin(torch.randn(2, 3))
    assert seen == [twin[0], twin[2]]
    model(torch.randn(2, 3))
    assert seen[2:] == [model[0]]


def test_what_a_forward_pass_overwrites_is_a_copy() -> None:
    model = nn.Sequential(nn.Embedding(4, 3, max_norm=0.1), nn.BatchNorm1d(2))
    before = copy.deepcopy(model.state_dict())
    sharing(model)(torch.tensor([[0, 1], [2, 3]]))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_only_the_parameters_that_are_named_are_differentiated_by() -> None:
    model = models.mlp(3, 5, 3)
    (trained,) = [n for n, p in only(model, frozenset(["0.weight"])).named_parameters() if p.requires_grad]
    assert trained == "0.weight"
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_the_models_of_the_benchmarks_are_copied_without_deepcopy(family, monkeypatch) -> None:
    model = family.model()
    monkeypatch.setattr(copy, "_deepcopy_dict", None)  # what it would need for a layer
    sharing(model)
