"""The claims of the suite itself, as targets: conventions, engines, laws, recovery."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from suite.algebra.gram import unit_norms
from suite.algebra.units import Column
from suite.conventions import Convention, conventions
from suite.engines import engines
from suite.engines.per_sample_gradients import per_sample_gradients
from suite.equivalence import equivalent
from suite.equivalence.trajectory import check_training
from suite.errors import CaseError, UsageError, unknown
from suite.fuzz.target import Target
from suite.loops.autograd import grad
from suite.loops.loop import run_reference_loop
from suite.recovery import Recovery, recover
from suite.strategies import Example, Problem, coefficients, examples, optimizers, powers_of_two, problems

_ROUNDING = 1e-12
STEPS = 25


def target_named(name: str) -> Target:
    """The target of this name.

    Raises:
        UsageError: There is none.
    """
    if name not in TARGETS:
        raise unknown("target", name, TARGETS)
    return TARGETS[name]()


# A convention's coefficients give what its literal loop leaves.


def _convention() -> Target:
    drawn = st.sampled_from(list(conventions)).flatmap(
        lambda c: st.tuples(st.just(c), examples(c.needs)),
    )
    return Target(
        "convention",
        "the coefficients of a convention give the gradient that its literal loop leaves",
        drawn,
        lambda pair: _against_loop(*pair),
        lambda pair: _convention_python(*pair),
    )


def _against_loop(convention: Convention, example: Example) -> str:
    column = convention.coefficients(example.units, example.gram)
    ours, loop = column @ example.rows, run_reference_loop(convention.reference_loop, example.loop).numpy()
    whole = float(np.abs(column) @ unit_norms(example.gram))
    if np.linalg.norm(ours - loop) <= _ROUNDING * whole:
        return ""
    left = f"the loop leaves {loop.tolist()}"
    return f"{convention.name}: coefficients {column.tolist()} give {ours.tolist()}, {left}"


def _convention_python(convention: Convention, example: Example) -> str:
    return f"""\
from suite import Units
from suite.conventions import conventions
from suite.loops.loop import run_reference_loop
from suite.recovery import Recovery
from suite.strategies import Example

example = {example.python}
convention = conventions[{convention.name!r}]
coefficients = convention.coefficients(example.units, example.gram)
print("coefficients:     ", coefficients)
print("their gradient:   ", coefficients @ example.rows)
print("the literal loop: ", run_reference_loop(convention.reference_loop, example.loop).numpy())
"""


# An engine gives the gradient of each unit, or is refused.


def _engine() -> Target:
    return Target(
        "engine",
        "an engine gives each unit the gradient that autograd gives its loss, or is refused",
        st.tuples(st.sampled_from(engines.names), problems()),
        lambda pair: _against_autograd(*pair),
        lambda pair: _engine_python(*pair),
    )


def _against_autograd(name: str, problem: Problem) -> str:
    model, batch, losses = problem.build()
    trained = [p for p in model.parameters() if p.requires_grad]
    rows = [
        torch.cat([part.flatten() for part in grad(loss, trained, keep_graph=True)])
        for loss in losses(model, batch).flatten()
    ]
    expected = torch.stack(rows)
    found = per_sample_gradients(model, batch, losses, engine=name)
    ours = found.reduce(np.eye(len(rows)))
    error = float((ours - expected).abs().max() / expected.abs().max().clamp(min=1e-300))
    # The check that each engine passed leaves half the digits.
    if ours.shape == expected.shape and error <= float(torch.finfo(torch.float64).eps) ** 0.5:
        return ""
    return f"{name}: {found.engine} gives {ours.tolist()}, autograd {expected.tolist()}"


def _engine_python(name: str, problem: Problem) -> str:
    return f"""\
{problem.python}

import suite
from suite.loops.autograd import grad

found = suite.per_sample_gradients(model, batch, losses, engine={name!r})
print(found.engine, "gives", found.matrix)
for loss in losses(model, batch).flatten():
    print("autograd gives", grad(loss, [p for p in model.parameters() if p.requires_grad], keep_graph=True))
