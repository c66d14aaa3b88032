"""`gradsuite recover`: a file with a step in, its weights out."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from suite.cli import recover
from suite.errors import UsageError

FILE = """
import torch
from torch import nn
import torch.nn.functional as F

torch.manual_seed(0)
model = nn.Linear(5, 3).double()
batch = torch.randn(4, 5).double(), torch.tensor([0, 1, 2, 0])

def losses(model, batch):
    return F.cross_entropy(model(batch[0]), batch[1], reduction="none")

def step(model, batch):
    losses(model, batch).mean().backward()

def summed(model, batch):
    losses(model, batch).sum().backward()
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "my_step.py"
    path.write_text(FILE)
    return path


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    recover.configure(parser)
    return recover.execute(parser.parse_args(arguments))


def test_the_weights_are_printed(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(file)) == 0
    said = capsys.readouterr().out
    assert "4 samples: the weights are those of mean." in said
    assert "1/n" in said


def test_another_step_of_the_file_is_chosen_by_name(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(f"{file}:summed") == 0
    assert "those of sum" in capsys.readouterr().out


def test_json_is_all_of_it(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(file), "--json") == 0
    card = json.loads(capsys.readouterr().out)
    assert card["convention"] == "mean"
    assert card["weights"] == pytest.approx([0.25] * 4, rel=1e-12)
    assert card["identifiable"] == [True] * 4


def test_an_expectation_decides_the_exit_code(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(file), "--expect", "mean") == 0
    assert run(f"{file}:summed", "--expect", "mean") == 1
    assert "SGD: lr × 0.25" in capsys.readouterr().err


def test_units_of_the_file_are_used(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(
        FILE + "from suite import Units\nunits = Units.of(4, {'elements': [3, 3, 3, 3]})\n"
        "def step(model, batch):\n    (losses(model, batch).sum() / 12).backward()\n"
    )
    assert run(str(file)) == 0
    assert "element-mean" in capsys.readouterr().out


def test_a_model_that_no_engine_can_do_is_one_line(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(FILE.replace('reduction="none")', 'reduction="none") * float("nan")'))
    file.write_text(file.read_text() + "def step(model, batch):\n    model(batch[0]).sum().backward()\n")
    assert run(str(file)) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("change", "name", "said"),
    [
        (lambda text: text, ":nothing", "does not define nothing"),
        (lambda text: text.replace("model = ", "net = "), "", "does not define model"),
        (lambda text: text + "1 / 0", "", "failed: ZeroDivisionError"),
        (lambda text: text + "\nraise SystemExit(3)", "", "failed: SystemExit"),
        (lambda text: text + "\nmodel = 3", "", "model is an int"),
        (lambda text: text + "\nunits = 3", "", "units is an int"),
        (lambda text: text + "\nstep = 3", "", "step is an int"),
    ],
)
def test_a_file_that_will_not_do_gets_one_clear_line(file: Path, change, name: str, said: str) -> None:
    file.write_text(change(FILE))
    with pytest.raises(UsageError, match=said) as error:
        run(f"{file}{name}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("given", ["missing.py", "missing.txt", "missing.py:step", ""])
def test_a_file_that_is_not_there_gets_one_clear_line(given: str) -> None:
    with pytest.raises(UsageError, match="no Python file"):
        run(given)


def test_an_unknown_expectation_is_found_before_anything_runs(file: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'mean'"):
        run(str(file), "--expect", "meann")


@pytest.mark.parametrize(
    "layout",
    [
        "collate = lambda samples: tuple(map(torch.stack, zip(*samples)))\nbatch = list(zip(*batch))",
        "collate = lambda samples: tuple(map(torch.stack, zip(*samples)))\nbatch = list(batch)",
        "select = lambda batch, rows: {key: part[rows] for key, part in batch.items()}\n"
        "batch = {'x': batch[0], 'y': batch[1]}\nx, losses_of = 'x', losses\n"
        "losses = lambda model, batch: losses_of(model, (batch['x'], batch['y']))",
    ],
    ids=["samples", "collated", "selected"],
)
def test_a_file_says_how_its_batch_is_made(
    file: Path, layout: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that has a `collate` for its loader may well define a batch that has been through it."""
    file.write_text(f"{FILE}\n{layout}\n")
    assert run(str(file)) == 0
    assert "4 samples: the weights are those of mean." in capsys.readouterr().out
