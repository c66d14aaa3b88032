"""The weights of many units from their Gram matrix: what is held, and what is said of errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from suite.recovery import normal_equations
from suite.recovery.normal_equations import NormalEquations


def gradients(units: int, params: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    lengths = 10 ** (4 * torch.rand(units, 1, generator=generator, dtype=torch.float64) - 2)
    return lengths * torch.randn(units, params, generator=generator, dtype=torch.float64)


@given(units=st.integers(1, 40), seed=st.integers(0, 2**16), columns=st.integers(1, 50))
def test_weights_and_bounds_are_those_of_the_pseudo_inverse(units: int, seed: int, columns: int) -> None:
    g = gradients(units, 60, seed)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(normal_equations, "INVERTED", columns)
        found = NormalEquations.of(g @ g.T, 1e6)
        inverse = np.linalg.pinv(g.T.numpy())
        np.testing.assert_allclose(found.spread, np.linalg.norm(inverse, axis=1), rtol=1e-8)
        root = np.zeros((units, units + 2))
        found.write_root(root, np.arange(units) + 1)
    np.testing.assert_allclose(root[:, 1:-1].T @ root[:, 1:-1], (g @ g.T).numpy(), rtol=1e-8, atol=1e-12)
    sigma = np.linalg.svd((g / g.norm(dim=1, keepdim=True)).numpy(), compute_uv=False)
    assert found.condition == pytest.approx(sigma[0] / sigma[-1], rel=1e-6)
    side = g.T.numpy() @ np.arange(1.0, units + 1)
    told = found.solve(g @ torch.as_tensor(side))
    np.testing.assert_allclose(told.numpy(), inverse @ side, rtol=1e-6)


def test_the_factor_overwrites_the_matrix() -> None:
    g = gradients(20, 60, 0)
    gram = g @ g.T
    found = NormalEquations.of(gram, 1e6)
    assert found.factor.data_ptr() == gram.data_ptr()


def test_units_that_are_alike_have_no_weights() -> None:
    g = gradients(5, 60, 0)
    g[3] = 2 * g[1]
    assert NormalEquations.of(g @ g.T, 1e6) is None