"""


# A law leaves the trajectory as it is, bit for bit where the scale is a power of two.


def _law() -> Target:
    return Target(
        "law",
        "equivalent hyperparameters take the same steps, bit for bit under a scale that is a power of two",
        optimizers().flatmap(
            lambda pair: st.tuples(
                st.just(pair),
                powers_of_two(),
                problems(*(("sparse",) if pair[0] == "SparseAdam" else ()), max_samples=3),
            )
        ),
        lambda drawn: _against_training(*drawn),
        lambda drawn: _law_python(*drawn),
    )


def _against_training(optimizer: tuple[str, dict[str, Any]], scale: float, problem: Problem) -> str:
    name, settings = optimizer
    model, batch, losses = problem.build()
    sign = -1.0 if settings.get("maximize") else 1.0

    def backward(factor: float) -> Callable[..., Any]:
        def leave(model: Any, _step: int) -> Any:
            loss = sign * factor * losses(model, batch).sum()
            loss.backward()
            return loss.detach()

        return leave

    try:
        found = equivalent(name, settings, scale=scale)
        if not found.exact:
            return ""
        check = check_training(model, backward(1.0), backward(scale), found, steps=STEPS)
    except UsageError as error:
        if "diverges" in str(error) or "does not fit a float" in str(error):
            return ""
        raise
    if check.converted == 0.0:
        return ""
    return f"{name}: the weights differ by {check.converted:.3g} after {STEPS} steps, {found.hyperparameters}"


def _law_python(optimizer: tuple[str, dict[str, Any]], scale: float, problem: Problem) -> str:
    name, settings = optimizer
    sign = "-" if settings.get("maximize") else ""
    return f"""\
{problem.python}

from suite.equivalence import equivalent
from suite.equivalence.trajectory import check_training


def backward(scale):
    def leave(model, step):
        loss = {sign}scale * losses(model, batch).sum()
        loss.backward()
        return loss.detach()

    return leave


found = equivalent({name!r}, {settings!r}, scale={scale!r})
print(found.python)
print(check_training(model, backward(1.0), backward({scale!r}), found, steps={STEPS}))
"""


# Recovery gives back the weights that were used, within the bound that it states.


def _recovery() -> Target:
    return Target(
        "recovery",
        "recovery gives back each weight that it says can be told, within the bound that it states",
        problems().flatmap(lambda p: st.tuples(st.just(p), coefficients(_units_of(p)))),
        lambda pair: _against_weights(*pair),
        lambda pair: _recovery_python(*pair),
    )


def _units_of(problem: Problem) -> int:
    model, batch, losses = problem.build()
    return losses(model, batch).numel()


def _against_weights(problem: Problem, weights: Any) -> str:
    model, batch, losses = problem.build()

    def step(model: Any, batch: Any) -> None:
        entries = losses(model, batch)
        (torch.as_tensor(weights).to(entries).reshape(entries.shape) * entries).sum().backward()

    try:
        found = recover(step, model, batch, losses, engine="loop")
    except CaseError:  # it says why there are no units' gradients
        return ""
    told = found.identifiable
    wrong = np.abs(found.weights[told] - weights[told]) > found.error[told]
    if (found.linear or _cancels(found, weights)) and not wrong.any():
        return ""
    return (
        f"weights {weights.tolist()} come back as {found.weights.tolist()}, "
        f"the bound being {found.error.tolist()}" + ("" if found.linear else "; called no weighting")
    )


def _cancels(found: Recovery, weights: Column) -> bool:
    """Whether the weighted units leave nothing of each other but rounding, which is no weighting of them."""
    return bool(found.norm <= np.finfo(np.float64).eps ** 0.5 * np.abs(weights).max())


def _recovery_python(problem: Problem, weights: Any) -> str:
    return f"""\
{problem.python}

import suite

weights = torch.tensor({weights.tolist()!r}, dtype=torch.float64)


def step(model, batch):
    entries = losses(model, batch)
    (weights.reshape(entries.shape) * entries).sum().backward()


found = suite.recover(step, model, batch, losses, engine="loop")
print("used: ", weights)
print("found:", found.weights, "with errors of at most", found.error)
print(found)
"""


TARGETS: dict[str, Callable[[], Target]] = {
    "convention": _convention,
    "engine": _engine,
    "law": _law,
    "recovery": _recovery,
}
