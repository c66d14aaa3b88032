"""The built-in cases: real data, few lines, and every convention true in each."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch

from cases import cases, data
from suite.algebra.gram import unit_norms
from suite.conventions import conventions
from suite.engines.per_sample_gradients import per_sample_gradients
from suite.loops import batch as batches
from suite.loops.loop import Loop, run_reference_loop
from suite.running.plan import Cell

CPU = torch.device("cpu")


ON_REQUEST = [case for case in cases if case not in cases.match()]


@pytest.mark.parametrize(
    "case",
    [pytest.param(c, marks=[pytest.mark.slow] * (c in ON_REQUEST)) for c in cases],
    ids=lambda c: c.name,
)
def test_every_convention_is_its_literal_loop_in_float64(case) -> None:
    problem = case.build()
    torch.manual_seed(1)
    model = problem.model().double()
    cell = Cell(8, "last", torch.arange(3, 8))  # five of eight: partial window, uneven ranks
    batch = cell.take(problem, CPU, torch.float64)
    units = cell.units(problem, batch)
    found = per_sample_gradients(model, batch, problem.losses, regulariser=problem.regulariser)
    gram = found.gram()
    loop = Loop(model, batch, problem.losses, units, problem.regulariser)
    held = 0
    for convention in conventions:
        if convention.missing(units) is not None:
            continue
        column = convention.coefficients(units, gram)
        distance = (found.reduce(column)[0] - run_reference_loop(convention.reference_loop, loop)).norm()
        assert distance <= 1e-12 * (np.abs(column) @ unit_norms(gram)), convention.name
        held += 1
    assert held >= 20


@pytest.mark.parametrize("case", list(cases), ids=lambda c: c.name)
def test_a_case_is_at_most_a_dozen_lines(case) -> None:
    lines = inspect.getsource(case.build).splitlines()
    body = [line for line in lines if line.strip() and not line.startswith(("@", "def"))]
    assert len(body) <= 14  # a dozen, and the docstring


@pytest.mark.parametrize("case", list(cases), ids=lambda c: c.name)
def test_data_are_large_enough_for_every_batch_size(case) -> None:
    assert batches.size(case.build().data) >= max(case.batch_sizes)
    assert case.summary
    assert case.dataset


@pytest.mark.parametrize("case", ON_REQUEST, ids=lambda c: c.name)
def test_a_large_case_has_millions_of_parameters_and_is_streamed(case) -> None:
    problem = case.build()
    model = problem.model()
    assert sum(p.numel() for p in model.parameters()) > 2_000_000
    batch = batches.select(problem.data, slice(0, 2))
    batch = batches.to(batch, CPU, torch.float32)
    found = per_sample_gradients(model, batch, problem.losses, engine="streaming")
    assert (found.engine, dict(found.refused)) == ("streaming", {})


def test_a_large_case_is_asked_for() -> None:
    assert [case.name.partition("/")[0] for case in ON_REQUEST] == ["large"] * 3
    assert cases.match(["large/*"]) == ON_REQUEST


def test_the_issues_batch_sizes_are_the_default() -> None:
    assert cases["mse"].batch_sizes == (1, 2, 8, 32, 128)


def test_text_is_real_and_its_lines_are_very_uneven() -> None:
    tokens, targets = data.text()
    lengths = (targets != data.IGNORED).sum(1)
    assert lengths.max() == data.LONGEST_LINE
    assert lengths.max() > 10 * lengths.min() > 0
    assert "digits" in "".join(map(chr, tokens.flatten().tolist()))
    assert torch.equal(tokens[0, 1 : lengths[0]], targets[0, : lengths[0] - 1])


def test_trimming_keeps_every_valid_position() -> None:
    batch = tuple(t[:4] for t in data.text())
    width = int((batch[1] != data.IGNORED).sum(1).max())
    trimmed = data.trimmed(batch)
    assert trimmed[0].shape == (4, width)
    assert (trimmed[1] != data.IGNORED).sum() == (batch[1] != data.IGNORED).sum()
