"""Loops of every kind: checkpoints, compilation, loss scaling, several optimizers, closures."""

from __future__ import annotations

import shutil
import types
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import suite
from suite.watch import AuditWarning
from tests.watch.runs import Pairs, batches, losses, network

UNEVEN = [1 / 6] * 3 + [1 / 4] * 2  # the mean of the means of 3 and of 2 samples


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1)


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_recomputation_is_no_micro_batch(reentrant) -> None:
    model = Pairs(network())
    optimizer = sgd(model)
    with suite.watch(model, suite.losses.classification) as audit:
        for x, y in batches(3, 2):
            x.requires_grad_(requires_grad=True)  # or a reentrant one has nothing to differentiate
            loss = checkpoint(lambda x, y: model(x, labels=y)["loss"], x, y, use_reentrant=reentrant)
            (loss / 2).backward()
        optimizer.step()
    (update,) = audit.updates
    assert update.microbatches == 2
    np.testing.assert_allclose(update.weights, UNEVEN)


@pytest.mark.parametrize("inside", [False, True])
def test_a_compiled_model_is_audited_from_outside_and_from_inside(inside) -> None:
    model = network()
    compiled = torch.compile(model, backend="eager")
    with suite.watch(model if inside else compiled, losses) as audit:
        optimizer = sgd(model)
        for x, y in audit.see(batches(3, 2)):
            (F.cross_entropy(compiled(x), y) / 2).backward()
        optimizer.step()
    np.testing.assert_allclose(audit.updates[0].weights, UNEVEN)


