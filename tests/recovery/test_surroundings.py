"""Whatever a step can reach and changes is as before afterwards, and told."""

from __future__ import annotations

import copy
import functools
import operator
import random
from collections import defaultdict, deque

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from suite.recovery import recover
from suite.recovery.surroundings import Surroundings
from tests.recovery.steps import losses, mean, setting

COUNTS = {"calls": 0}
NUMBER = 0


class Shared:
    """State that a class keeps for all."""

    queue = torch.zeros(3)
    place = 0


class Slot:
    def __init__(self) -> None:
        self.value = 1


def counts() -> None:
    global NUMBER
    NUMBER += 1
    COUNTS["calls"] += 1


def creates() -> None:
    globals()["LAZY"] = torch.zeros(2) if "LAZY" not in globals() else LAZY + 1  # noqa: F821


def shares() -> None:
    Shared.queue[0] += 1
    Shared.place += 1
    Shared.new = 5


@pytest.mark.parametrize(
    ("change", "state", "told"),
    [
        (counts, lambda: (NUMBER, COUNTS["calls"]), {"NUMBER", "COUNTS.calls"}),
        (creates, lambda: "LAZY" in globals(), {"LAZY"}),
        (
            shares,
            lambda: (Shared.queue.tolist(), Shared.place, hasattr(Shared, "new")),
            {"Shared.queue", "Shared.place", "Shared.new"},
        ),
    ],
)
def test_globals_and_classes_are_put_back_by_name(change, state, told) -> None:
    before = state()
    around = Surroundings(nn.Linear(1, 1), step=change)
    for _ in range(2):
        with around.kept():
            change()
            assert state() != before
        assert state() == before
    assert set(around.changes) == told


CONTAINERS = [[1, 2], {"a": 1}, {1, 2}, deque([1]), defaultdict(int, b=2)]


@pytest.mark.parametrize("container", CONTAINERS, ids=lambda c: type(c).__name__)
def test_the_containers_of_a_closure_are_put_back(container) -> None:
    value = copy.deepcopy(container)

    def step() -> None:
        value.clear()

    around = Surroundings(nn.Linear(1, 1), step=step)
    with around.kept():
        step()
    assert value == container
    assert around.changes[0].startswith("value")


def test_closures_defaults_partials_and_bound_objects_are_reached() -> None:
    teacher, mine, bound = nn.Linear(2, 2), np.zeros(3), Slot()
    calls = 0

    def step(slot=bound, *, array=mine) -> None:
        nonlocal calls
        calls += 1
        slot.value += 1
        array += 1
        step.count = calls
        with torch.no_grad():
            teacher.weight.zero_()
            teacher.weight.grad = torch.ones(2, 2)
        teacher.bias = nn.Parameter(torch.ones(2))
        teacher.train(mode=False)

    weight, bias = teacher.weight.detach().clone(), teacher.bias
    around = Surroundings(nn.Linear(1, 1), step=functools.partial(step))
    with around.kept():
        step()
    assert (calls, bound.value, mine.tolist(), hasattr(step, "count")) == (0, 1, [0.0] * 3, False)
    assert torch.equal(teacher.weight, weight)
    assert teacher.weight.grad is None
    assert teacher.bias is bias
    assert teacher.training


def test_optimizers_schedulers_and_scalers_are_put_back_and_expected() -> None:
    given = setting()
    optimizer = torch.optim.Adam(given.model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=1)

    def step(model, batch) -> None:
        optimizer.zero_grad()
        scaler.scale(losses(model, batch).mean()).backward()
        scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()
        scheduler.step()

    found = recover(step, given.model, given.batch, losses)
    assert (found.convention.name, found.scale, found.restored) == ("mean", 1.0, ())
    assert not optimizer.state
    assert optimizer.param_groups[0]["lr"] == 0.1
    assert scheduler.last_epoch == 0
    assert (scaler.get_scale(), scaler._per_optimizer_states) in ((8.0, {}), (65536.0, {}))


def test_hooks_that_a_step_adds_do_not_pile_up() -> None:
    given = setting()

    def step(model, batch) -> None:
        model[0].weight.register_hook(lambda gradient: 2 * gradient)
        model[2].register_forward_hook(lambda module, args, out: out)
        mean(model, batch)

    for _ in range(2):
        found = recover(step, given.model, given.batch, losses)
        assert found.cause.name == "a factor for each tensor"
        assert "0.weight 2" in found.cause.says
    assert not given.model[0].weight._backward_hooks
    assert not given.model[2]._forward_hooks
    assert found.restored == ("model.2 (hooks)",)


def test_a_forward_that_the_step_wraps_is_put_back() -> None:
    """Accelerate's mixed precision and TRL's unwrapping put a closure on the instance."""
    given = setting()

    def step(model, batch) -> None:
        inner = model.forward

        @functools.wraps(inner)
        def forward(*args):
            return inner(*args)

        model.forward = forward
        mean(model, batch)

    found = recover(step, given.model, given.batch, losses)
    assert (found.convention.name, found.scale) == ("mean", 1.0)
    assert found.restored == ("model.forward",)
    assert "forward" not in vars(given.model)


