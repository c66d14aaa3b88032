"""Batch-size rules on the suite's cases."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from cases import cases
from suite.batch_size.on_cases import _gram, evaluate_case
from suite.cli.main import main


def test_the_linear_rule_lands_nearer_than_no_rule_for_sgd() -> None:
    found = evaluate_case(cases["mse"], "SGD", {"lr": 0.01}, 8, 32, steps=40)
    by_rule = {evaluation.rule: evaluation for evaluation in found.evaluations}
    assert by_rule["linear"].hyperparameters["lr"] == 0.04
    assert by_rule["linear"].distance < by_rule["unchanged"].distance
    assert by_rule["adam-square-root"].reason
    assert found.noise.critical_batch_size > 0


def test_the_noise_scale_is_that_of_samples_not_of_parts() -> None:
    problem = cases["mse-plus-l1"].build()
    torch.manual_seed(0)
    model = problem.model().double()
    gram = _gram(problem, model, 6, seed=0)
    assert gram.shape == (6, 6)
    order = torch.randperm(442, generator=torch.Generator().manual_seed(0))[:6]
    x, y = problem.data[0][order], problem.data[1][order]
    losses = problem.losses(model, (x, y)).sum(1)
    parameters = list(model.parameters())
    rows = [torch.autograd.grad(loss, parameters, retain_graph=True) for loss in losses]
    g = torch.stack([torch.cat([part.flatten() for part in row]) for row in rows]).numpy()
    np.testing.assert_allclose(gram, g @ g.T, rtol=1e-10, atol=1e-12)


def test_the_command_prints_a_row_a_case(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "--case", "huber", "--steps", "8"]) == 0
    shown = capsys.readouterr().out
    assert "critical batch" in shown
    assert "huber" in shown
    assert main(["rules", "--case", "huber", "--steps", "8", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["case"] == "huber"
    assert {"rule", "distance", "loss", "reference_loss"} <= set(found["landings"][1])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--optimizer", "Adm"], "did you mean 'Adam'"),
        (["--lr", "-1"], "--lr is -1.0: a finite number greater than 0"),
        (["--case", "hubber"], "did you mean 'huber'"),
        (["--case", "huber", "--steps", "7"], "no whole number of steps"),
    ],
)
def test_wrong_input_gets_one_line_and_2(arguments: list[str], said: str, capsys) -> None:
    assert main(["rules", *arguments]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert said in error
