"""Anybody's step: what it may do, and what it is told when it does nothing of use."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from suite.errors import UsageError
from suite.recovery import recover
from suite.recovery.step import gradient_of
from suite.recovery.surroundings import Surroundings
from tests.recovery.steps import losses, mean, setting

GIVEN = setting()
NAMES = [name for name, _ in GIVEN.model.named_parameters()]


def expected() -> list[torch.Tensor]:
    loss = losses(GIVEN.model, GIVEN.batch).mean()
    return list(torch.autograd.grad(loss, list(GIVEN.model.parameters())))


def flat(model, batch):
    return torch.cat([part.flatten() for part in expected()])


def named(model, batch):
    return dict(zip(NAMES, expected(), strict=True))


def updated(model, batch):
    optimizer = torch.optim.Adam(model.parameters())
    mean(model, batch)
    optimizer.step()
    optimizer.zero_grad()


def closed(model, batch):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def closure():
        optimizer.zero_grad()
        return with_loss(model, batch)

    optimizer.step(closure)
    optimizer.zero_grad()


def with_loss(model, batch):
    loss = losses(model, batch).mean()
    loss.backward()
    return loss


def sparse_free(model, batch):
    with_loss(model, batch)
    return {"loss": 0.25, "accuracy": 1.0}


@pytest.mark.parametrize(
    "step",
    [
        mean,
        flat,
        named,
        updated,
        closed,
        with_loss,
        sparse_free,
        lambda m, b: expected(),
        lambda m, b: tuple(expected()),
    ],
)
def test_a_gradient_is_found_wherever_a_step_leaves_it(step) -> None:
    found = gradient_of(step, GIVEN.model, GIVEN.batch)
    assert list(found) == NAMES
    for part, wanted in zip(found.values(), expected(), strict=True):
        torch.testing.assert_close(part, wanted, rtol=1e-12, atol=1e-15)


def test_a_parameter_that_a_step_leaves_out_has_a_gradient_of_zero() -> None:
    found = gradient_of(lambda m, b: {NAMES[0]: expected()[0]}, GIVEN.model, GIVEN.batch)
    assert found[NAMES[0]].any()
    assert not found[NAMES[1]].any()


def test_sparse_gradients_are_filled() -> None:
    model = torch.nn.Embedding(5, 3, sparse=True)
    found = gradient_of(lambda m, b: m(b).sum().backward(), model, torch.tensor([1, 1]))
    assert found["weight"][1].tolist() == [2.0, 2.0, 2.0]


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (lambda m, b: None, "returned nothing and left no gradient"),
        (lambda m, b: losses(m, b).mean(), r"returned a tensor \[\] and left no gradient"),
        (lambda m, b: [1, 2], "returned a list"),
        (lambda m, b: m.zero_grad(set_to_none=False), "left no gradient"),
        (lambda m, b: 1 / 0, r"the step failed \(test_step.py:\d+\): ZeroDivisionError"),
        (lambda m: None, "the step failed: TypeError"),
        (lambda m, b: (losses(m, b).mean() * float("nan")).backward(), "nan or infinite"),
    ],
)
def test_a_useless_step_gets_one_clear_line(step, said: str) -> None:
    model = setting().model
    mean(model, GIVEN.batch)  # what was in .grad before is not mistaken for the step's
    with pytest.raises(UsageError, match=said) as error:
        gradient_of(step, model, GIVEN.batch)
    assert "\n" not in str(error.value)


def test_a_step_of_many_updates_has_no_one_gradient() -> None:
    def step(model, batch):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for row in range(2):
            optimizer.zero_grad()
            losses(model, tuple(part[row : row + 1] for part in batch)).sum().backward()
            optimizer.step()

    before = [p.clone() for p in GIVEN.model.parameters()]
    with pytest.raises(UsageError, match="more than once"):
        gradient_of(step, GIVEN.model, GIVEN.batch)
    for parameter, kept in zip(GIVEN.model.parameters(), before, strict=True):
        assert torch.equal(parameter, kept)


def test_all_is_put_back_even_after_a_failure() -> None:
    model = setting().model
    before = {k: v.clone() for k, v in model.state_dict().items()}
    random = torch.get_rng_state()

    def spoil():
        with Surroundings(model).kept():
            torch.randn(3)
            model.eval()
            model[0].weight = torch.nn.Parameter(torch.zeros(24, 6, dtype=torch.float64))
            with torch.no_grad():
                model[2].bias.add_(1)
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        spoil()
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert model.training
    assert torch.equal(torch.get_rng_state(), random)


def test_the_same_seed_gives_the_same_call() -> None:
    def step(model, batch):
        return torch.randn(sum(p.numel() for p in model.parameters()))

    first, again, other = (
        gradient_of(step, GIVEN.model, GIVEN.batch, seed=seed)[NAMES[0]] for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_parameter_that_an_update_leaves_out_has_a_gradient_of_zero() -> None:
    def step(model, batch):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        mean(model, batch)
        model[0].bias.grad = None
        optimizer.step()
        optimizer.zero_grad()

    with Surroundings(GIVEN.model).kept():
        found = gradient_of(step, GIVEN.model, GIVEN.batch)
    assert not found["0.bias"].any()
    assert found["0.weight"].any()


@pytest.mark.parametrize(
    "form",
    [
        lambda found: {name: part.numpy() for name, part in found.items()},
        lambda found: [part.numpy() for part in found.values()],
        lambda found: np.concatenate([part.numpy().ravel() for part in found.values()]),
        lambda found: {"0": {"weight": found["0.weight"].numpy(), "bias": found["0.bias"]}} | {
            "2": {"weight": Array(found["2.weight"]), "bias": Array(found["2.bias"])}
        },
    ],
    ids=["by name", "in order", "flat", "nested"],
)  # fmt: skip
def test_arrays_are_gradients_as_tensors_are(form) -> None:
    given = setting(4)

    def step(model, batch):
        found = torch.autograd.grad(losses(model, batch).mean(), list(model.parameters()))
        return form(dict(zip(dict(model.named_parameters()), found, strict=True)))

    left = gradient_of(step, given.model, given.batch)
    expected = gradient_of(mean, given.model, given.batch)
    assert all(torch.equal(left[name], expected[name]) for name in expected)


class Array:
    """An array of a library that NumPy understands."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor, self.shape = tensor, tuple(tensor.shape)

    def __array__(self, dtype=None, copy=None):
        return self.tensor.numpy()


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ({"0": {"kernel": np.ones((6, 24))}}, r"0\.kernel is none of the parameters 0\.weight, 0\.bias, 2\."),
        (
            {"0.weight": np.ones((6, 24))},
            r"the gradient of 0\.weight is \[6, 24\], the parameter \[24, 6\]; transp",
        ),
        ({"loss": np.float32(1.0), "step": 3}, r"call optimizer\.step\(\)$"),
        ({"0.weight": np.array(["a", "b"])}, r"call optimizer\.step\(\)$"),
    ],
)
def test_a_gradient_by_name_that_does_not_fit_says_what_is_amiss(returned, said: str) -> None:
    given = setting(4)
    with pytest.raises(UsageError, match=said):
        gradient_of(lambda model, batch: returned, given.model, given.batch)


def test_an_optimizer_that_calls_its_closure_again_is_named_with_what_to_give_instead() -> None:
    given = setting()
    optimizer = torch.optim.LBFGS(given.model.parameters(), max_iter=3)

    def closure_of(model, batch):
        def closure():
            optimizer.zero_grad()
            loss = losses(model, batch).mean()
            loss.backward()
            return loss

        return closure

    def step(model, batch) -> None:
        optimizer.step(closure_of(model, batch))

    with pytest.raises(
        UsageError, match=r"LBFGS calls its closure more than once.*the closure itself as the step"
    ):
        recover(step, given.model, given.batch, losses)
    found = recover(lambda m, b: closure_of(m, b)(), given.model, given.batch, losses)
    assert found.convention.name == "mean"
