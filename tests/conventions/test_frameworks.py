"""Each framework's own reduction, run, against the coefficients of the convention that bears its name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from opacus import GradSampleModule
from opacus.optimizers import DPOptimizer
from sklearn.neural_network import MLPClassifier, MLPRegressor
from torch import Tensor, nn
from torch.nn import functional

from suite import Units, per_sample_gradients
from suite.conventions import conventions
from suite.loops.loop import Losses
from tests.conventions.agreement import (
    ROUNDING,
    by_backward,
    by_convention,
    distance,
    left_in,
    network,
    randn,
)
from tests.conventions.processes import STEPS, WORLD, data, train

SAMPLES, OUTPUTS = 6, 3
LABELS = torch.tensor([0, 2, 1, 0, 2, 2])
CLASS_WEIGHT = torch.tensor([1.0, 5.0, 0.25], dtype=torch.float64)
PRESENT = torch.arange(5) < torch.tensor([5, 1, 3, 2])[:, None]  # [sequences, positions]


def regression() -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    return network(), (randn(SAMPLES, 4), randn(SAMPLES, OUTPUTS, seed=2))


def classification() -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    return network(), (randn(SAMPLES, 4), LABELS)


def squared_errors(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return (model(batch[0]) - batch[1]).square().sum(1)


def negative_log_likelihood(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return -model(batch[0]).log_softmax(1).gather(1, batch[1][:, None])[:, 0]


def summed(unreduced: Callable[[Tensor, Tensor], Tensor], factor: float = 1.0) -> Losses:
    """`[samples]` the losses of a batch, an unreduced loss summed over each sample's own elements."""
    return lambda model, batch: factor * unreduced(model(batch[0]), batch[1]).flatten(1).sum(1)


# Sums and averages.


@pytest.mark.parametrize(
    "loss",
    [
        nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss, nn.PoissonNLLLoss, nn.SoftMarginLoss,
        nn.HingeEmbeddingLoss, nn.BCEWithLogitsLoss,
    ],
)  # fmt: skip
@pytest.mark.parametrize(("reduction", "convention"), [("mean", "element-mean"), ("sum", "sum")])
def test_losses_by_element_of_torch_divide_by_all_elements(loss, reduction, convention):
    model, batch = network(), (randn(SAMPLES, 4), randn(SAMPLES, OUTPUTS, seed=2).sign())
    framework = by_backward(model, loss(reduction=reduction)(model(batch[0]), batch[1]))
    losses = summed(loss(reduction="none"))
    expected = by_convention(convention, model, batch, losses, {"elements": OUTPUTS})
    assert distance(framework, expected) < ROUNDING


def test_mean_squared_error_of_torch_is_not_the_mean_over_samples():
    model, batch = regression()
    framework = by_backward(model, nn.MSELoss()(model(batch[0]), batch[1]))
    assert distance(framework * OUTPUTS, by_convention("mean", model, batch, squared_errors)) < ROUNDING


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_cross_entropy_of_torch_divides_by_the_samples(reduction):
    model, batch = classification()
    framework = by_backward(model, nn.CrossEntropyLoss(reduction=reduction)(model(batch[0]), batch[1]))
    expected = by_convention(reduction, model, batch, negative_log_likelihood)
    assert distance(framework, expected) < ROUNDING


@pytest.mark.parametrize("loss", [nn.MultiMarginLoss, nn.MultiLabelSoftMarginLoss, nn.MultiLabelMarginLoss])
def test_margin_losses_of_torch_average_over_samples_what_each_has_averaged_over_classes(loss):
    targets = LABELS if loss is nn.MultiMarginLoss else torch.tensor([[1, 0, -1]] * SAMPLES)
    targets = targets.clamp(min=0) if loss is nn.MultiLabelSoftMarginLoss else targets
    model, batch = network(), (randn(SAMPLES, 4), targets)
    framework = by_backward(model, loss()(model(batch[0]), batch[1]))

    def losses(model, batch):
        return OUTPUTS * loss(reduction="none")(model(batch[0]), batch[1])

    expected = by_convention("mean-of-sample-means", model, batch, losses, {"elements": OUTPUTS})
    assert distance(framework, expected) < ROUNDING


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides the total loss:UserWarning")  # what it shows
@pytest.mark.parametrize(("reduction", "convention"), [("batchmean", "batchmean"), ("mean", "element-mean")])
def test_the_divergence_of_torch_has_two_means(reduction, convention):
    model, batch = network(), (randn(SAMPLES, 4), randn(SAMPLES, OUTPUTS, seed=2).softmax(1))
    loss = functional.kl_div(model(batch[0]).log_softmax(1), batch[1], reduction=reduction)

    def losses(model, batch):
        return (batch[1] * (batch[1].log() - model(batch[0]).log_softmax(1))).sum(1)

    expected = by_convention(convention, model, batch, losses, {"elements": OUTPUTS})
    assert distance(by_backward(model, loss), expected) < ROUNDING


