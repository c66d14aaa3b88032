"""Twenty cards that are wrong on purpose: each is found by the step of its paper."""

from __future__ import annotations

from dataclasses import replace

import pytest

from suite.claim import claim_sources
from suite.papers.library import papers
from suite.papers.paper import CardGroup
from suite.replication.measure import complaints
from tests.replication.test_steps import step_of

BIASES = CardGroup("biases", "biases", lr_factor=2.0, weight_decay=0.0)
WRONG = {
    # The formula: what multiplies a unit's gradient.
    "a term of the loss weighs half": ("ppo-2017", {"formula": "λ_t/(2·n)"}),
    "micro-batches are averaged": ("yolov5-2020", {"formula": "λ_t·n_k/(K·V_kt)"}),
    "ranks are summed": ("olmo2-2024", {"formula": "1/(n_r·T)"}),
    "terms weigh alike": ("impala-2018", {"formula": "1"}),
    # The divisor.
    "tokens, not sentences": ("nmt-2017", {"convention": "token-mean"}),
    "a mean, not a sum": ("dqn-2015", {"convention": "mean"}),
    "micro-batches, not the window": ("roberta-2019", {"convention": "mean-of-microbatch-means"}),
    "padding does not count": ("t5-2019", {"convention": "token-mean"}),
    # Clipping: its order, what it is of, its threshold.
    "the sum is clipped, then divided": ("graphsage-2017", {"clip_over": "all"}),
    "all tensors together": ("dino-2021", {"clip_over": "all"}),
    "the mean, not each sample": ("dp-sgd-2016", {"clip_over": "all"}),
    "another threshold": ("dpo-2023", {"max_norm": 1.0}),
    # The dialect of the optimizer.
    "eps outside the root": (
        "impala-2018",
        {"dialect": "torch", "optimizer": "RMSprop", "hyperparameters": {"lr": 0.00048, "eps": 0.1}},
    ),
    "eps after the bias correction": (
        "sac-2018",
        {"dialect": "torch", "optimizer": "Adam", "hyperparameters": {"lr": 0.0003, "eps": 1e-7}},
    ),
    "a bias correction": (
        "bert-2018",
        {"dialect": "torch", "optimizer": "AdamW", "hyperparameters": {"lr": 0.0001, "eps": 1e-6}},
    ),
    "a mean square that starts at 0": (
        "a2c-baselines",
        {
            "dialect": "dqn",
            "optimizer": "RMSProp",
            "hyperparameters": {"lr": 7e-4, "alpha": 0.99, "eps": 1e-5},
        },
    ),
    # The groups of parameters.
    "norms are decayed": ("nanogpt", {"groups": ()}),
    "biases take one rate": ("mask-rcnn-2017", {"groups": (replace(BIASES, lr_factor=1.0),)}),
    "biases are not decayed": ("faster-rcnn-2015", {"groups": (BIASES,)}),
    "all layers are decayed": ("gcn-2017", {"groups": (CardGroup("all", "tensors", weight_decay=5e-4),)}),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_card_is_found_by_its_step(wrong):
    name, changes = WRONG[wrong]
    step = step_of(f"papers/{name}")
    assert complaints(replace(papers[name], **changes), step) != []


def test_there_are_twenty_of_them_and_each_paper_has_a_step():
    assert len(WRONG) == 20
    assert {f"papers/{name}" for name, _ in WRONG.values()} <= set(claim_sources.names)
