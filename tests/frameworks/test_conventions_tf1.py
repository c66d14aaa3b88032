"""TensorFlow 1's weighted losses, run eagerly from tf.compat.v1, against the conventions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.conventions.agreement import by_convention, distance, network, randn

tf = pytest.importorskip(
    "tensorflow", reason="TensorFlow is not installed: the tox environment `tensorflow` has it"
)

# tf.compat.v1.losses compute in float32 whatever they are given (`compute_weighted_loss`).
ROUNDING = 4 * torch.finfo(torch.float32).eps
SAMPLES, OUTPUTS = 6, 3
BATCH = (randn(SAMPLES, 4), randn(SAMPLES, OUTPUTS, seed=2))
WEIGHT = torch.tensor([1.0, 0.0, 2.0, 0.5, 0.0, 3.0], dtype=torch.float64)


def squared_errors(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return (model(batch[0]) - batch[1]).square().sum(1)


def pulled_back(model: nn.Module, loss) -> Tensor:
    """`[params]` TensorFlow's gradient of `loss` at the outputs, carried on to the weights by torch."""
    outputs = model(BATCH[0])
    at_outputs = tf.Variable(outputs.detach().numpy())
    with tf.GradientTape() as tape:
        value = loss(at_outputs)
    outputs.backward(torch.tensor(np.asarray(tape.gradient(value, at_outputs))))
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize(
    ("reduction", "convention"),
    [
        (None, "sum-by-nonzero-weights"),
        ("weighted_sum_by_nonzero_weights", "sum-by-nonzero-weights"),
        ("weighted_mean", "weighted-mean"),
        ("weighted_sum_over_batch_size", "sum-over-batch-size"),
        ("weighted_sum", "weighted-sum"),
    ],
)
def test_weighted_losses_count_the_weights_that_are_not_zero_by_default(reduction, convention):
    chosen = {} if reduction is None else {"reduction": reduction}
    weights = WEIGHT[:, None].numpy()
    framework = pulled_back(
        network(),
        lambda outputs: tf.compat.v1.losses.mean_squared_error(BATCH[1].numpy(), outputs, weights, **chosen),
    )
    columns = {"elements": OUTPUTS, "weight": WEIGHT}
    expected = by_convention(convention, network(), BATCH, squared_errors, columns)
    assert distance(framework, expected) < ROUNDING


def test_l2_loss_is_half_the_sum():
    framework = pulled_back(network(), lambda outputs: tf.nn.l2_loss(outputs - BATCH[1].numpy()))
    assert distance(framework, by_convention("half-sum", network(), BATCH, squared_errors)) < 1e-12