def compiled(backend: str, *, watched: bool) -> tuple[list[Tensor], suite.watch.RunAudit | None]:
    """Three updates of a compiled model by a compiled step; the first before anybody looks."""
    model = network(dtype=torch.float32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    forward, step = torch.compile(model, backend=backend), torch.compile(optimizer.step, backend=backend)
    loader, audit = batches(4, 2, 4, 2, 4, 2, dtype=torch.float32), None

    def trained(pairs: Any) -> None:
        for number, (x, y) in enumerate(pairs):
            (F.cross_entropy(forward(x), y) / 2).backward()
            if number % 2:
                step()
                optimizer.zero_grad()

    trained(loader[:2])
    if watched:
        with suite.watch(forward, losses) as audit:
            trained(audit.see(loader[2:]))
    else:
        trained(loader[2:])
    return [p.detach().clone() for p in model.parameters()], audit


@pytest.mark.parametrize(
    "backend",
    [
        "eager",
        pytest.param(
            "inductor",
            marks=[
                pytest.mark.slow,
                pytest.mark.skipif(not shutil.which("g++"), reason="inductor needs a C++ compiler"),
            ],
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")  # the compiler's own
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_compiled_step_ends_in_its_own_bits_and_is_audited(backend) -> None:
    (alone, _), (watched, audit) = (compiled(backend, watched=each) for each in (False, True))
    assert all(torch.equal(a, b) for a, b in zip(alone, watched, strict=True))
    assert audit is not None
    assert len(audit.updates) == 2
    audit.assert_convention("mean-of-microbatch-means")


class Scaling:
    """A loop with a GradScaler, which a processor can have too."""

    def __init__(self, *, unscale_first: bool, clip: float | None = None, overflows: bool = False) -> None:
        self.unscale_first, self.clip, self.overflows = unscale_first, clip, overflows

    def __call__(self, model: nn.Module, loader: Any) -> None:
        optimizer = sgd(model)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
        for number, (x, y) in enumerate(loader):
            with torch.autocast("cpu", torch.bfloat16, enabled=False):
                loss = F.cross_entropy(model(x), y)
            if self.overflows and number == 0:
                loss = loss * torch.inf
            scaler.scale(loss).backward()
            if self.unscale_first:
                scaler.unscale_(optimizer)
            if self.clip is not None:
                torch.nn.utils.clip_grad_norm_(model.parameters(), self.clip)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()


def test_a_scaled_loss_is_audited_as_it_was_unscaled() -> None:
    model = network(dtype=torch.float32)
    with suite.watch(model, losses) as audit:
        Scaling(unscale_first=True, clip=0.01)(model, audit.see(batches(4, dtype=torch.float32)))
    (update,) = audit.updates
    assert update.computes("mean")
    assert update.norm == pytest.approx(0.01, rel=1e-3)
    assert not update.mistake


def test_clipping_before_unscaling_is_named() -> None:
    model = network(dtype=torch.float32)
    with suite.watch(model, losses) as audit:
        Scaling(unscale_first=False, clip=0.5)(model, audit.see(batches(4, dtype=torch.float32)))
    (update,) = audit.updates
    assert "clipped before it was unscaled" in update.mistake
    assert "A mistake: the gradient was clipped before" in str(audit)
    assert not update.computes("mean")


def test_an_update_that_overflowed_is_none_and_its_micro_batches_are_forgotten() -> None:
    model = network(dtype=torch.float32)
    with suite.watch(model, losses) as audit:
        Scaling(unscale_first=True, overflows=True)(model, audit.see(batches(4, 3, dtype=torch.float32)))
    (update,) = audit.updates
    assert update.units.n == 3
    assert update.computes("mean")


def test_several_optimizers_make_one_update() -> None:
    model = network()
    first, second = sgd(model[0]), sgd(model[2])
    with suite.watch(model, losses) as audit:
        for x, y in audit.see(batches(3, 2, 4, 1)):
            (F.cross_entropy(model(x), y) / 2).backward()
            if len(x) % 2 == 0 or len(x) == 1:
                first.step()
                second.step()
                first.zero_grad()
                second.zero_grad()
    assert [update.units.n for update in audit.updates][:2] == [5, 4]
    np.testing.assert_allclose(audit.updates[0].weights, UNEVEN)
    assert len(audit.updates[0].units.frame) == 5


def test_optimizers_that_step_inside_the_backward_pass_are_one_update() -> None:
    model = network()
    owners = {p: torch.optim.SGD([p], lr=0.1) for p in model.parameters()}

    def apply(p: Tensor) -> None:
        owners[p].step()
        owners[p].zero_grad()

    for p in model.parameters():
        p.register_post_accumulate_grad_hook(apply)
    with suite.watch(model, losses) as audit:
        for x, y in audit.see(batches(3, 5)):
            F.cross_entropy(model(x), y).backward()
    assert [update.units.n for update in audit.updates] == [3, 5]
    for update in audit.updates:
        assert update.computes("mean")


def test_the_first_evaluation_of_a_closure_is_the_update() -> None:
    model = network()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=3)
    with suite.watch(model, losses) as audit:
        for x, y in audit.see(batches(3, 5)):

            def closure(x: Tensor = x, y: Tensor = y) -> Tensor:
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x), y)
                loss.backward()
                return loss

            optimizer.step(closure)
    assert [update.units.n for update in audit.updates] == [3, 5]
    assert all(update.computes("mean") for update in audit.updates)


@pytest.mark.parametrize("every", [1, 2, 3])
def test_closures_of_models_that_are_called_with_targets(every) -> None:
    model = Pairs(network())
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=2)
    with suite.watch(model, suite.losses.classification, every=every) as audit:
        for x, y in batches(3, 5, 2, 4):

            def closure(x: Tensor = x, y: Tensor = y) -> Tensor:
                optimizer.zero_grad()
                loss = model(x, labels=y)["loss"]
                loss.backward()
                return loss

            optimizer.step(closure)
    assert [update.number for update in audit.updates] == list(range(0, 4, every))
    assert [update.units.n for update in audit.updates] == [3, 5, 2, 4][::every]


def test_frozen_parameters_and_layers_in_eval_mode_are_as_they_are() -> None:
    model = network(nn.BatchNorm1d(12))
    model[1].eval()
    model[0].requires_grad_(requires_grad=False)
    with suite.watch(model, losses) as audit:
        for x, y in audit.see(batches(6)):
            F.cross_entropy(model(x), y).backward()
            torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1).step()
    assert audit.updates[0].computes("mean")
    assert not model[1].training


