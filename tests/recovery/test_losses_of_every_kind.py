"""Losses and models as people have them: derivatives inside, odd parameters, hooks, lazy layers."""

from __future__ import annotations

import copy
import threading

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from suite.engines.per_sample_gradients import per_sample_gradients
from suite.errors import CaseError, UsageError
from suite.recovery import recover
from tests.recovery.steps import losses, mean, setting


def network(inputs: int, outputs: int = 1) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(inputs, 20), nn.Tanh(), nn.Linear(20, outputs)).double()


def gradient_penalty(model, batch):
    """WGAN-GP: the norm of the critic's slope between real and generated samples."""
    real, made = batch
    between = (0.3 * real + 0.7 * made).requires_grad_()
    (slope,) = torch.autograd.grad(model(between).sum(), between, create_graph=True)
    return model(made).squeeze(1) - model(real).squeeze(1) + 10 * (slope.norm(dim=1) - 1) ** 2


def poisson(model, batch):
    """A PINN: `u'' = sin x`, second derivatives by autograd."""
    x = batch[0][:, :1].clone().requires_grad_()
    (first,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x, create_graph=True)
    return (second - x.sin()).square().squeeze(1)


def forces(model, batch):
    """An interatomic potential: energies and forces, which are slopes of the energy."""
    places = batch[0].clone().requires_grad_()
    energy = model(places).squeeze(1)
    (slope,) = torch.autograd.grad(energy.sum(), places, create_graph=True)
    return torch.stack([energy.square(), (slope + batch[1]).square().sum(1)], 1)


def one_step_ahead(model, batch):
    """MAML: the loss after one step on each task's own support set."""
    entries = []
    for support, query in zip(*batch, strict=True):
        weights = dict(model.named_parameters())
        inner = torch.func.functional_call(model, weights, (support[None],)).square().sum()
        slopes = torch.autograd.grad(inner, list(weights.values()), create_graph=True)
        moved = {name: w - 0.1 * s for (name, w), s in zip(weights.items(), slopes, strict=True)}
        entries.append((torch.func.functional_call(model, moved, (query[None],)) - 1).square().sum())
    return torch.stack(entries)


def slopes_by_functions(model, batch):
    """The same kind of penalty with torch.func, which every transform of it can follow."""
    weights = dict(model.named_parameters())

    def value(x):
        return torch.func.functional_call(model, weights, (x[None],)).sum()

    return torch.func.vmap(torch.func.grad(value))(batch[0]).square().sum(1)


INSIDE = [gradient_penalty, forces, one_step_ahead, poisson]


@pytest.mark.parametrize("inner", [*INSIDE, slopes_by_functions])
@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_losses_that_take_derivatives_are_weighted_as_others(inner, factor: float) -> None:
    batch = torch.randn(5, 4).double(), torch.randn(5, 4).double()
    model = network(1 if inner is poisson else 4)

    def step(model, batch):
        (factor * inner(model, batch).flatten(1).sum(1).mean() if inner is forces else
         factor * inner(model, batch).mean()).backward()  # fmt: skip

    found = recover(step, model, batch, inner)
    assert found.linear
    assert (found.convention.name, found.scale) == ("mean", factor)


@pytest.mark.parametrize("engine", ["opacus", "streaming", "torch-func", "loop"])
@pytest.mark.parametrize("inner", INSIDE)
def test_engines_that_cannot_differentiate_twice_say_so_and_another_takes_over(engine, inner) -> None:
    batch = torch.randn(3, 4).double(), torch.randn(3, 4).double()
    model = network(1 if inner is poisson else 4)
    found = per_sample_gradients(model, batch, inner, engine=engine)
    expected = inner(model, batch).flatten()
    for unit, loss in enumerate(expected):
        wanted = torch.autograd.grad(
            loss, list(model.parameters()), retain_graph=True, materialize_grads=True
        )
        torch.testing.assert_close(found.matrix[unit], torch.cat([p.flatten() for p in wanted]))
    for reason in found.refused.values():
        assert "\n" not in reason
        assert len(reason) < 120


def test_an_engine_of_functions_follows_derivatives_of_functions() -> None:
    batch = torch.randn(3, 4).double(), torch.randn(3, 4).double()
    assert per_sample_gradients(network(4), batch, slopes_by_functions, engine="torch-func").engine == (
        "torch-func"
    )


