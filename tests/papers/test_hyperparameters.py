"""What an optimizer takes of a card: a rate where it has none, and the values of groups."""

from __future__ import annotations

import pytest

from suite.papers.hyperparameters import of_group, with_rate
from suite.papers.library import papers
from suite.papers.paper import CardGroup

GROUP = CardGroup("biases", "biases", lr_factor=2.0, weight_decay=0.5)


def test_a_rate_is_added_in_the_dialects_spelling_where_there_is_none():
    assert with_rate(papers["transformer-2017"], 0.25)["learning_rate"] == 0.25
    assert with_rate(papers["espnet-transformer-2019"], 0.25)["lr"] == 0.25
    assert with_rate(papers["dqn-2015"], 0.25) == papers["dqn-2015"].hyperparameters


@pytest.mark.parametrize(
    ("optimizer", "settings", "own"),
    [
        ("SGD", {"lr": 4.0}, {"lr": 8.0, "weight_decay": 0.125}),
        ("AdamW", {"lr": 4.0}, {"lr": 8.0, "weight_decay": 0.5}),
        ("NAdam", {"lr": 4.0}, {"lr": 8.0, "weight_decay": 0.125}),
        ("NAdam", {"lr": 4.0, "decoupled_weight_decay": True}, {"lr": 8.0, "weight_decay": 0.5}),
        ("Rprop", {"lr": 4.0}, {"lr": 8.0}),
    ],
)
def test_the_decay_of_a_group_goes_with_the_scale_as_the_optimizers_own(optimizer, settings, own):
    assert of_group(GROUP, optimizer, settings, 0.25) == own


def test_a_group_that_only_the_gradient_knows_takes_nothing_else():
    assert of_group(CardGroup("a", "part", gradient_factor=4.0), "SGD", {"lr": 1.0}, 2) == {}
