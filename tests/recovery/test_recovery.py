"""Recovery gives back the weights that a step used, within the bound that it states."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from suite.algebra.units import Units
from suite.conventions import conventions
from suite.errors import CaseError, UsageError
from suite.loops.loop import Loop
from suite.recovery import recover
from tests.equivalence.problems import examples
from tests.recovery.made import TWINS
from tests.recovery.steps import losses, mean, one_by_one, returned, setting, weighted

SEEDS = st.integers(0, 2**16)
STEPS = st.sampled_from([weighted, one_by_one, returned])
PLAIN = st.floats(-4, 4, width=16, allow_subnormal=False)
WIDE = st.builds(lambda sign, power: sign * 10.0**power, st.sampled_from([-1, 1]), st.floats(-6, 6))
COEFFICIENTS = st.lists(st.one_of(st.just(0.0), PLAIN, WIDE), min_size=1, max_size=12)


@given(COEFFICIENTS, STEPS, st.sampled_from([torch.float64, torch.float32]), SEEDS)
def test_any_coefficients_come_back_within_the_stated_bound(coefficients, step, dtype, seed) -> None:
    given_setting = setting(len(coefficients), dtype=dtype, seed=seed)
    found = recover(step(coefficients), given_setting.model, given_setting.batch, losses)
    used = torch.as_tensor(coefficients, dtype=dtype).double().numpy()
    assert found.identifiable.all()
    assert (np.abs(found.weights - used) <= found.error).all()
    assert found.linear


@examples(15)
@given(COEFFICIENTS, SEEDS)
def test_the_bound_is_tight_on_well_conditioned_batches(coefficients, seed) -> None:
    largest = max(1.0, *map(abs, coefficients))
    for dtype, digits in ((torch.float64, 1e-10), (torch.float32, 1e-3)):
        given_setting = setting(len(coefficients), dtype=dtype, seed=seed)
        found = recover(weighted(coefficients), given_setting.model, given_setting.batch, losses)
        assert found.error.max() <= digits * largest * max(found.condition, 1)


@pytest.mark.parametrize(("dtype", "digits"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("seed", range(5))
def test_weights_of_the_mean_are_right_to_the_digits_of_the_dtype(dtype, digits, seed) -> None:
    given_setting = setting(32, dtype=dtype, seed=seed)
    found = recover(mean, given_setting.model, given_setting.batch, losses)
    assert np.abs(found.weights - 1 / 32).max() <= digits / 32
    assert found.convention is conventions["mean"]
    assert found.scale == 1


@given(SEEDS, st.lists(PLAIN, min_size=6, max_size=6), st.sampled_from([torch.float64, torch.float32]))
def test_duplicated_samples_are_named_and_their_sum_is_right(seed, coefficients, dtype) -> None:
    given_setting = setting(6, dtype=dtype, seed=seed)
    x, y = given_setting.batch
    x[4], y[4] = x[1], y[1]
    found = recover(weighted(coefficients), given_setting.model, (x, y), losses)
    assert found.identifiable.tolist() == [True, False, True, True, False, True]
    assert np.isnan(found.weights[[1, 4]]).all()
    assert np.isinf(found.error[[1, 4]]).all()
    (group,) = found.groups
    assert group.units == (1, 4)
    assert group.duplicates
    used = torch.tensor(coefficients, dtype=dtype).double()
    assert abs(group.total - float(used[1] + used[4])) <= group.error
    assert (np.abs(found.weights - used.numpy())[found.identifiable] <= found.error[found.identifiable]).all()
    assert "sample 1, sample 4 have the same gradient: only their sum can be told" in str(found)


def test_parallel_gradients_are_told_as_a_weighted_sum() -> None:
    model = nn.Linear(3, 1, bias=False).double()
    x = torch.eye(3, dtype=torch.float64)[[0, 0, 1]]
    # The gradient of ½(wx − y)² is (wx − y)·x: parallel for equal x, and twice as long by choice of y.
    with torch.no_grad():
        model.weight.zero_()
    batch = (x, torch.tensor([[-1.0], [-2.0], [-1.0]], dtype=torch.float64))

    def squares(model, batch):
        return 0.5 * (model(batch[0]) - batch[1]).square().sum(1)

    def step(model, batch):
        (torch.tensor([0.25, 0.5, 3.0]) * squares(model, batch)).sum().backward()

    found = recover(step, model, batch, squares)
    (group,) = found.groups
    assert group.units == (0, 1)
    assert group.ratios == pytest.approx((1.0, 2.0))
    assert group.total == pytest.approx(0.25 + 2 * 0.5)
    assert not group.duplicates
    assert found.weights[2] == pytest.approx(3.0)


def test_a_sample_without_a_gradient_is_named_and_not_guessed() -> None:
    def masked(model, batch):
        return losses(model, batch) * torch.tensor([1.0, 0.0, 1.0, 1.0])

    given_setting = setting(4)
    found = recover(
        lambda model, batch: masked(model, batch).mean().backward(),
        given_setting.model, given_setting.batch, masked,
    )  # fmt: skip
    assert found.silent == (1,)
    assert found.identifiable.tolist() == [True, False, True, True]
    assert found.convention is conventions["mean"]
    assert "no gradient" in str(found)


def test_more_units_than_parameters_leaves_nothing_identifiable() -> None:
    torch.manual_seed(0)
    model, batch = nn.Linear(2, 4).double(), (torch.randn(40, 2).double(), torch.randn(40, 4).double())

    def squares(model, batch):
        return (model(batch[0]) - batch[1]).square().sum(1)

    found = recover(lambda m, b: squares(m, b).mean().backward(), model, batch, squares)
    assert not found.identifiable.any()
    assert found.spans
    assert "mean" in found.names
    assert "span all parameters" in str(found)


def test_a_zero_gradient_has_zero_weights_and_no_convention() -> None:
    given_setting = setting()
    found = recover(weighted([0.0] * 8), given_setting.model, given_setting.batch, losses)
    assert np.abs(found.weights).max() == 0
    assert found.convention is None
    assert "gradient is zero" in str(found)


def test_parts_are_units_and_named_in_the_report() -> None:
    given_setting = setting(3)

    def two(model, batch):
        entries = losses(model, batch)
        return torch.stack([entries, entries.square()], dim=1)

    def step(model, batch):
        (two(model, batch) * torch.tensor([1.0, 0.25])).mean(0).sum().backward()

    units = Units.of(3, {"term_weight": [1.0, 0.25]}, parts=("plain", "square"))
    found = recover(step, given_setting.model, given_setting.batch, two, units=units)
    # One output: both terms pull along the same gradient, and only their sum can be told.
    assert [group.units for group in found.groups] == [(0, 1), (2, 3), (4, 5)]
    assert found.names == ("weighted-sum-of-terms",)
    assert (found.convention.name, found.scale) == ("weighted-sum-of-terms", 1.0)
    assert "0 plain" in str(found)


def test_a_regulariser_is_the_last_unit() -> None:
    given_setting = setting()

    def penalty(model):
        return sum(p.square().sum() for p in model.parameters())

    def step(model, batch):
        (losses(model, batch).mean() + 0.125 * penalty(model)).backward()

    found = recover(step, given_setting.model, given_setting.batch, losses, regulariser=penalty)
    assert found.weights[-1] == pytest.approx(0.125, rel=1e-12)
    assert found.linear
    assert "regulariser" in str(found)


def test_micro_batches_are_read_from_the_units_table() -> None:
    given_setting = setting(8)
    sizes = [3, 3, 2]
    units = Units.of(8, {"microbatch": np.repeat(np.arange(3), sizes)}, window=3)

    def accumulate(model, batch):
        for x, y in zip(*(part.split(sizes) for part in batch), strict=True):
            (losses(model, (x, y)).mean() / 3).backward()

    found = recover(accumulate, given_setting.model, given_setting.batch, losses, units=units)
    assert found.convention is conventions["mean-of-microbatch-means"]
    assert found.fault is None
    assert "If window-exact was meant: the token means of the micro-batches were averaged" in str(found)
    without = recover(accumulate, given_setting.model, given_setting.batch, losses)
    assert without.convention is None
    np.testing.assert_allclose(without.weights, [1 / 9] * 6 + [1 / 6] * 2, rtol=1e-10)


@pytest.mark.parametrize("scale", [2.0, 0.25, 1 / 3, -1.0])
def test_a_simple_multiple_of_the_mean_is_called_so(scale: float) -> None:
    given_setting = setting(7)
    found = recover(weighted([scale / 7] * 7), given_setting.model, given_setting.batch, losses)
    assert found.convention is conventions["half-mean" if scale == 0.5 else "mean"]
    assert found.scale == pytest.approx(scale, rel=1e-12)
    assert found.cause is None


@pytest.mark.parametrize("name", [c.name for c in conventions if c.family == "faults"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_each_faults_loop_is_recognised_by_name(name: str, dtype: torch.dtype) -> None:
    given_setting = setting(7, dtype=dtype)
    units = Units.of(
        7,
        {"elements": [1, 3, 2, 1, 5, 4, 2], "microbatch": [0, 0, 0, 1, 1, 1, 2], "rank": [0] * 5 + [1] * 2},
        window=4,
        world_size=2,
        max_norm=0.05,
    )

    def step(model, batch):
        conventions[name].reference_loop(Loop(model, batch, losses, units))

    found = recover(step, given_setting.model, given_setting.batch, losses, units=units)
    assert found.scale == 1
    if name in TWINS:
        assert found.fault is None
        assert conventions[name].summary[1:] in str(found)
    else:
        assert found.fault is conventions[name]
        assert found.names == (name,)
        assert "known mistake" in str(found)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_torchs_clipping_is_clipping_though_it_adds_to_the_norm(dtype: torch.dtype) -> None:
    given_setting = setting(7, dtype=dtype)

    def step(model, batch):
        losses(model, batch).mean().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.05)

    found = recover(step, given_setting.model, given_setting.batch, losses, units=Units.of(7, max_norm=0.05))
    assert (found.convention.name, found.scale) == ("clip-mean", 1)
    assert len(set(found.names)) == len(found.names)


class Renamed(nn.Linear):
    """A model whose copies call their parameters otherwise, as those of Keras do."""

    def named_parameters(self, *args, **kwargs):
        for name, parameter in super().named_parameters(*args, **kwargs):
            yield f"{name}_{id(self)}", parameter


def test_a_model_whose_copies_rename_parameters_is_recovered() -> None:
    model, batch = Renamed(6, 3).double(), (torch.randn(5, 6).double(), torch.tensor([0, 1, 2, 1, 0]))

    def per_sample(model, batch):
        return nn.functional.cross_entropy(model(batch[0]), batch[1], reduction="none")

    found = recover(lambda m, b: per_sample(m, b).mean().backward(), model, batch, per_sample)
    assert found.convention.name == "mean"


def test_the_model_is_left_as_it_was_found() -> None:
    given_setting = setting(8, nn.BatchNorm1d(24), nn.Dropout(0.5))
    model, batch = given_setting.model, given_setting.batch
    model[1].eval()
    mean(model, batch)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    optimizer.step()
    state = {k: v.clone() for k, v in model.state_dict().items()}
    objects = [p.grad for p in model.parameters()]
    grads = [grad.clone() for grad in objects]
    modes = [module.training for module in model.modules()]
    velocity = [optimizer.state[p]["momentum_buffer"].clone() for p in model.parameters()]
    states = random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002  the one that steps use
    torchs = torch.get_rng_state()

    def step(model, batch):
        model.train()
        np.random.rand()  # noqa: NPY002  steps do
        batch[0].mul_(2)
        optimizer.zero_grad()
        mean(model, batch)
        optimizer.step()
        optimizer.zero_grad()

    found = recover(step, model, batch, losses)
    assert not found.linear
    for key, value in model.state_dict().items():
        assert torch.equal(value, state[key]), key
    for parameter, kept, content in zip(model.parameters(), objects, grads, strict=True):
        assert parameter.grad is kept
        assert torch.equal(kept, content)
    assert [module.training for module in model.modules()] == modes
    for parameter, buffer in zip(model.parameters(), velocity, strict=True):
        assert torch.equal(optimizer.state[parameter]["momentum_buffer"], buffer)
    assert random.getstate() == states[0]
    assert (np.random.get_state()[1] == states[1]).all()  # noqa: NPY002  see above
    assert torch.equal(torch.get_rng_state(), torchs)


def test_a_units_table_of_another_length_is_refused() -> None:
    given_setting = setting()
    with pytest.raises(UsageError, match=r"7 units.*8"):
        recover(mean, given_setting.model, given_setting.batch, losses, units=Units.of(7))


def test_losses_that_are_reduced_are_refused() -> None:
    given_setting = setting()
    with pytest.raises(UsageError, match="unreduced"):
        recover(mean, given_setting.model, given_setting.batch, lambda m, b: losses(m, b).mean())


def test_losses_that_fail_are_one_line() -> None:
    def losses(model, batch):
        x, y = ()
        return model(x) - y

    x = torch.randn(3, 2)
    said = r"the losses failed \(test_recovery.py:\d+\): ValueError: not enough values"
    with pytest.raises(UsageError, match=said) as error:
        recover(lambda model, batch: model(batch).sum().backward(), nn.Linear(2, 1), x, losses)
    assert "\n" not in str(error.value)


def test_losses_that_are_nan_are_a_case_error() -> None:
    given_setting = setting()
    with pytest.raises(CaseError, match="nan"):
        recover(mean, given_setting.model, given_setting.batch, lambda m, b: losses(m, b) / 0 * 0)


def test_the_frame_and_the_card_hold_the_weights() -> None:
    given_setting = setting()
    found = recover(mean, given_setting.model, given_setting.batch, losses)
    assert found.frame["weight"].tolist() == found.weights.tolist()
    assert {"sample", "error", "identifiable"} <= set(found.frame)
    card = found.card()
    assert card["convention"] == "mean"
    assert card["weights"] == found.weights.tolist()


def test_the_weights_are_drawn_into_a_file(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs pip install 'gradsuite[plot]'")
    tried = setting(4)
    found = recover(mean, tried.model, tried.batch, losses)
    found.plot(tmp_path / "weights.svg", width="one")
    assert (tmp_path / "weights.svg").read_text().startswith("<?xml")
    assert found.card()["samples"] == 4


def test_a_report_of_many_weights_is_cut_and_says_so() -> None:
    given_setting = setting(40)
    shown = str(recover(weighted(np.arange(40.0)), given_setting.model, given_setting.batch, losses))
    assert ".frame has them all" in shown
    assert len(shown.splitlines()) < 40


def test_the_mean_of_two_elements_is_called_so_though_half_a_mean_is_the_same() -> None:
    given, units = setting(6), Units.of(6, {"elements": 2})
    found = recover(weighted([1 / 12] * 6), given.model, given.batch, losses, units=units)
    assert found.convention.name == "element-mean"
    assert "half-mean" in found.also
