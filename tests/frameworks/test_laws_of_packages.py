"""Laws of other packages' optimizers, run: both sides trained with the package's own class."""

from __future__ import annotations

import pytest
import torch

from suite.equivalence import law
from suite.equivalence.trajectory import Training, distance, optimizer_class
from suite.errors import UsageError
from tests.equivalence.problems import squares
from tests.equivalence.published import PUBLISHED
from tests.equivalence.test_laws_of_packages import (
    BY_CURVATURE,
    LOUD_IN_PACKAGES,
    by_curvature,
    model_of,
    parted,
    unheard,
)

RUN = [name for name, rule in ((n, law(n)) for n in LOUD_IN_PACKAGES) if "not run" not in rule.source]


def installed(name: str) -> type:
    try:
        return optimizer_class(name)
    except UsageError as error:
        pytest.skip(f"{error}: the tox environment `frameworks` has it")


@pytest.mark.parametrize("name", RUN)
def test_a_power_of_two_leaves_the_trajectory_of_the_package(name: str) -> None:
    assert parted(installed(name), name, 2.0**5) <= 1e-6  # some keep what they estimate in float32


@pytest.mark.parametrize("name", RUN)
def test_each_hyperparameter_that_is_changed_counts_in_the_package(name: str) -> None:
    assert unheard(installed(name), name, 2.0**5) == []


@pytest.mark.parametrize("name", [n for n in RUN if "SOAP" not in n and "8bit" not in n])
def test_the_published_update_is_the_packages(name: str) -> None:
    given = LOUD_IN_PACKAGES[name]
    weights = []
    for cls in (installed(name), PUBLISHED[name]):
        training = Training(model_of(name), squares(0), cls, given)
        weights.append([training.step(k) for k in range(10)])
    assert distance(*weights) <= 1e-6


def test_curvature_goes_with_the_gradient_in_the_package() -> None:
    cls = installed(BY_CURVATURE)
    reference = by_curvature(cls, 1.0)
    assert distance(reference, by_curvature(PUBLISHED[BY_CURVATURE], 1.0)) <= 1e-12
    assert distance(reference, by_curvature(cls, 32.0)) <= 1e-12
    assert distance(reference, by_curvature(cls, 32.0, eps=2.5)) > 1e-3


@pytest.mark.parametrize("name", [*RUN, BY_CURVATURE])
def test_a_law_names_the_hyperparameters_and_defaults_of_the_package(name: str) -> None:
    import inspect

    arguments = list(inspect.signature(installed(name).__init__).parameters.values())[2:]
    theirs = {p.name: p.default for p in arguments if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
    assert {k: e.default for k, e in law(name).hyperparameters.items() if k in theirs} == theirs


@pytest.mark.parametrize("name", RUN)
def test_buffers_are_those_that_the_law_names(name: str) -> None:
    training = Training(model_of(name), squares(0), installed(name), LOUD_IN_PACKAGES[name])
    training.step(0), training.step(1)
    buffers = {key for p in training.parameters for key in training.optimizer.state[p]}
    assert buffers <= law(name).state.keys() or law(name).unconverted
    assert all(torch.is_tensor(p) for p in training.parameters)
