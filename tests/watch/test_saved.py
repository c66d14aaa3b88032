"""Updates in files: what is written, what is refused, what is recovered elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import suite
from suite.cli.main import main
from suite.errors import UsageError
from suite.watch.elsewhere import recover_saved
from suite.watch.saved import read_step
from tests.watch.runs import Language, accumulate, batches, losses, network, sentences

MINE = """
import torch.nn.functional as F
from torch import nn

def model():
    return nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 3)).double()

def losses(model, batch):
    return F.cross_entropy(model(batch[0]), batch[1], reduction="none")
"""


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    model = network()
    with suite.watch(model, losses, save=tmp_path / "step-{update}.safetensors") as audit:
        loader = audit.see(batches(3, 2, 2))
        accumulate(model, loader, torch.optim.SGD(model.parameters(), lr=0.1), 2)
    assert audit.saved == [tmp_path / "step-0.safetensors", tmp_path / "step-1.safetensors"]
    return audit.saved[0]


def test_an_update_is_recovered_elsewhere_as_it_was_here(saved, tmp_path, capsys) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(MINE)
    assert main(["recover", str(saved), "--with", str(mine), "--expect", "mean-of-microbatch-means"]) == 0
    assert (
        "Update 0. 5 samples: the weights are those of mean-of-microbatch-means." in capsys.readouterr().out
    )
    assert main(["recover", str(saved), "--with", str(mine), "--expect", "mean"]) == 1
    assert "does not compute 'mean'" in capsys.readouterr().err
    assert main(["recover", str(saved)]) == 2
    assert "holds 2 micro-batches and the gradient of 4 parameters" in capsys.readouterr().err


def test_updates_are_saved_without_losses_and_recovered_with_them(tmp_path) -> None:
    torch.manual_seed(0)
    model = Language().double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with suite.watch(model, None, save=tmp_path / "step.safetensors") as audit:
        for batch in sentences((7, 3), (4, 5)):
            (model(**batch)["loss"] / 2).backward()
        optimizer.step()
    assert not audit.updates
    found = recover_saved(audit.saved[0], (lambda: Language().double(), suite.losses.causal_lm))
    assert "mean-of-microbatch-means" in found.names
    np.testing.assert_allclose(found.weights[found.units.elements == 1], [1 / 16] * 8 + [1 / 14] * 7)


def test_a_file_that_another_framework_writes_needs_no_more_than_the_page_says(tmp_path) -> None:
    model, ((x, y),) = network(), batches(4)
    torch.nn.functional.cross_entropy(model(x), y).backward()
    tensors = {f"parameters/{name}": p.detach() for name, p in model.named_parameters()}
    tensors |= {f"gradient/{name}": p.grad for name, p in model.named_parameters()}
    tensors |= {"microbatches/0/0": x, "microbatches/0/1": y}
    save_file(tensors, tmp_path / "step.safetensors", {"format": "gradsuite-step-1"})
    assert recover_saved(tmp_path / "step.safetensors", (network(seed=5), losses)).computes("mean")


def without(name: str) -> Any:
    return lambda tensors, told: ({k: v for k, v in tensors.items() if not k.startswith(name)}, told)


def added(**more: Any) -> Any:
    return lambda tensors, told: (tensors | {k.replace("__", "/"): v for k, v in more.items()}, told)


def told(**more: str) -> Any:
    return lambda tensors, told: (tensors, told | more)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (without("gradient/"), "it has no gradient/…"),
        (without("parameters/"), "it has no parameters/…"),
        (without("microbatches/"), "it has no microbatches/…"),
        (without("parameters/0.weight"), "gradient/0.weight has no parameters/0.weight"),
        (without("microbatches/0"), "its micro-batches are 1: 0, 1, … is needed"),
        (added(gradient__0=torch.ones(1)), "gradient/0 has no parameters/0"),
        (added(weights__0=torch.ones(1)), "'weights/0' is of no kind"),
        (added(microbatches__x__0=torch.ones(1)), "microbatches/NUMBER/NAME is needed"),
        (added(microbatches__0__2=torch.ones(7)), "the first axis of each must be the number of samples"),
        (added(microbatches__0__2=torch.tensor(7)), r"2 \[\]: the first axis of each must be"),
        (added(gradient__nan=torch.tensor([torch.nan])), "gradient/nan is nan or infinite"),
        (added(parameters__whole=torch.ones(1, dtype=torch.int64)), "is of torch.int64: floating-point"),
        (added(units__wheight=torch.ones(5)), "units/wheight is no column; there are sample, part"),
        (added(random__0=torch.zeros(5)), r"random/0 is \[5\] of torch.float32: torch.get_rng_state"),
        (told(format="gradsuite-step-9"), "has format 'gradsuite-step-9'"),
        (told(ranks="0"), "the rank of each of 2 micro-batches"),
        (told(update="last"), "update is 'last': a whole number is needed"),
        (told(full="0"), "full is '0': a whole number of at least 1 is needed"),
        (told(max_norm="-1"), "max_norm is '-1': a positive number is needed"),
        (told(max_norm="nan"), "max_norm is 'nan': a positive number is needed"),
        (told(eval="all"), "eval is 'all': a JSON list is needed, for each of 2 micro-batches"),
        (told(eval='[["0"]]'), "for each of 2 micro-batches a list of modules"),
    ],
)
def test_what_a_file_lacks_is_said_in_one_line(saved, tmp_path, change, says) -> None:
    from safetensors import safe_open

    with safe_open(saved, "pt") as file:
        metadata = file.metadata()
    save_file(*_of(change(load_file(saved), metadata), tmp_path / "changed.safetensors"))
    with pytest.raises(UsageError, match=says) as error:
        read_step(tmp_path / "changed.safetensors")
    assert "\n" not in str(error.value)


def _of(changed: tuple[Any, Any], path: Path) -> tuple[Any, Path, Any]:
    return changed[0], path, changed[1]


def test_files_that_are_none_are_said(tmp_path) -> None:
    (tmp_path / "step.safetensors").write_text("no tensors")
    with pytest.raises(UsageError, match="is no safetensors file"):
        read_step(tmp_path / "step.safetensors")
    with pytest.raises(UsageError, match=r"cannot read|No such file"):
        read_step(tmp_path / "missing.safetensors")


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (torch.nn.Linear(6, 3), "only one of the two has the parameter"),
        (torch.nn.Sequential(torch.nn.Linear(6, 9), torch.nn.Tanh(), torch.nn.Linear(9, 3)), "the file of"),
        ("model", "model is a str"),
    ],
)
def test_another_model_is_refused(saved, model, says) -> None:
    with pytest.raises(UsageError, match=says):
        recover_saved(saved, (model, losses))
