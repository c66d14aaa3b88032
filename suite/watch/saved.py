"""One update in a file: recorded here, recovered there. docs/step-format.md has the format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from suite.errors import UsageError, one_line
from suite.loops.batch import Batch
from suite.machine.write import write
from suite.watch.step_file import STEP_FORMAT, StepFile, checked_step


def write_step(path: Path, step: StepFile) -> None:
    """Write an update into a file.

    Raises:
        UsageError: safetensors is not installed, or the file cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    for kind in ("parameters", "buffers", "gradient"):
        tensors |= {f"{kind}/{name}": tensor for name, tensor in getattr(step, kind).items()}
    tensors |= {f"units/{name}": column for name, column in step.columns.items()}
    for number, call in enumerate(step.calls):
        tensors |= {f"microbatches/{number}/{name}": t for name, t in _flat(call.batch)}
        if call.circumstances is not None:
            tensors[f"random/{number}"] = call.circumstances.random
    told = {name: str(value) for name, value in step.settings.items() if value is not None}
    told |= {"format": STEP_FORMAT, "ranks": ",".join(str(call.rank) for call in step.calls)}
    modes = [call.circumstances.modes if call.circumstances else {} for call in step.calls]
    told["eval"] = json.dumps([[name for name, train in each.items() if not train] for each in modes])
    written = {name: t.detach().cpu().clone().contiguous() for name, t in tensors.items()}
    write(path, _library().save(written, told))


def read_step(path: Path) -> StepFile:
    """Read an update from a file.

    Raises:
        UsageError: It is no such file, or something is missing or does not fit: the message says what.
    """
    try:
        with _library("").safe_open(path, "pt") as file:
            told = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no mapping
    except UsageError:
        raise
    except OSError as error:
        raise UsageError(f"cannot read {path} ({error.strerror or one_line(error)})") from None
    except Exception as error:  # noqa: BLE001  whatever the library says of what it cannot read
        raise UsageError(f"{path} is no safetensors file: {one_line(error)}") from None
    return checked_step(path, tensors, told)


def _flat(batch: Batch, name: str = "") -> list[tuple[str, Tensor]]:
    """The tensors of a batch with their names: keys, and places from 0."""
    if isinstance(batch, Tensor):
        return [(name or "0", batch)]
    pairs = batch.items() if isinstance(batch, dict) else enumerate(batch)
    return [found for key, part in pairs for found in _flat(part, f"{name}/{key}" if name else str(key))]


def loaded_model(model: nn.Module, step: StepFile) -> nn.Module:
    """The model at the parameters of the update; only those that have a gradient ask for one.

    Raises:
        UsageError: It is another model.
    """
    own = dict(model.named_parameters())
    other = sorted(own.keys() ^ step.parameters.keys())
    if other:
        raise UsageError(
            f"`model` is not the model of the file: only one of the two has the parameter {other[0]}"
        )
    buffers = dict(model.named_buffers())
    with torch.no_grad():
        for name, tensor in (*step.parameters.items(), *step.buffers.items()):
            mine = own.get(name, buffers.get(name))
            if mine is None:
                raise UsageError(f"`model` is not the model of the file: it has no buffer {name}")
            if mine.shape != tensor.shape:
                raise UsageError(
                    f"`model` has {name} of {list(mine.shape)}, the file of {list(tensor.shape)}"
                )
            mine.copy_(tensor)
    for name, parameter in own.items():
        parameter.requires_grad_(name in step.gradient)
    return model


def _library(module: str = ".torch") -> Any:
    from importlib import import_module

    try:
        return import_module(f"safetensors{module}")
    except ImportError:
        raise UsageError(
            "steps are saved as safetensors, which is not installed: pip install 'gradsuite[steps]'"
        ) from None
