"""Whether a step is a weighting is asked of its gradient: no ill-conditioned batch hides the answer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from suite.algebra.units import Units
from suite.recovery import recover
from suite.recovery.solve import solve


class Kernel(nn.Module):
    """A linear model of Gaussian bumps that nearly coincide."""

    def __init__(self) -> None:
        super().__init__()
        self.centres = torch.linspace(0, 1, 30)
        self.weight = nn.Parameter(torch.randn(30))

    def forward(self, x):
        return (-20 * (x - self.centres.to(x)).square()).exp() @ self.weight[:, None]


class Powers(nn.Linear):
    """Polynomials of degree 24, in the basis that everybody is warned of."""

    def __init__(self) -> None:
        super().__init__(25, 1)

    def forward(self, x):
        return super().forward(x ** torch.arange(25).to(x))


MODELS = {
    "a tanh net of one input": lambda: nn.Sequential(nn.Linear(1, 50), nn.Tanh(), nn.Linear(50, 1)),
    "overlapping kernels": Kernel,
    "powers": Powers,
    "two inputs that are the same": lambda: nn.Sequential(nn.Linear(1, 20), nn.Softplus(), nn.Linear(20, 1)),
}


def losses(model, batch):
    return (model(batch[0]) - batch[1]).square().squeeze(1)


@pytest.mark.parametrize("name", list(MODELS))
def test_a_mean_over_points_of_a_curve_is_a_mean(name: str) -> None:
    torch.manual_seed(0)
    x = torch.linspace(-1, 1, 40, dtype=torch.float64)[:, None]
    if name.startswith("two"):
        x = x.abs()
    found = recover(
        lambda m, b: losses(m, b).mean().backward(), MODELS[name]().double(), (x, torch.sin(3 * x)), losses
    )
    assert found.linear
    assert found.condition > 1e8
    assert found.residual < 1e-12
    assert (found.convention.name, found.scale, found.cause) == ("mean", 1.0, None)


@pytest.mark.parametrize("factor", [2.0, 1.001])
def test_a_wrong_factor_shows_however_ill_conditioned(factor: float) -> None:
    torch.manual_seed(0)
    x = torch.linspace(-1, 1, 40, dtype=torch.float64)[:, None]
    model = MODELS["a tanh net of one input"]().double()
    found = recover(lambda m, b: (factor * losses(m, b).mean()).backward(), model, (x, x.sin()), losses)
    assert found.convention.name == "mean"
    assert found.scale == pytest.approx(factor, rel=1e-12)


def test_a_residual_is_found_through_factors() -> None:
    # A Hilbert matrix: the pseudo-inverse as a matrix leaves 1e-6 of a gradient that lies in the span.
    matrix = 1 / (np.arange(60)[:, None] + np.arange(20) + 1.0)
    side = matrix.sum(1)
    found = solve(matrix, side, 16 * 2.0**-52)
    assert found.residual < 1e-13 * found.size


class Attention(nn.Module):
    """One layer of attention: a bias of the keys moves all scores of a query alike, so it has no gradient."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, 3)

    def forward(self, x):
        scores = self.q(x) @ self.k(x).transpose(1, 2)
        return self.out((scores.softmax(-1) @ self.v(x)).mean(1))


class BeforeNorm(nn.Module):
    """A bias that the normalisation behind it takes away."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.out = nn.Linear(8, 12), nn.Linear(12, 3)

    def forward(self, x):
        x = x.mean(1)
        x = self.first(x).unflatten(1, (12, 1))
        x = x - x.mean(1, keepdim=True)
        return self.out(torch.tanh(x.flatten(1)))


class Shifted(nn.Module):
    """A shift of all logits: the softmax does not see it."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.shift = nn.Linear(8, 3), nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return self.body(x.mean(1)) + self.shift


GROUPS, ALONE = "clipped in groups of tensors", "clipped tensor by tensor"


@pytest.mark.parametrize(
    ("kind", "name", "says"),
    [
        (Attention, GROUPS, "4 tensors (q.weight, …) to 0.01; the other 3 are not clipped"),
        (BeforeNorm, GROUPS, "2 tensors (first.weight, …) to 0.01; the other 2 are not clipped"),
        (Shifted, ALONE, "1 of 2 tensors are clipped, each on its own, to 0.01"),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_gradient_that_is_but_rounding_does_not_hide_clipping_by_groups(kind, name, says, dtype) -> None:
    torch.manual_seed(0)
    model, batch = kind().to(dtype), (torch.randn(6, 5, 8, dtype=dtype), torch.randint(3, (6,)))

    def per_sample(model, batch):
        return F.cross_entropy(model(batch[0]), batch[1], reduction="none")

    def step(model, batch):
        per_sample(model, batch).mean().backward()
        weights = [p for p in model.parameters() if p.ndim > 1]
        nn.utils.clip_grad_norm_(weights, 1e-2)

    found = recover(step, model, batch, per_sample, units=Units.of(6))
    assert not found.linear
    assert found.cause.name == name
    assert found.cause.convention == "mean"
    assert says in found.cause.says
