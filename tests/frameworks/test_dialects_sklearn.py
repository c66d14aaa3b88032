"""scikit-learn's own training, beside PyTorch prepared by the translation."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch

from suite.equivalence.dialects import dialects, prepare, translate
from tests.equivalence.following import START, deviation, follow, gradient

sklearn = pytest.importorskip("sklearn", reason="scikit-learn is not installed")
from sklearn.linear_model import SGDRegressor  # noqa: E402  only where there is scikit-learn
from sklearn.neural_network import MLPRegressor, _stochastic_optimizers  # noqa: E402

STEPS = 30
ROUNDING = 1e-10


def data(samples=12, inputs=3, outputs=2):
    generator = np.random.default_rng(7)
    x = generator.standard_normal((samples, inputs))
    return x, np.sin(x @ generator.standard_normal((inputs, outputs)))


@pytest.mark.parametrize("nesterov", [False, True])
def test_pytorch_takes_the_steps_of_the_solver_sgd_also_after_a_drop(nesterov):
    rates = [0.05] * 15 + [0.01] * 15
    weights = START.copy()
    solver = _stochastic_optimizers.SGDOptimizer([weights], 0.05, momentum=0.9, nesterov=nesterov)
    path = []
    for step, rate in enumerate(rates, 1):
        solver.learning_rate = rate
        solver.update_params([weights], [gradient(weights, step)])
        path.append(weights.copy())
    chosen = {"momentum": 0.9, "nesterovs_momentum": nesterov, "alpha": 0.0}
    translation = translate("sklearn", "sgd", {"learning_rate_init": rates, **chosen})
    assert deviation(follow(translation, STEPS), np.array(path)) < ROUNDING


@pytest.mark.parametrize("epsilon", [1e-8, 0.1])
def test_pytorch_takes_the_steps_of_the_solver_adam(epsilon):
    weights, path = START.copy(), []
    solver = _stochastic_optimizers.AdamOptimizer([weights], 0.05, epsilon=epsilon)
    for step in range(1, STEPS + 1):
        solver.update_params([weights], [gradient(weights, step)])
        path.append(weights.copy())
    translation = translate("sklearn", "adam", {"lr": 0.05, "epsilon": epsilon, "alpha": 0.0})
    assert deviation(follow(translation, STEPS), np.array(path)) < ROUNDING


@pytest.mark.parametrize(
    ("solver", "chosen"),
    [
        ("sgd", {"learning_rate_init": 0.05, "momentum": 0.9, "nesterovs_momentum": True}),
        ("sgd", {"learning_rate_init": 0.05, "momentum": 0.8, "nesterovs_momentum": False}),
        ("adam", {"learning_rate_init": 0.01, "epsilon": 1e-3}),
    ],
)
@pytest.mark.parametrize("alpha", [0.0, 0.7])
def test_pytorch_trains_an_mlp_to_the_weights_of_mlpregressor(solver, chosen, alpha):
    x, y = data()
    theirs = MLPRegressor(
        hidden_layer_sizes=(4,),
        activation="tanh",
        solver=solver,
        alpha=alpha,
        batch_size=len(x),
        shuffle=False,
        random_state=0,
        **chosen,
    )
    theirs.partial_fit(x, y)  # its first step; the start is got back from a twin that did not move
    still = MLPRegressor(
        hidden_layer_sizes=(4,),
        activation="tanh",
        solver="sgd",
        learning_rate_init=1e-300,
        batch_size=len(x),
        shuffle=False,
        random_state=0,
    ).partial_fit(x, y)
    for _ in range(9):
        theirs.partial_fit(x, y)

    translation = translate("sklearn", solver, {**chosen, "alpha": alpha}, batch_size=len(x))
    matrices = [torch.nn.Parameter(torch.tensor(c)) for c in still.coefs_]
    biases = [torch.nn.Parameter(torch.tensor(b)) for b in still.intercepts_]
    settings = dict(translation.hyperparameters)
    groups = [{"params": matrices}, {"params": biases, "weight_decay": 0.0}]
    optimizer = getattr(torch.optim, translation.optimizer)(groups, **settings)
    inputs, targets = torch.tensor(x), torch.tensor(y)
    for step in range(1, 11):
        optimizer.zero_grad()
        hidden = torch.tanh(inputs @ matrices[0] + biases[0])
        errors = hidden @ matrices[1] + biases[1] - targets
        (errors.square().sum() / 2 / len(x)).backward()  # its gradient, not the loss it reports
        prepare(optimizer, translation, step)
        optimizer.step()
    pairs = [*zip(matrices, theirs.coefs_, strict=True), *zip(biases, theirs.intercepts_, strict=True)]
    for ours, their in pairs:
        assert deviation(ours.detach().numpy(), their) < ROUNDING


@pytest.mark.parametrize("power_t", [0.0, 0.25, 0.5])
def test_pytorch_takes_the_steps_of_sgdregressor(power_t):
    x, y = data(samples=STEPS, outputs=1)
    theirs = SGDRegressor(
        alpha=0.1,
        eta0=0.05,
        power_t=power_t,
        learning_rate="invscaling",
        fit_intercept=False,
        shuffle=False,
    )
    theirs.partial_fit(x, y[:, 0])  # one pass, one sample a step, from zero weights

    def one_sample(w, t):
        return (w @ x[t - 1] - y[t - 1, 0]) * x[t - 1]

    translation = translate("sklearn", "SGDRegressor", {"eta0": 0.05, "power_t": power_t, "alpha": 0.1})
    path = follow(translation, STEPS, gradient=one_sample, start=np.zeros(3))
    assert deviation(path[-1], theirs.coef_) < ROUNDING


@pytest.mark.parametrize(
    ("name", "estimator"), [("sgd", MLPRegressor), ("adam", MLPRegressor), ("SGDRegressor", SGDRegressor)]
)
def test_the_defaults_are_those_of_scikit_learn(name, estimator):
    signature = inspect.signature(estimator).parameters
    written = dialects["sklearn"][name]
    ours = {p.name: p.default for p in written.parameters}
    assert ours == {name: signature[name].default for name in ours}