def without_a_number(model: nn.Module) -> suite.watch.RunAudit:
    with suite.watch(model, losses) as audit:
        for x, y in audit.see(batches(4)):
            (F.cross_entropy(model(x), y) * torch.nan).backward()
            sgd(model).step()
    return audit


def test_a_gradient_that_is_not_finite_is_a_failure_and_the_run_goes_on() -> None:
    with pytest.warns(AuditWarning, match="nan or infinite"):
        audit = without_a_number(network())
    assert len(audit.failures) == 1


def test_steps_in_bf16_under_autocast_are_told_to_their_rounding() -> None:
    model = Pairs(network(dtype=torch.float32))
    optimizer = sgd(model)
    with suite.watch(model, suite.losses.classification) as audit:
        for x, y in batches(8, dtype=torch.float32):
            with torch.autocast("cpu", torch.bfloat16):
                loss = model(x, labels=y)["loss"]
            loss.backward()
            optimizer.step()
    (update,) = audit.updates
    assert update.rounding == "bfloat16 under autocast"
    assert "mean" in update.names


def test_functions_that_were_put_in_the_place_of_forward_compute_with_the_copy() -> None:
    model = Pairs(network())
    original = model.forward

    def twice(self: Pairs, x: Tensor, **rest: Any) -> dict[str, Tensor]:
        assert isinstance(self, Pairs)
        return original(2 * x, **rest)

    model.forward = types.MethodType(twice, model)
    with suite.watch(model, suite.losses.classification) as audit:
        for x, y in batches(5):
            model(x, labels=y)["loss"].backward()
            sgd(model).step()
    assert audit.updates[0].computes("mean")


@pytest.mark.parametrize("every", [1, 2])
def test_an_optimizer_that_is_none_of_torch_s_hands_its_gradient_over(every) -> None:
    model = network()
    with suite.watch(model, losses, every=every) as audit:
        for number, (x, y) in enumerate(batches(3, 2, 5, 4)):
            audit.microbatch((x, y))
            (F.cross_entropy(model(x), y) / 2).backward()
            if number % 2:
                assert audit.due == (number // 2 % every == 0)
                audit.gradient({name: p.grad for name, p in model.named_parameters()})
                with torch.no_grad():
                    for p in model.parameters():
                        p -= 0.1 * p.grad
                        p.grad = None
    assert [update.units.n for update in audit.updates] == [5, 9][: 3 - every]
    np.testing.assert_allclose(audit.updates[0].weights, UNEVEN)
    assert audit.seen == 2


def test_micro_batches_whose_gradient_is_dropped_are_part_of_no_update() -> None:
    model = network()
    with suite.watch(model, losses) as audit:
        for number, (x, y) in enumerate(audit.see(batches(3, 2))):
            F.cross_entropy(model(x), y).backward()
            if number == 0:
                audit.discarded()
                model.zero_grad()
        sgd(model).step()
    assert audit.updates[0].units.n == 2


def test_clipping_inside_the_window_is_named() -> None:
    model = network()
    with suite.watch(model, losses, expect="mean-of-microbatch-means", warn=True) as audit:
        for x, y in audit.see(batches(3, 2, 4)):
            (F.cross_entropy(model(x), y) / 3).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.05)
        with pytest.warns(AuditWarning, match="was expected"):
            sgd(model).step()
    (update,) = audit.updates
    assert update.mistake.startswith(
        "after micro-batch 0, 1 (from 0) the accumulated gradient was multiplied"
    )
    assert not update.computes("mean-of-microbatch-means")


def test_between_audits_neither_the_model_nor_its_parameters_have_hooks() -> None:
    model = network()
    theirs, *bare = model.parameters()
    kept = theirs.register_hook(lambda gradient: gradient)
    optimizer = sgd(model)
    with suite.watch(model, losses, every=4) as audit:
        for x, y in audit.see(batches(3, 2)):
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        assert not model._forward_pre_hooks
        assert all(p._backward_hooks is None for p in bare)
        assert theirs._backward_hooks
    assert len(audit.updates) == 1
    kept.remove()
