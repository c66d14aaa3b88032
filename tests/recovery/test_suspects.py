"""Nobody is accused: a known mistake is named only where nothing innocent leaves its weights."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suite.algebra.units import Column, Units
from suite.conventions import conventions
from suite.recovery.other_batch import other_batch
from suite.strategies import units as units_tables
from suite.strategies.profiles import PROFILE_VARIABLE
from tests.recovery.made import TWINS, doubted, identified, root, rows

DRAWS = 10_000 if os.environ.get(PROFILE_VARIABLE) == "nightly" else 300
UNEVEN = {"elements": [1, 3, 2, 1, 5, 4, 2], "microbatch": [0, 0, 0, 1, 1, 1, 2], "rank": [0] * 5 + [1] * 2}
FAULTS = [c.name for c in conventions if c.family == "faults"]
COUNTS = ("nothing", "samples", "elements", "weights", "each sample's elements")
REPEATS = ("sum", "mean", "all that there should be")


def table(**settings: object) -> Units:
    return Units.of(7, UNEVEN, **{"window": 4, "world_size": 2, "max_norm": 0.2, **settings})


def faults_named(units: Units, weights: Column, seed: int = 0) -> list[str]:
    made = root(units, weights, rows(units, seed))
    return [match.convention.name for match in identified(units, made) if match.is_fault]


@pytest.mark.parametrize("name", sorted(set(FAULTS) - TWINS))
def test_a_known_mistake_is_named_where_nothing_else_leaves_its_weights(name: str) -> None:
    units, seed = table(), 1
    gram = rows(units, seed) @ rows(units, seed).T
    assert faults_named(units, conventions[name].coefficients(units, gram), seed) == [name]


@pytest.mark.parametrize("name", sorted(TWINS))
def test_what_others_do_on_purpose_is_a_mistake_only_if_something_else_was_meant(name: str) -> None:
    units = table()
    weights = conventions[name].coefficients(units, np.eye(7))
    made = root(units, weights, rows(units))
    assert not any(match.is_fault for match in identified(units, made))
    (suspect,) = [s for s in doubted(units, made) if s.fault.name == name]
    assert suspect.tell is None
    assert suspect.says.startswith(f"If {conventions[name].against} was meant: ")


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("scale", [0.3, 0.7, 5.0])
def test_a_multiple_of_a_known_mistake_is_not_one(name: str, scale: float) -> None:
    units = table()
    weights = scale * conventions[name].coefficients(units, np.eye(7))
    assert faults_named(units, weights) == []


def test_a_plain_sum_is_suspected_of_nothing() -> None:
    units = Units.of(6)
    made = root(units, np.ones(6), rows(units))
    assert [match.convention.name for match in identified(units, made) if match.scale == 1] == ["sum"]
    assert not any(suspect.shows for suspect in doubted(units, made))


def test_clipping_once_is_not_clipping_inside_though_the_first_micro_batches_are_short() -> None:
    """Two micro-batches, loss / K, and `clip_grad_norm_` once: what every trainer does."""
    units = Units.of(4, {"elements": [3, 8, 5, 2], "microbatch": [0, 0, 1, 1]}, window=2, max_norm=1.0)
    gradients = rows(units) * np.array([[0.3], [0.3], [1], [1]])
    means = np.array([1 / 22, 1 / 22, 1 / 14, 1 / 14])
    gradients *= 1.5 / np.linalg.norm(means @ gradients)
    norm = np.linalg.norm(means @ gradients)
    assert np.linalg.norm(means[:2] @ gradients[:2]) < 1 < norm
    made = root(units, means / (norm + 1e-6), gradients)
    assert not any(match.is_fault for match in identified(units, made))
    (suspect,) = doubted(units, made)
    assert suspect.says == (
        "This batch cannot rule out fault:clipped-inside; a batch whose gradient is far longer than the "
        "clip threshold would."
    )


@pytest.mark.parametrize(
    ("fault", "units", "tell"),
    [
        # 1/(2n) is Caffe's half mean, and a mean of one micro-batch each that was divided by K = 2 twice.
        (
            "fault:divided-twice",
            Units.of(8, {"microbatch": [0, 1] * 4}, window=2),
            "micro-batches of unequal size",
        ),
        ("fault:global-count-over-ranks", Units.of(4, {"rank": [0, 0, 1, 1]}, world_size=2), "of ranks"),
        (
            "fault:window-count-times-k",
            Units.of(3, {"microbatch": [0, 1, 2]}, window=3),
            "micro-batches of unequal size",
        ),
    ],
)
def test_what_a_batch_cannot_rule_out_another_one_would(fault: str, units: Units, tell: str) -> None:
    weights = conventions[fault].coefficients(units, np.eye(len(units)))
    made = root(units, weights, rows(units))
    assert not any(match.is_fault for match in identified(units, made))
    (suspect,) = [s for s in doubted(units, made) if s.fault.name == fault]
    assert tell in suspect.tell


@pytest.mark.parametrize(
    ("first", "second", "tell"),
    [
        ("mean-of-rank-means", "joined-ranks-over-world-size", "that leaves a rank without data"),
        ("mean-of-microbatch-means", "partial-window-over-full-k", "that does not fill its window"),
        ("token-mean", "position-mean", "with more padding"),
        ("mean", "expected-batch-size", "of another size"),
        ("weighted-mean", "element-mean", "whose weights differ"),
        ("mean", "batchmean", None),
    ],
)
def test_the_batch_that_tells_two_conventions_apart_is_tried(first: str, second: str, tell: str) -> None:
    columns = {"microbatch": [0, 0, 1, 1], "rank": [0, 1, 0, 1], "weight": 1, "positions": 1}
    units = Units.of(4, columns, window=2, world_size=2, expected_batch_size=4.0)
    one, other = conventions[first].coefficients, conventions[second].coefficients
    assert other_batch(one, [other], units) == tell


@settings(max_examples=DRAWS)
@given(st.data())
def test_no_known_mistake_is_named_for_a_loop_in_which_nothing_is_wrong(data: st.DataObject) -> None:
    units = data.draw(units_tables())
    gradients = rows(units, data.draw(st.integers(0, 9)))
    weights = innocent_loop(units, gradients, lambda options: data.draw(st.sampled_from(options)))
    if np.abs(weights).max() > 0:
        made = root(units, weights, gradients)
        assert not [m.convention.name for m in identified(units, made) if m.is_fault]


def innocent_loop(units: Units, gradients: Column, choose) -> Column:
    """`[units]` the weights of a loop over ranks and micro-batches, reduced as `choose` says."""
    counted, over_k, over_r = choose(COUNTS), choose(REPEATS), choose(REPEATS)
    term_weights, clip = choose((False, True)), choose((False, True))
    weighted = counted == "weights" or choose((False, True))
    total = np.zeros(len(units))
    ranks = _groups(units, units.rank, units.data)
    for rank in ranks:
        on_rank, windows = np.zeros(len(units)), _groups(units, units.microbatch, rank)
        for inside in windows:
            on_rank += _reduced(units, inside, counted)
        total += on_rank / _times(over_k, len(windows), units.window)
    total /= _times(over_r, len(ranks), units.world_size)
    if weighted and units.weight is not None:
        total = total * units.weight
    if term_weights and units.term_weight is not None:
        total = total * units.term_weight
    total = np.where(units.data, total, choose((1.0, 0.5, 2.0)))
    if clip and units.max_norm is not None:
        norm = np.linalg.norm(total @ gradients) + choose((0.0, 1e-6))
        total = total * (units.max_norm / max(norm, units.max_norm))
    return total


def _groups(units: Units, index, inside) -> list[np.ndarray]:
    if index is None:
        return [inside]
    return [inside & (index == group) for group in np.unique(index[inside])]


def _reduced(units: Units, inside: np.ndarray, counted: str) -> Column:
    """The weights of one micro-batch."""
    weights = np.zeros(len(units))
    for unit in np.flatnonzero(inside):
        sample = inside & (units.sample == units.sample[unit])
        count = {
            "nothing": 1.0,
            "samples": float(len(np.unique(units.sample[inside]))),
            "elements": units.elements[inside].sum(),
            "weights": 1.0 if units.weight is None else (units.weight * units.elements)[inside].sum(),
            "each sample's elements": max(units.elements[sample].sum(), 1.0)
            * len(np.unique(units.sample[inside])),
        }[counted]
        weights[unit] = 1 / count if count > 0 else 1.0
    return weights


def _times(repeat: str, there: int, full: int) -> int:
    return {"sum": 1, "mean": there, "all that there should be": full}[repeat]
