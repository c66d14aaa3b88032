"""What is said while a step is recovered: its stages, and what each experiment costs."""

from __future__ import annotations

import io
import re

import pytest
import torch.nn.functional as F

from suite.machine import stages
from suite.machine.stages import stages_shown
from suite.recovery import recover, without_matrix
from tests.recovery import nets


def said(monkeypatch: pytest.MonkeyPatch, step) -> list[str]:
    monkeypatch.setattr(without_matrix, "FORMED", 0)
    monkeypatch.setattr(stages, "QUIET", 0.0)
    made, stream = nets.tokens(), io.StringIO()
    with stages_shown(stream):
        recover(step, made.model, made.batch, made.losses)
    return [line.partition("] ")[2] for line in stream.getvalue().splitlines()]


def healthy(model, batch) -> None:
    nets.of_tokens(model, batch).mean().backward()


def dropped(model, batch) -> None:
    x = model.words(batch[0])
    for block in model.blocks:
        x = block(F.dropout(x, 0.3))
    F.cross_entropy(model.head(model.norm(x)).transpose(1, 2), batch[1]).backward()


def test_no_experiment_is_run_where_the_proof_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    assert said(monkeypatch, healthy) == [
        "the step is called",
        "the weights of 18 units take 18³ operations and matrices of 7.78 kB",
        "the proof on all parameters: one weighted backward pass",
    ]


def test_each_experiment_says_what_it_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = said(monkeypatch, dropped)
    assert lines[:3] == said(monkeypatch, healthy)[:3]
    assert lines[3].startswith("the gradients of all units")
    calls = [line for line in lines if line.startswith("an experiment: the step")]
    assert len(calls) > 2
    assert all(re.search(r", about \d[\d.]* (s|min)$", line) for line in calls)
    assert any(", without dropout" in line for line in calls)
