"""Optimizers written out are those of the dialects, where torch can be them."""

from __future__ import annotations

import pytest
import torch

from suite.equivalence.dialects import prepare, translate
from suite.replication import updates

PAIRS = {
    "caffe SGD": (
        updates.sgd_rate_inside(0.1, 0.9, 0.01),
        translate("caffe", "SGD", {"base_lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}),
    ),
    "darknet SGD": (
        updates.sgd_darknet(0.1, 0.9, 0.01),
        translate("darknet", "SGD", {"learning_rate": 0.1, "momentum": 0.9, "decay": 0.01}),
    ),
    "tf1 AdamOptimizer": (
        updates.adam_eps_hat(0.1, 0.8, 0.99, 0.01, l2=0.02),
        translate(
            "tf1",
            "AdamOptimizer",
            {"learning_rate": 0.1, "beta1": 0.8, "beta2": 0.99, "epsilon": 0.01, "l2": 0.02},
        ),
    ),
    "bert AdamWeightDecayOptimizer": (
        updates.adam_uncorrected(0.1, 0.8, 0.99, 0.01, 0.02),
        translate(
            "bert",
            "AdamWeightDecayOptimizer",
            {"learning_rate": 0.1, "beta_1": 0.8, "beta_2": 0.99, "epsilon": 0.01, "weight_decay_rate": 0.02},
        ),
    ),
    "tf1 RMSPropOptimizer without eps": (
        updates.rmsprop_root(0.1, 0.9, 0.0, momentum=0.8, l2=0.02),
        translate(
            "tf1",
            "RMSPropOptimizer",
            {"learning_rate": 0.1, "decay": 0.9, "momentum": 0.8, "epsilon": 0.0, "l2": 0.02},
        ),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_an_update_written_out_takes_the_steps_of_its_dialect(name):
    update, translation = PAIRS[name]
    assert translation.exact
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(5, dtype=torch.float64, generator=generator)
    mine, state = start.clone(), {}
    theirs = torch.nn.Parameter(start.clone())
    optimizer = getattr(torch.optim, translation.optimizer)([theirs], **translation.hyperparameters)
    for step in range(1, 6):
        gradient = torch.randn(5, dtype=torch.float64, generator=generator)
        update(mine, gradient, state, step)
        theirs.grad = gradient.clone()
        prepare(optimizer, translation, step)
        optimizer.step()
    assert torch.allclose(mine, theirs.detach(), rtol=1e-12)
    assert not torch.allclose(mine, start)


def test_excluded_parameters_of_lars_take_momentum_steps():
    p, gradient, state = torch.ones(3), torch.full((3,), 2.0), {}
    update = updates.lars(0.1, momentum=0.5, weight_decay=1.0, adapted=False)
    update(p, gradient, state, 1)
    update(p, gradient, state, 2)
    assert torch.allclose(p, torch.full((3,), 1 - 0.1 * 2 - 0.1 * 3))
