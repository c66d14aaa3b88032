from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.batch_size.noise import NoiseScale
from suite.batch_size.rules import rules
from suite.errors import UsageError

SIZES = st.integers(1, 4096)
NOISE = NoiseScale(trace=200.0, square=2.0, samples=32)
ADAM = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8}


def settings_for(name):
    return ("RMSprop", {"lr": 1e-3, "alpha": 0.99, "eps": 1e-8}) if "rmsprop" in name else ("Adam", ADAM)


@pytest.mark.parametrize("rule", rules, ids=lambda rule: rule.name)
def test_every_rule_is_cited_and_called_a_heuristic(rule):
    assert rule.heuristic
    assert rule.source
    assert rule.formula
    assert rule.summary
    assert "heuristic" in rule.card()["exact"]


@pytest.mark.parametrize("rule", rules, ids=lambda rule: rule.name)
@given(size=SIZES)
def test_the_same_batch_size_changes_nothing(rule, size):
    optimizer, before = settings_for(rule.name)
    after = rule.apply(optimizer, before, size, size, noise=NOISE)
    assert after.pop("betas", None) == pytest.approx(before.get("betas"))
    assert after == pytest.approx({k: v for k, v in before.items() if k != "betas"})


@pytest.mark.parametrize("rule", rules, ids=lambda rule: rule.name)
@given(old=SIZES, factor=st.floats(0.1, 3), again=st.floats(0.1, 3))
def test_two_changes_are_one(rule, old, factor, again):
    optimizer, before = settings_for(rule.name)
    once = rule.apply(optimizer, before, old, old * factor * again, noise=NOISE)
    first = rule.apply(optimizer, before, old, old * factor, noise=NOISE)
    twice = rule.apply(optimizer, first, old * factor, old * factor * again, noise=NOISE)
    assert twice["lr"] == pytest.approx(once["lr"])
    assert twice.get("betas") == pytest.approx(once.get("betas"))
    assert twice.get("alpha") == pytest.approx(once.get("alpha"))
    assert twice["eps"] == pytest.approx(once["eps"])


def test_goyals_rate_for_8192_images_is_32_times_the_one_for_256():
    assert rules["linear"].apply("SGD", {"lr": 0.1}, 256, 8192) == {"lr": pytest.approx(3.2)}


def test_the_square_root_rule_keeps_the_variance_of_a_step():
    # The variance of a step is lr²·Σ/B.
    after = rules["square-root"].apply("SGD", {"lr": 0.1}, 100, 1600)
    assert after["lr"] ** 2 / 1600 == pytest.approx(0.1**2 / 100)


def test_adams_square_root_rule_is_malladis():
    after = rules["adam-square-root"].apply("AdamW", {**ADAM, "weight_decay": 0.1}, 256, 1024)
    assert after == {
        "lr": pytest.approx(2e-3),
        "betas": (pytest.approx(0.6), pytest.approx(0.996)),
        "eps": pytest.approx(5e-9),
        "weight_decay": 0.1,
    }


def test_adams_square_root_rule_takes_torchs_defaults_where_nothing_is_given():
    after = rules["adam-square-root"].apply("Adam", {"lr": 1e-3}, 1, 4)
    assert after["betas"] == (pytest.approx(0.6), pytest.approx(0.996))
    assert after["eps"] == pytest.approx(5e-9)


@given(kappa=st.floats(1.01, 100))
def test_it_forgets_after_as_many_samples_as_before(kappa):
    # A decay rate β forgets within 1/(1 − β) steps.
    if kappa * (1 - ADAM["betas"][0]) >= 1:
        with pytest.raises(UsageError, match="less than 10 times"):
            rules["adam-square-root"].apply("Adam", ADAM, 64, 64 * kappa)
        return
    after = rules["adam-square-root"].apply("Adam", ADAM, 64, 64 * kappa)
    for old, new in zip(ADAM["betas"], after["betas"], strict=True):
        assert 64 * kappa / (1 - new) == pytest.approx(64 / (1 - old))


def test_the_noise_scale_rule_is_linear_below_the_noise_scale_and_constant_above():
    rule = rules["noise-scale"]
    small = NoiseScale(trace=1e9, square=1.0, samples=8)
    large = NoiseScale(trace=1e-9, square=1.0, samples=8)
    assert rule.apply("SGD", {"lr": 0.1}, 8, 16, noise=small)["lr"] == pytest.approx(0.2)
    assert rule.apply("SGD", {"lr": 0.1}, 8, 16, noise=large)["lr"] == pytest.approx(0.1)


def test_the_noise_scale_rule_follows_mccandlishs_formula():
    lr = rules["noise-scale"].apply("SGD", {"lr": 0.1}, 100, 300, noise=NOISE)["lr"]
    assert lr == pytest.approx(0.1 * (1 / (1 + 100 / 300)) / (1 / (1 + 100 / 100)))


def test_where_the_noise_hides_the_gradient_the_noise_scale_rule_is_linear():
    hidden = NoiseScale(trace=1.0, square=-1.0, samples=4)
    assert rules["noise-scale"].apply("SGD", {"lr": 0.1}, 1, 4, noise=hidden)["lr"] == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("name", "optimizer", "settings", "sizes", "says"),
    [
        ("adam-square-root", "SGD", {"lr": 0.1}, (1, 2), "not for SGD"),
        ("rmsprop-square-root", "Adam", {"lr": 0.1}, (1, 2), "not for Adam"),
        ("linear", "SGD", {}, (1, 2), "scales lr"),
        ("noise-scale", "SGD", {"lr": 0.1}, (1, 2), "noise scale"),
        ("linear", "SGD", {"lr": 0.1}, (0, 2), "batch_size is 0"),
        ("linear", "SGD", {"lr": 0.1}, (1, math.inf), "to_batch_size is inf"),
    ],
)
def test_a_rule_that_does_not_apply_says_so(name, optimizer, settings, sizes, says):
    with pytest.raises(UsageError, match=says):
        rules[name].apply(optimizer, settings, *sizes)


def test_an_unknown_rule_is_answered_with_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'linear'"):
        rules["liner"]
