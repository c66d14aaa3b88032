"""Drawn problems and optimizers are what they are said to be, and print as what they are."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import find, given
from hypothesis import strategies as st

from suite.conventions import conventions
from suite.errors import UsageError
from suite.strategies import (
    Problem,
    coefficients,
    load_profile,
    models,
    optimizers,
    powers_of_two,
    problems,
    settings_of,
    units,
)
from suite.strategies import conventions as drawn_conventions
from suite.strategies.problems import MODEL_KINDS


@pytest.mark.parametrize("kind", MODEL_KINDS)
@given(data=st.data())
def test_every_kind_of_model_gives_one_finite_loss_a_unit(kind: str, data: st.DataObject) -> None:
    model, batch, losses = data.draw(problems(kind)).build()
    entries = losses(model, batch)
    assert entries.dtype == torch.float64
    assert entries.shape[0] == len(batch[0]) <= 4
    assert entries.isfinite().all()


@given(problem=problems())
def test_a_problem_is_the_same_each_time_and_leaves_random_states_alone(problem: Problem) -> None:
    state = torch.get_rng_state()
    (first, batch, losses), (second, again, _) = problem.build(), problem.build()
    assert torch.equal(losses(first, batch), losses(second, again))
    assert torch.equal(torch.get_rng_state(), state)


HELD = ["requires_grad_(False)", "x[-1] = x[0]", "torch.stack", "padding_idx", "circular"]


@pytest.mark.parametrize("text", HELD)
def test_whatever_a_problem_may_hold_is_drawn(text: str) -> None:
    assert find(problems(), lambda p: text in p.python) is not None


def test_a_problem_shrinks_to_one_sample_and_one_parameter() -> None:
    least = find(problems(), lambda p: True)
    model, batch, _ = least.build()
    assert sum(p.numel() for p in model.parameters()) == 1
    assert len(batch[0]) == 1


def test_the_printed_python_runs_by_itself() -> None:
    code = find(problems(), lambda p: "Tied" in p.python).python + "print(losses(model, batch).shape)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("torch.Size")


@given(drawn=optimizers())
def test_optimizers_accept_the_settings_that_are_drawn_for_them(drawn) -> None:
    name, settings = drawn
    made = getattr(torch.optim, name)([torch.nn.Parameter(torch.ones(2))], **settings)
    assert all(made.defaults[key] == value for key, value in settings.items())


@given(data=st.data())
def test_conventions_that_are_drawn_for_a_table_apply_to_it(data: st.DataObject) -> None:
    table = data.draw(units())
    assert data.draw(drawn_conventions(table)).missing(table) is None
    assert data.draw(drawn_conventions()) in list(conventions)


@given(column=coefficients(3), scale=powers_of_two())
def test_coefficients_and_scales_are_plain_numbers(column, scale: float) -> None:
    assert column.shape == (3,)
    assert np.isfinite(column).all()
    assert np.frexp(scale)[0] == 0.5


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'embedding'"):
        models("embeddings")
    with pytest.raises(UsageError, match="did you mean 'Adam"):
        find(settings_of("Adm"), lambda _: True)
    with pytest.raises(UsageError, match="did you mean 'nightly'"):
        load_profile("nightley")


def test_without_hypothesis_the_strategies_say_what_to_install() -> None:
    code = (
        "import sys; sys.modules['hypothesis'] = None\n"
        "from suite.errors import UsageError\n"
        "try: import suite.strategies\n"
        "except UsageError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "suite.strategies needs Hypothesis: pip install hypothesis\n"