def test_generators_begin_anew_and_can_be_seeded() -> None:
    torchs, numpys = torch.Generator().manual_seed(3), np.random.default_rng(3)
    old, python = np.random.RandomState(3), random.Random(3)  # noqa: S311  no secret

    def draw() -> list[float]:
        own = [float(torch.rand(1, generator=torchs)), numpys.random(), old.rand(), python.random()]
        return [*own, float(torch.rand(1)), random.random(), np.random.rand()]  # noqa: NPY002, S311

    around = Surroundings(nn.Linear(1, 1), step=draw)
    with around.kept():
        first, second = draw(), draw()
        assert all(map(operator.ne, first, second))
        around.rewind()
        assert draw() == first
        around.rewind(5)
        seeded = draw()
        assert all(map(operator.ne, first, seeded))
        around.rewind(5)
        assert draw() == seeded
    with around.kept():
        assert draw() == first


def test_nan_is_no_change_and_a_cast_tensor_is_cast_back() -> None:
    numbers, other = torch.tensor([1.0, float("nan")]), torch.ones(2)

    def step() -> None:
        numbers.mul_(1)
        other.data = other.data.half()

    around = Surroundings(nn.Linear(1, 1), step=step)
    with around.kept():
        step()
    assert around.changes == ("other",)
    assert other.dtype == torch.float32


def test_what_does_not_fit_into_a_quarter_of_the_memory_is_not_copied(monkeypatch) -> None:
    small, large = torch.zeros(2), torch.zeros(100)
    monkeypatch.setattr("suite.machine.memory.free_bytes", lambda device: 4 * 100)

    def step() -> None:
        small.add_(1)
        large.add_(1)

    around = Surroundings(nn.Linear(50, 50), step=step)
    with around.kept():
        step()
    assert (small.sum(), large.sum()) == (0, 100)


def test_many_changes_of_one_thing_are_one_line() -> None:
    teacher = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))

    def step() -> None:
        with torch.no_grad():
            for parameter in teacher.parameters():
                parameter.add_(1)

    around = Surroundings(nn.Linear(1, 1), step=step)
    with around.kept():
        step()
    assert around.changes == ("teacher (in 4 places)",)


def test_libraries_are_not_searched() -> None:
    def step() -> None:
        F.handled = True

    around = Surroundings(nn.Linear(1, 1), step=step)
    try:
        with around.kept():
            step()
        assert F.handled
    finally:
        del F.handled


def teacher_of(model: nn.Module) -> nn.Module:
    teacher = copy.deepcopy(model).requires_grad_(requires_grad=False)
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.mul_(1.5)
    return teacher


def test_a_mean_teacher_is_no_dropout() -> None:
    given = setting()
    teacher, optimizer = teacher_of(given.model), torch.optim.SGD(given.model.parameters(), lr=0.1)

    def distance(model, batch):
        return (model(batch[0]) - teacher(batch[0].flip(1))).square().sum(1)

    def step(model, batch) -> None:
        optimizer.zero_grad()
        distance(model, batch).mean().backward()
        optimizer.step()
        with torch.no_grad():
            for slow, fast in zip(teacher.parameters(), model.parameters(), strict=True):
                slow.mul_(0.9).add_(0.1 * fast)

    found = recover(step, given.model, given.batch, distance)
    assert (found.convention.name, found.scale, found.cause) == ("mean", 1.0, None)
    assert found.restored == ("teacher (in 4 places)",)
    assert "put back after each run: teacher" in str(found)


def test_a_target_network_that_is_loaded_anew_is_put_back() -> None:
    given = setting()
    target = teacher_of(given.model)

    def error(model, batch):
        value = batch[1] + 0.9 * target(batch[0]).amax(1).detach()
        return F.smooth_l1_loss(model(batch[0])[:, 0], value, reduction="none")

    def step(model, batch) -> None:
        error(model, batch).mean().backward()
        target.load_state_dict(model.state_dict())

    found = recover(step, given.model, given.batch, error)
    assert (found.convention.name, found.scale) == ("mean", 1.0)


class Trainer:
    """Keeps a running centre, a history and a count, as DINO's loss does."""

    def __init__(self) -> None:
        self.center, self.calls, self.history = torch.zeros(4), 0, []

    def losses(self, model, batch):
        return F.cross_entropy(model(batch[0]) - self.center, batch[1], reduction="none")

    def step(self, model, batch) -> None:
        self.calls += 1
        self.losses(model, batch).mean().backward()
        self.center = 0.9 * self.center + 0.1 * model(batch[0]).mean(0).detach()
        self.history.append(self.calls)


def test_what_a_trainer_keeps_is_put_back() -> None:
    given, trainer = setting(), Trainer()
    found = recover(trainer.step, given.model, given.batch, trainer.losses)
    assert (found.convention.name, found.scale, found.cause) == ("mean", 1.0, None)
    assert set(found.restored) == {"step.center", "step.calls", "step.history"}
    assert (trainer.calls, trainer.history) == (0, [])
