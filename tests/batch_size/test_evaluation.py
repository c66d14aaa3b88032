from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from suite.batch_size.evaluation import compare
from suite.batch_size.noise import NoiseScale
from suite.errors import UsageError

TRUTH = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)


def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Linear(3, 1, bias=False, dtype=torch.float64)


def sampler(size, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(size, 3, generator=generator, dtype=torch.float64)
    return x, x @ TRUTH + 0.5 * torch.randn(size, generator=generator, dtype=torch.float64)


def losses(module, batch):
    x, y = batch
    return (module(x)[:, 0] - y).square()


def by_rule(**changes):
    arguments = {"batch_size": 4, "to_batch_size": 16, "steps": 80, "seeds": (0, 1, 2, 3)} | changes
    found = compare(model, sampler, losses, "SGD", {"lr": 0.005}, **arguments)
    return {landing.rule: landing for landing in found}


def test_every_rule_sees_the_same_number_of_samples_as_the_reference():
    landings = by_rule(noise=NoiseScale(100.0, 1.0, 8))
    assert landings.pop("other samples").steps == 80
    applied = [landing for landing in landings.values() if not landing.reason]
    assert {landing.steps for landing in applied} == {20}


def test_sgd_far_from_its_minimum_lands_nearer_by_the_linear_rule_than_by_the_others():
    landings = by_rule(names=["unchanged", "linear", "square-root"])
    assert landings["linear"].distance < landings["square-root"].distance / 3
    assert landings["square-root"].distance < landings["unchanged"].distance
    assert landings["linear"].hyperparameters == {"lr": pytest.approx(0.02)}
    assert landings["linear"].loss < landings["unchanged"].loss


def test_other_samples_alone_already_land_elsewhere():
    assert by_rule(names=["linear"])["other samples"].distance > 1e-3


def test_a_rule_that_does_not_apply_is_named_with_its_reason():
    landing = by_rule(steps=4)["adam-square-root"]
    assert "not for SGD" in landing.reason
    assert math.isnan(landing.distance)


def test_it_is_reproducible():
    assert by_rule(steps=8, names=["linear"]) == by_rule(steps=8, names=["linear"])


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(UsageError, match="a multiple of 4 steps"):
        by_rule(steps=3)
    with pytest.raises(UsageError, match="at least 1"):
        by_rule(seeds=())
