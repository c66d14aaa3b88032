"""Steps of several updates are named by the values of the parameters that they come to, and proven there."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from suite.errors import UsageError
from suite.recovery import recover
from suite.recovery.visited import MOST_VISITED, visiting
from tests.recovery.others.kit import classes, entropy, network, normal

LR = 0.1


def some(batch, rows):
    return tuple(part[rows] for part in batch)


def difference(model, after):
    return [before.detach() - p.detach() for before, p in zip(model.parameters(), after, strict=True)]


def trained(model, optimizer, pieces):
    own = copy.deepcopy(model)
    driven = optimizer(own.parameters(), lr=LR)
    for piece in pieces:
        driven.zero_grad()
        entropy(own, piece).mean().backward()
        driven.step()
    return own


def local_sgd(model, batch):
    """Two workers, two updates each, then their parameters are averaged."""
    pairs = [some(batch, slice(start, start + 2)) for start in (0, 2, 4, 6)]
    workers = [trained(model, torch.optim.SGD, pairs[start : start + 2]) for start in (0, 2)]
    mean = [torch.stack(pair).mean(0) for pair in zip(*(w.parameters() for w in workers), strict=True)]
    return [part / LR for part in difference(model, mean)]


def reptile(model, batch):
    return difference(model, trained(model, torch.optim.SGD, [batch] * 3).parameters())


def first_order_maml(model, batch):
    own = trained(model, torch.optim.SGD, [some(batch, slice(0, 4))])
    own.zero_grad()
    entropy(own, some(batch, slice(4, 8))).mean().backward()
    return [p.grad for p in own.parameters()]


def extragradient(model, batch):
    own = trained(model, torch.optim.SGD, [batch])
    own.zero_grad()
    entropy(own, batch).mean().backward()
    return [p.grad for p in own.parameters()]


def found(step):
    torch.manual_seed(0)
    return recover(step, network(), (normal(8, 6), classes(8)), entropy)


@pytest.mark.parametrize(
    ("step", "values", "beneath"),
    [
        (local_sgd, 3, "Formula: 2/n, n = 8."),
        (reptile, 3, "Formula: 0.3/n, n = 8."),
        (first_order_maml, 2, "  samples 4 – 7          0.25  2/n"),
        (extragradient, 2, "Formula: 1/n, n = 8."),
    ],
)
def test_several_updates_are_a_weighting_of_the_units_where_they_come_to(step, values, beneath) -> None:
    text = str(found(step))
    assert f"(several updates: the network is called at {values} values of its parameters, up to " in text
    assert "what they leave together is a weighting of the units' gradients at these)" in text
    assert beneath in text
    assert "A known mistake" not in text


def adam_inside(model, batch):
    return difference(model, trained(model, torch.optim.Adam, [batch] * 3).parameters())


def maml(model, batch):
    named = dict(model.named_parameters())
    inner = entropy(model, some(batch, slice(0, 4))).mean()
    slopes = torch.autograd.grad(inner, list(named.values()), create_graph=True)
    moved = {name: p - LR * slope for (name, p), slope in zip(named.items(), slopes, strict=True)}
    F.cross_entropy(functional_call(model, moved, (batch[0][4:],)), batch[1][4:]).backward()


@pytest.mark.parametrize("step", [adam_inside, maml])
def test_updates_of_which_no_weighting_is_left_are_said_to_be_several(step) -> None:
    cause = found(step).cause
    assert cause.name == "several updates"
    assert "no weighting of the units' gradients at these" in cause.says
    assert cause.weights is None


def test_a_snapshot_is_no_update() -> None:
    """SVRG: a gradient here, less that at a snapshot, and the whole gradient there."""
    snapshot = network()
    with torch.no_grad():
        for p in snapshot.parameters():
            p.add_(0.01 * torch.sin(torch.arange(p.numel(), dtype=p.dtype)).view_as(p))

    def slopes(model, batch):
        return torch.autograd.grad(entropy(model, batch).mean(), list(model.parameters()))

    def step(model, batch):
        half = some(batch, slice(0, 4))
        three = slopes(model, half), slopes(snapshot, half), slopes(snapshot, batch)
        return [here - there + whole for here, there, whole in zip(*three, strict=True)]

    cause = found(step).cause
    assert cause.name == "gradients at several values of the parameters"
    assert "steps with a snapshot (SVRG)" in cause.says


def test_a_second_network_of_this_kind_is_no_update() -> None:
    other = network(seed=3)

    def step(model, batch):
        here, there = (F.normalize(each(batch[0])) for each in (model, other))
        F.cross_entropy(here @ there.T / 0.1, torch.arange(len(here))).backward()

    assert found(step).cause.name == "the step couples the samples"


def test_two_updates_of_the_model_itself_are_refused_with_what_to_do() -> None:
    def step(model, batch):
        optimizer = torch.optim.SGD(model.parameters(), lr=LR)
        for _ in range(2):
            optimizer.zero_grad()
            entropy(model, batch).mean().backward()
            optimizer.step()

    with pytest.raises(UsageError, match=r"more than once.*or that returns what its updates take together"):
        found(step)


def test_values_are_told_once_and_not_without_gradients() -> None:
    model, x = network(), normal(3, 6)
    with visiting(model) as places:
        model(x)
        model(x)
        with torch.no_grad():
            copy.deepcopy(model)(x)
            next(model.parameters()).add_(1)
            model(x)
        nn.Linear(6, 2).double()(x)
        assert len(places) == 1
        for _ in range(MOST_VISITED + 3):
            with torch.no_grad():
                next(model.parameters()).add_(1)
            model(x)
    assert len(places) == MOST_VISITED + 1
    model(x)
    assert len(places) == MOST_VISITED + 1