def test_ctc_of_torch_divides_each_sample_by_its_target_length():
    lengths = torch.tensor([1, 3, 2, 4])
    model = network(4, 6)
    targets = torch.tensor([[1, 0, 0, 0], [2, 5, 3, 0], [4, 4, 0, 0], [5, 1, 2, 3]])
    batch = (randn(4, 10, 4), targets, lengths)

    def ctc(model, batch, reduction):
        inputs, targets, lengths = batch
        scores = model(inputs).log_softmax(2).transpose(0, 1)
        steps = torch.full((len(inputs),), inputs.shape[1])
        return functional.ctc_loss(scores, targets, steps, lengths, reduction=reduction)

    losses = partial(ctc, reduction="none")
    expected = by_convention("mean-of-sample-means", model, batch, losses, {"elements": lengths})
    assert distance(by_backward(model, ctc(model, batch, "mean")), expected) < ROUNDING


# Weights.


@pytest.mark.parametrize(("reduction", "convention"), [("mean", "weighted-mean"), ("sum", "weighted-sum")])
@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss, nn.NLLLoss])
def test_class_weights_of_torch_divide_by_the_weights(loss, reduction, convention):
    model, batch = classification()
    scores = model(batch[0]) if loss is nn.CrossEntropyLoss else model(batch[0]).log_softmax(1)
    framework = by_backward(model, loss(weight=CLASS_WEIGHT, reduction=reduction)(scores, LABELS))
    weight = {"weight": CLASS_WEIGHT[LABELS]}
    expected = by_convention(convention, model, batch, negative_log_likelihood, weight)
    assert distance(framework, expected) < ROUNDING


def test_class_weights_of_torch_divide_by_the_count_where_targets_are_probabilities():
    model, batch = classification()
    one_hot = functional.one_hot(LABELS, OUTPUTS).double()
    framework = by_backward(model, nn.CrossEntropyLoss(weight=CLASS_WEIGHT)(model(batch[0]), one_hot))
    weight = {"weight": CLASS_WEIGHT[LABELS]}
    expected = by_convention("sum-over-batch-size", model, batch, negative_log_likelihood, weight)
    assert distance(framework, expected) < ROUNDING


@pytest.mark.parametrize(
    ("loss", "convention"),
    [
        (functional.binary_cross_entropy_with_logits, "sum-over-batch-size"),
        (functional.mse_loss, "weighted-mean"),
        (functional.l1_loss, "weighted-mean"),
        (functional.huber_loss, "sum-over-batch-size"),
    ],
)
def test_sample_weights_of_torch_have_two_denominators(loss, convention):
    model, batch = network(), (randn(SAMPLES, 4), randn(SAMPLES, OUTPUTS, seed=2).sigmoid().round())
    weight = randn(SAMPLES, seed=3).abs()
    spread = weight[:, None].expand(SAMPLES, OUTPUTS).contiguous()
    framework = by_backward(model, loss(model(batch[0]), batch[1], weight=spread))
    losses = summed(partial(loss, reduction="none"))
    expected = by_convention(convention, model, batch, losses, {"elements": OUTPUTS, "weight": weight})
    assert distance(framework, expected) < ROUNDING


def test_element_weights_of_binary_cross_entropy_are_not_in_the_divisor():
    model, batch = network(), (randn(SAMPLES, 4), randn(SAMPLES, OUTPUTS, seed=2).sigmoid())
    weight = randn(SAMPLES, OUTPUTS, seed=3).abs()
    framework = by_backward(model, nn.BCELoss(weight=weight)(model(batch[0]).sigmoid(), batch[1]))

    def losses(model, batch):
        return functional.binary_cross_entropy(model(batch[0]).sigmoid(), batch[1], reduction="none")

    table = {"columns": {"weight": weight}, "parts": ("a", "b", "c")}
    assert distance(framework, by_convention("sum-over-batch-size", model, batch, losses, **table)) < ROUNDING


# Tokens.


