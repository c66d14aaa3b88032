from __future__ import annotations

import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.algebra.units import Units
from suite.equivalence.scales import Sizes, exact, scale_between
from suite.errors import UsageError
from suite.frameworks import convention_of

COUNTS = st.integers(1, 500)


def test_a_batch_size_stands_for_its_sizes() -> None:
    assert scale_between("sum", "mean", 32) == scale_between("sum", "mean", Sizes(32))
    ranked = scale_between("mean-of-rank-means", "sum-of-rank-means", np.int64(8), ranks=4)
    assert ranked.scale == 4


@pytest.mark.parametrize(
    ("sizes", "more", "says"),
    [
        (32, {"element": 2}, "no size is named 'element': did you mean 'elements' or"),
        (Sizes(32), {"elements": 2}, "elements= is given beside Sizes"),
        ("32", {}, "sizes is '32': give the batch size"),
        (0, {}, "--batch-size is 0"),
    ],
)
def test_sizes_that_are_none_are_refused(sizes, more, says) -> None:
    with pytest.raises(UsageError, match=re.escape(says)):
        scale_between("sum", "mean", sizes, **more)


@given(n=COUNTS)
def test_from_sum_to_mean_is_one_over_n_exactly(n):
    assert scale_between("sum", "mean", Sizes(n)).scale == Fraction(1, n)


@given(n=COUNTS, m=COUNTS)
def test_from_sum_to_element_mean_is_one_over_n_m_exactly(n, m):
    assert scale_between("sum", "element-mean", Sizes(n, elements=m)).scale == Fraction(1, n * m)


@given(k=st.integers(2, 20), each=st.integers(1, 20), m=st.integers(1, 9))
def test_whoever_forgets_to_divide_by_k_gets_k_times_the_gradient(k, each, m):
    sizes = Sizes(k * each, elements=m, microbatches=k)
    scaling = scale_between("element-mean", "sum-of-microbatch-means", sizes)
    assert (scaling.scale, scaling.penalty) == (k, 1)  # the penalty is counted K times as well


@given(r=st.integers(2, 20), each=st.integers(1, 20))
def test_even_ranks_average_to_the_mean(r, each):
    assert scale_between("mean", "mean-of-rank-means", Sizes(r * each, ranks=r)).scale == 1


def test_a_way_there_and_a_way_back_cancel():
    sizes = Sizes(12, elements=5, expected_batch_size=10.5, max_elements=7)
    there = scale_between("sum", "constant-normaliser", sizes).scale
    assert there * scale_between("constant-normaliser", "sum", sizes).scale == 1
    assert scale_between("sum", "expected-batch-size", sizes).scale == Fraction(2, 21)


def test_a_scale_that_goes_with_the_batch_size_says_so():
    assert "last batch" in scale_between("sum", "mean", Sizes(32)).notes[0]
    assert scale_between("sum", "half-sum", Sizes(32)).notes == ()


def test_a_scale_that_goes_with_the_lengths_assumes_equal_ones() -> None:
    found = scale_between("mean", "element-mean", Sizes(4, elements=10)).ragged
    assert (found.assumes, found.direction, found.spread) == ("every sample has 10 elements", False, 19.0)
    assert "each batch has a scale of its own" in found.text


def test_a_direction_that_changes_with_the_lengths_assumes_equal_ones_and_says_how_far_others_go() -> None:
    found = scale_between("mean", "mean-of-sample-means", Sizes(4, elements=10, max_elements=41)).ragged
    assert found.direction
    assert found.spread == pytest.approx(41)
    assert "no rate exists: with samples of 1 to 41 elements" in found.text
    assert "95.24 % of the step" in found.text  # (41 − 1)/(41 + 1)


def test_groups_are_assumed_to_be_equal_too() -> None:
    found = scale_between("token-mean", "trl:grpo", Sizes(8, elements=2, microbatches=2, ranks=2)).ragged
    assert found.assumes == (
        "every sample has 2 elements and all micro-batches and ranks have equally many samples"
    )
    assert scale_between("mean", "mean-of-microbatch-means", Sizes(8, microbatches=2)).ragged.assumes == (
        "all micro-batches have equally many samples"
    )


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("sum", "mean"),
        ("constant-normaliser", "mean"),
        ("trl:dapo", "token-mean"),
        ("trl:bnpo", "nanogpt:gradient_accumulation_steps"),
    ],
)
def test_what_holds_for_all_sizes_assumes_nothing(source: str, target: str) -> None:
    sizes = Sizes(8, elements=10, max_elements=20, microbatches=2, ranks=2)
    assert scale_between(source, target, sizes).ragged is None


