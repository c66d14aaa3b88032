"""`gradsuite bench` on one small case."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from suite.cli.main import main

ONE_WIDE_LAYER = """
import torch
from torch import nn
from suite.case import Problem, case

@case(dataset="random numbers", batch_sizes=(8,))
def one_wide_layer():
    'Half a million parameters, nearly all of them in one weight.'
    data = torch.randn(8, 50, generator=torch.Generator().manual_seed(0))
    return Problem(
        model=lambda: nn.Sequential(nn.Linear(50, 700), nn.Tanh(), nn.Linear(700, 700)),
        data=(data,),
        losses=lambda model, batch: model(batch[0]).square().sum(1),
    )
"""


def test_every_engine_is_a_row_and_the_wrong_one_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--case", "channels-last-convolution", "--units", "4", "--rounds", "1", "--conventions", "30"]
    assert main(["bench", *options, "--json"]) == 0
    rows = {row["engine"]: row for row in json.loads(capsys.readouterr().out)["rows"]}
    assert "is wrong for model.0.weight" in rows["opacus"]["refused"]
    for name in ("streaming", "torch-func", "loop"):
        assert rows[name]["tables"] > 0
        assert rows[name]["reduced"] > 0
        assert rows[name]["tables_checked"] > 0
        assert rows[name]["reduced_checked"] > 0
        assert (rows[name]["units"], rows[name]["conventions"]) == (4, 30)


def test_the_table_says_what_one_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--case", "mse", "--engine", "streaming", "--units", "4", "--rounds", "1"]) == 0
    shown = capsys.readouterr().out
    assert "1 × of mse: one forward and backward pass" in shown
    assert "streaming" in shown
    assert [word for word in shown.splitlines()[0].split() if word == "checked"] == ["checked"] * 2


@pytest.mark.parametrize("option", ["--units", "--conventions", "--rounds"])
def test_numbers_that_are_not_positive_are_bad_input(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", option, "0"]) == 2
    assert f"{option} must be 1 or more" in capsys.readouterr().err


def test_a_refused_engine_is_a_line_of_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--case", "channels-last-convolution", "--engine", "opacus", "--units", "4", "--rounds", "1"]
    assert main(["bench", *options]) == 0
    assert "refused: it is wrong for model.0.weight" in capsys.readouterr().out


def test_an_engine_that_does_not_fit_is_refused_and_the_others_are_timed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "one_wide_layer.py"
    file.write_text(ONE_WIDE_LAYER)
    options = ["--cases", str(file), "--case", "one-wide-layer", "--units", "8", "--rounds", "1"]
    engines = ["--engine", "opacus", "--engine", "streaming"]
    assert main(["bench", *options, *engines, "--memory", "22MB", "--conventions", "2", "--json"]) == 0
    rows = {row["engine"]: row for row in json.loads(capsys.readouterr().out)["rows"]}
    assert "at least, in the smallest pieces, where 22 MB are allowed" in rows["opacus"]["refused"]
    assert rows["streaming"]["tables"] > 0


def test_more_units_than_the_case_has_are_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--case", "mse", "--units", "1000000"]) == 2
    assert "samples, --units 1000000 was given" in capsys.readouterr().err