@pytest.mark.parametrize("convention", ["token-mean", "position-mean", "mean-of-sequence-means"])
def test_ignored_targets_of_torch_are_not_counted_unless_the_mean_is_taken_by_hand(convention):
    model = network()
    targets = torch.randint(0, OUTPUTS, PRESENT.shape, generator=torch.Generator().manual_seed(0))
    batch = (randn(*PRESENT.shape, 4), targets.where(PRESENT, -100))

    def cross_entropy(model, batch, reduction):
        return functional.cross_entropy(model(batch[0]).transpose(1, 2), batch[1], reduction=reduction)

    by_position = cross_entropy(model, batch, "none")
    loss = {
        "token-mean": cross_entropy(model, batch, "mean"),
        "position-mean": by_position.mean(),
        "mean-of-sequence-means": (by_position.sum(1) / PRESENT.sum(1)).mean(),
    }[convention]
    counts = {"elements": PRESENT.sum(1), "positions": PRESENT.shape[1]}
    losses = lambda model, batch: cross_entropy(model, batch, "none").sum(1)  # noqa: E731  a def says no more
    expected = by_convention(convention, model, batch, losses, counts)
    assert distance(by_backward(model, loss), expected) < ROUNDING


# Clipping.


@pytest.mark.parametrize("max_norm", [1e-3, 0.1, 1e3])
def test_clip_grad_norm_of_torch_clips_the_mean_with_1e_6_added_to_its_norm(max_norm):
    model, batch = regression()
    mean = by_backward(model, squared_errors(model, batch).mean())
    nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    settings = {"max_norm": max_norm, "added_to_norm": 1e-6}
    expected = by_convention("clip-mean", model, batch, squared_errors, **settings)
    assert distance(left_in(model), expected) < ROUNDING
    plain = by_convention("clip-mean", model, batch, squared_errors, max_norm=max_norm)
    added = 1e-6 / (float(mean.norm()) + 1e-6) if mean.norm() > max_norm else 0.0
    assert distance(left_in(model), plain) == pytest.approx(added, rel=1e-6, abs=ROUNDING)


# Opacus hooks modules whose inputs need no gradient, and torch warns of each.
HOOKS = pytest.mark.filterwarnings("ignore:Full backward hook is firing:UserWarning")


def private_step(model: nn.Module, batch: tuple[Tensor, Tensor], max_norm: float, expected: int) -> Tensor:
    """The gradient that Opacus hands to SGD, without noise."""
    private = GradSampleModule(model, loss_reduction="mean")
    optimizer = DPOptimizer(
        torch.optim.SGD(private.parameters(), lr=0.0), noise_multiplier=0.0, max_grad_norm=max_norm,
        expected_batch_size=expected,
    )  # fmt: skip
    squared_errors(private, batch).mean().backward()
    optimizer.step()
    return left_in(private)


@HOOKS
def test_opacus_divides_by_the_expected_batch_size():
    model, batch = regression()
    expected = by_convention("expected-batch-size", model, batch, squared_errors, expected_batch_size=8)
    assert distance(private_step(model, batch, 1e9, expected=8), expected) < ROUNDING


@HOOKS
def test_opacus_clips_each_unit_with_1e_6_added_to_its_norm():
    model, batch = regression()
    units = per_sample_gradients(model, batch, squared_errors, engine="loop")
    norms = units.matrix.norm(dim=1)
    max_norm = float(norms.mean())
    clipped = norms > max_norm
    convention = conventions["clip-each-unit"]
    gram = units.gram()
    plain = convention.coefficients(Units.of(SAMPLES, max_norm=max_norm), gram)
    added = convention.coefficients(Units.of(SAMPLES, max_norm=max_norm, added_to_norm=1e-6), gram)
    opacus = private_step(model, batch, max_norm, expected=SAMPLES)
    assert 0 < clipped.sum() < SAMPLES
    assert distance(opacus, units.reduce(added)[0]) < ROUNDING
    assert ROUNDING < distance(opacus, units.reduce(plain)[0]) < 1e-6 / max_norm


# A regulariser.


def half_square_of_weights(model: nn.Module, *, alpha: float) -> Tensor:
    """scikit-learn's penalty ½α Σ‖W‖², which leaves the biases alone."""
    return 0.5 * alpha * sum(p.square().sum() for p in model.parameters() if p.ndim == 2)