def test_the_worst_is_also_looked_for_in_a_microbatch_of_one_short_sample_beside_long_ones() -> None:
    sizes = Sizes(64, elements=10, microbatches=4, ranks=2)
    found = scale_between("ultralytics:v8", "mmdet:avg_factor", sizes).ragged
    assert found.spread == pytest.approx(62 * 19 + 1)  # all elements of its rank, where its own are one


PAIRS = [
    ("token-mean", "mean-of-sequence-means"),
    ("token-mean", "mean"),
    ("trl:grpo", "trl:dapo"),
    ("trl:bnpo", "verl:seq-mean-token-mean"),
    ("mean-of-rank-means", "mean-of-microbatch-means"),
    ("verl:token-mean-fsdp-actor-dynamic", "position-mean"),
    ("ultralytics:v8", "mmdet:avg_factor"),
]


@pytest.mark.parametrize(("source", "target"), PAIRS)
@given(data=st.data())
def test_no_lengths_and_no_groups_do_worse_than_what_is_said(
    source: str, target: str, data: st.DataObject
) -> None:
    sizes = Sizes(8, elements=4, microbatches=2, ranks=2)
    said = scale_between(source, target, sizes).ragged
    lengths = np.array(data.draw(st.lists(st.integers(1, sizes.longest), min_size=8, max_size=8)))
    cells = data.draw(st.permutations([(0, 0), (0, 1), (1, 0), (1, 1)])) + data.draw(
        st.lists(st.sampled_from([(0, 0), (0, 1), (1, 0), (1, 1)]), min_size=4, max_size=4)
    )
    rank, microbatch = np.array(cells).T
    columns = {"elements": lengths, "positions": lengths, "rank": rank, "microbatch": microbatch}
    units = Units.of(8, columns, window=2, world_size=2)
    ratios = convention_of(target).column(units) / convention_of(source).column(units)
    assert np.ptp(ratios) == 0 or ratios.max() / ratios.min() <= said.spread * (1 + 1e-12)


def test_groups_of_different_sizes_have_no_scale():
    with pytest.raises(UsageError, match="weigh the samples of this batch differently"):
        scale_between("mean", "mean-of-microbatch-means", Sizes(7, microbatches=3))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("clip-mean", "clips, so its coefficients depend on the gradients.*--max-norm"),
        ("weighted-mean", "has weights"),
        ("sum-of-terms", "adds loss terms"),
    ],
)
def test_what_depends_on_the_data_has_no_constant_scale(name, why):
    with pytest.raises(UsageError, match=why):
        scale_between("mean", name, Sizes(8))


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("mean-of-rank-means", "--ranks"),
        ("mean-of-microbatch-means", "--micro-batches"),
        ("token-mean", "--elements"),
        ("expected-batch-size", "--expected-batch-size"),
        ("constant-normaliser", "--elements and --max-elements"),
    ],
)
def test_a_size_that_is_missing_is_named(name, option):
    with pytest.raises(UsageError, match=f"{name} does not apply: .*; give {option}"):
        scale_between("mean", name, Sizes(8))


@pytest.mark.parametrize(
    "sizes",
    [
        {"samples": 0},
        {"samples": 4, "elements": 0},
        {"samples": 4, "microbatches": 5},
        {"samples": 4, "microbatches": 3, "ranks": 2},
        {"samples": 4, "ranks": -1},
        {"samples": 4, "expected_batch_size": 0.0},
    ],
)
def test_impossible_sizes_are_refused(sizes):
    with pytest.raises(UsageError, match=r"^--[a-z-]+ is "):
        Sizes(**sizes)


@given(p=st.integers(1, 10**4), q=st.integers(1, 10**4))
def test_a_ratio_of_counts_is_found_again(p, q):
    assert exact(p / q) == Fraction(p, q)


def test_a_ratio_that_is_none_of_counts_stays_a_float():
    assert exact(2**0.5) == 2**0.5


def test_a_convention_that_leaves_a_sample_out_has_no_scale() -> None:
    with pytest.raises(UsageError, match="weigh the samples of this batch differently"):
        scale_between("fault:kept-as-views", "mean", Sizes(8))
