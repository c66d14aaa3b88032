from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from suite.batch_size.evaluation import evaluate_rules
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
    found = evaluate_rules(model, sampler, losses, "SGD", {"lr": 0.005}, **arguments)
    return {evaluation.rule: evaluation for evaluation in found}


def test_every_rule_sees_the_same_number_of_samples_as_the_reference():
    evaluations = by_rule(noise=NoiseScale(100.0, 1.0, 8))
    assert evaluations.pop("other samples").steps == 80
    applied = [evaluation for evaluation in evaluations.values() if not evaluation.reason]
    assert {evaluation.steps for evaluation in applied} == {20}


def test_sgd_far_from_its_minimum_lands_nearer_by_the_linear_rule_than_by_the_others():
    evaluations = by_rule(names=["unchanged", "linear", "square-root"])
    assert evaluations["linear"].distance < evaluations["square-root"].distance / 3
    assert evaluations["square-root"].distance < evaluations["unchanged"].distance
    assert evaluations["linear"].hyperparameters == {"lr": pytest.approx(0.02)}
    assert evaluations["linear"].loss < evaluations["unchanged"].loss


def test_other_samples_alone_already_land_elsewhere():
    assert by_rule(names=["linear"])["other samples"].distance > 1e-3


def test_a_rule_that_does_not_apply_is_named_with_its_reason():
    evaluation = by_rule(steps=4)["adam-square-root"]
    assert "not for SGD" in evaluation.reason
    assert math.isnan(evaluation.distance)


def test_it_is_reproducible():
    assert by_rule(steps=8, names=["linear"]) == by_rule(steps=8, names=["linear"])


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(UsageError, match="a multiple of 4 steps"):
        by_rule(steps=3)
    with pytest.raises(UsageError, match="at least 1"):
        by_rule(seeds=())