class Scaled(nn.Module):
    """A parameter without axes: a learned temperature."""

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(0.5))

    def forward(self, x):
        return x * self.log_scale.exp()


@pytest.mark.parametrize(
    "layer",
    [
        Scaled,
        lambda: nn.LazyLinear(24),
        lambda: nn.utils.spectral_norm(nn.Linear(24, 24)),
        lambda: nn.utils.parametrizations.weight_norm(nn.Linear(24, 24)),
        lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(24, 24)),
        lambda: nn.utils.parametrizations.orthogonal(nn.Linear(24, 24)),
    ],
    ids=["without axes", "lazy", "spectral_norm of old", "weight_norm", "spectral_norm", "orthogonal"],
)
@pytest.mark.parametrize("engine", ["opacus", "streaming", "torch-func", "loop"])
def test_odd_parameters_are_parameters(layer, engine: str) -> None:
    given = setting(6, layer())
    given.model.eval()(given.batch[0])  # a lazy layer gets its shape
    found = recover(mean, given.model, given.batch, losses, engine=engine)
    assert (found.convention.name, found.scale) == ("mean", 1.0)


def test_a_lazy_layer_that_has_seen_nothing_gets_its_shape_from_the_batch() -> None:
    given = setting(6, nn.LazyLinear(24))
    found = recover(mean, given.model, given.batch, losses)
    assert (found.convention.name, found.scale) == ("mean", 1.0)


class Mixed(nn.Module):
    """Parts in float32, parts in float64: a normalisation that is kept precise."""

    def __init__(self, first: torch.dtype, second: torch.dtype) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 24, dtype=first), nn.Linear(24, 4, dtype=second)

    def forward(self, x):
        x = torch.tanh(self.first(x.to(self.first.weight.dtype)))
        return self.second(x.to(self.second.weight.dtype))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (torch.float32, torch.float64),
        (torch.float64, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float64),
    ],
)
def test_parameters_of_many_formats_go_together(first, second) -> None:
    torch.manual_seed(0)
    batch = torch.randn(6, 6), torch.randint(4, (6,))
    model = Mixed(first, second)
    assert recover(mean, model, batch, losses).names[0] == "mean"
    twice = recover(lambda m, b: (2 * losses(m, b).mean()).backward(), model, batch, losses)
    assert (twice.convention.name, twice.scale) == ("mean", 2.0)


def test_hooks_of_a_module_are_part_of_it() -> None:
    given = setting()
    given.model[0].register_forward_hook(lambda module, args, out: 2 * out)
    given.model[2].register_full_backward_hook(lambda module, into, out: None)
    assert recover(mean, given.model, given.batch, losses).convention.name == "mean"


class Locked(nn.Linear):
    def __init__(self) -> None:
        super().__init__(6, 4)
        self.lock = threading.Lock()


class Refusing(nn.Linear):
    def __init__(self) -> None:
        super().__init__(6, 4)
        self.unique = True

    def __deepcopy__(self, memo):
        raise RuntimeError("I am\nunique")


@pytest.mark.parametrize("kind", [Locked, Refusing])
def test_a_model_that_cannot_be_copied_says_so_in_one_line(kind) -> None:
    batch = torch.randn(4, 6), torch.randint(4, (4,))
    model = kind()
    with pytest.raises(Exception, match=r".") as natural:
        copy.deepcopy(model)
    with pytest.raises((UsageError, CaseError), match="copied") as error:
        recover(mean, model, batch, losses)
    assert "\n" not in str(error.value)
    assert str(natural.value).split("\n")[0][:20] in str(error.value)


def failing(model, batch):
    return F.cross_entropy(model(batch[0]), batch[1][:, None], reduction="none")


@pytest.mark.parametrize("inside", [failing, lambda m, b: b["x"], lambda m, b: 1 / 0])
def test_losses_that_fail_are_one_line_with_its_place(inside) -> None:
    given = setting()
    with pytest.raises(
        UsageError, match=r"the losses failed \(test_losses_of_every_kind.py:\d+\): "
    ) as error:
        recover(mean, given.model, given.batch, inside)
    assert "\n" not in str(error.value)