def learnt_step(
    estimator: MLPRegressor | MLPClassifier, *batch: Tensor, **settings: Any
) -> tuple[nn.Module, Tensor]:
    """The network before the second step of scikit-learn's SGD, and the gradient it took that step with."""
    classes = {"classes": [0, 1, 2]} if isinstance(estimator, MLPClassifier) else {}
    arrays = [tensor.numpy() for tensor in batch]
    estimator.partial_fit(*arrays, **classes)
    model = network()
    layers = (model[0], model[2])
    for layer, weight, bias in zip(layers, estimator.coefs_, estimator.intercepts_, strict=True):
        layer.weight.data = torch.tensor(weight.T)
        layer.bias.data = torch.tensor(bias)
    before = [p.detach().clone() for p in model.parameters()]
    estimator.partial_fit(*arrays, **settings)
    learnt = zip(estimator.coefs_, estimator.intercepts_, strict=True)
    after = [torch.tensor(part) for weight, bias in learnt for part in (weight.T, bias)]
    moves = [(old - new).flatten() for old, new in zip(before, after, strict=True)]
    return model, torch.cat(moves) / estimator.learning_rate_init


def perceptron(kind: type[MLPRegressor] | type[MLPClassifier], alpha: float) -> MLPRegressor | MLPClassifier:
    return kind(
        hidden_layer_sizes=(5,), activation="tanh", solver="sgd", alpha=alpha, learning_rate_init=1.0,
        momentum=0.0, nesterovs_momentum=False, random_state=0,
    )  # fmt: skip


def test_the_regressor_of_scikit_learn_takes_half_the_squares_and_divides_by_the_samples():
    batch = regression()[1]
    model, framework = learnt_step(perceptron(MLPRegressor, 0.0), *batch)
    assert distance(framework, by_convention("half-mean", model, batch, squared_errors)) < ROUNDING


@pytest.mark.parametrize("kind", [MLPRegressor, MLPClassifier])
def test_scikit_learn_divides_its_penalty_by_the_samples(kind):
    batch = regression()[1] if kind is MLPRegressor else classification()[1]
    half_squares = summed(nn.MSELoss(reduction="none"), 0.5)
    losses = half_squares if kind is MLPRegressor else negative_log_likelihood
    model, framework = learnt_step(perceptron(kind, 0.7), *batch)
    penalty = partial(half_square_of_weights, alpha=0.7)
    expected = by_convention("regulariser-over-n", model, batch, losses, regulariser=penalty)
    assert distance(framework, expected) < ROUNDING
    alone = by_convention("regulariser-alone", model, batch, losses, regulariser=penalty)
    assert distance(framework, alone) > 0.1


@pytest.mark.skipif(
    "sample_weight" not in signature(MLPRegressor.partial_fit).parameters,
    reason="this scikit-learn's perceptrons take no sample weights",
)
def test_sample_weights_of_the_perceptrons_of_scikit_learn_are_in_the_divisor():
    batch, weight = regression()[1], randn(SAMPLES, seed=3).abs()
    model, framework = learnt_step(perceptron(MLPRegressor, 0.0), *batch, sample_weight=weight.numpy())
    half_squares = summed(nn.MSELoss(reduction="none"), 0.5)
    expected = by_convention("weighted-mean", model, batch, half_squares, {"weight": weight})
    assert distance(framework, expected) < ROUNDING


def test_weight_decay_of_torch_is_left_alone():
    model, batch = regression()
    by_backward(model, squared_errors(model, batch).mean())

    def penalty(model):
        return 0.35 * sum(p.square().sum() for p in model.parameters())

    expected = by_convention("regulariser-alone", model, batch, squared_errors, regulariser=penalty)
    before = torch.cat([p.detach().flatten() for p in model.parameters()])
    torch.optim.SGD(model.parameters(), lr=1.0, weight_decay=0.7).step()
    after = torch.cat([p.detach().flatten() for p in model.parameters()])
    assert distance(before - after, expected) < ROUNDING


# Ranks.


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no torch.distributed")
def test_data_parallel_ranks_of_torch_average_their_means_and_join_keeps_the_divisor(tmp_path: Path):
    torch.multiprocessing.spawn(train, args=(str(tmp_path),), nprocs=WORLD)
    found = torch.load(tmp_path / "gradients.pt")
    sharded = {"sharded": "torch:fsdp"} if "sharded" in found or torch.__version__ >= "2.13" else {}
    for step, convention in (
        (0, {"divided-True": "mean-of-rank-means", "divided-False": "torch:ddp", **sharded}),
        (1, {"divided-True": "joined-ranks-over-world-size", "divided-False": "mean-of-rank-means"}),
    ):
        rows = np.concatenate(STEPS[step]).astype(int)
        batch = tuple(tensor[rows] for tensor in data())
        rank = np.repeat(range(WORLD), [len(part) for part in STEPS[step]])
        columns = {"elements": OUTPUTS, "rank": rank}
        for kind, name in convention.items():
            expected = by_convention(name, network(), batch, squared_errors, columns, world_size=WORLD)
            assert distance(found[kind][step], expected) < ROUNDING
