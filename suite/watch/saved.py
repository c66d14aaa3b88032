"""One update in a file: recorded here, recovered there. docs/step-format.md has the format."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from suite.algebra.units import Units
from suite.errors import UsageError, one_line
from suite.loops.batch import Batch
from suite.machine.write import write
from suite.watch.microbatch import Call, Circumstances

STEP_FORMAT = "gradsuite-step-1"
TENSOR_KINDS = ("parameters", "buffers", "gradient", "microbatches", "units", "random")
STEP_SETTINGS = {"update": int, "full": int, "world_size": int, "max_norm": float}
COLUMNS = ("elements", "positions", "weight", "rank")
"""Columns of the units table that are taken from a file."""


@dataclass(frozen=True, eq=False)
class StepFile:
    """What recovery needs of one update.

    Args:
        parameters: by name, before the update.
        buffers: by name.
        gradient: by parameter name, as the optimizer used it.
        calls: the micro-batches.
        columns: `[units]` each, columns of the units table.
        settings: `update`, `full`, `world_size` and `max_norm`, where they are known.
    """

    parameters: Mapping[str, Tensor]
    buffers: Mapping[str, Tensor]
    gradient: Mapping[str, Tensor]
    calls: Sequence[Call]
    columns: Mapping[str, Tensor] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        model: nn.Module,
        gradient: Mapping[str, Tensor],
        calls: Sequence[Call],
        units: Units | None = None,
        **settings: Any,
    ) -> StepFile:
        """Of a model at the parameters of the update."""
        columns = {} if units is None else {
            name: torch.as_tensor(getattr(units, name), device="cpu")
            for name in ("sample", "part", "microbatch", *COLUMNS)
            if getattr(units, name) is not None
        }  # fmt: skip
        buffers = {name: t for name, t in model.named_buffers() if name in model.state_dict()}
        return cls(dict(model.named_parameters()), buffers, gradient, calls, columns, settings)


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


def checked_step(path: Path, tensors: Mapping[str, Tensor], told: Mapping[str, str]) -> StepFile:
    """The tensors and the metadata of a file as an update.

    Raises:
        UsageError: Something is missing or does not fit; the message says what, and what is needed.
    """
    if told.get("format") != STEP_FORMAT:
        raise UsageError(f"{path}: its metadata has format {told.get('format')!r}; {STEP_FORMAT!r} is needed")
    kinds: dict[str, dict[str, Tensor]] = {kind: {} for kind in TENSOR_KINDS}
    for name, tensor in tensors.items():
        kind, _, rest = name.partition("/")
        if kind not in kinds or not rest:
            there = ", ".join(f"{k}/…" for k in TENSOR_KINDS)
            raise UsageError(f"{path}: tensor {name!r} is of no kind; there are {there}")
        kinds[kind][rest] = tensor
    for kind in ("parameters", "gradient", "microbatches"):
        if not kinds[kind]:
            raise UsageError(f"{path}: it has no {kind}/…; parameters, gradient and microbatches are needed")
    for name, part in kinds["gradient"].items():
        if name not in kinds["parameters"]:
            raise UsageError(f"{path}: gradient/{name} has no parameters/{name}")
        if part.shape != kinds["parameters"][name].shape:
            raise UsageError(
                f"{path}: gradient/{name} is {list(part.shape)}, parameters/{name} is "
                f"{list(kinds['parameters'][name].shape)}: they must be of one shape"
            )
    calls = _calls(path, kinds["microbatches"], kinds["random"], told)
    return StepFile(
        kinds["parameters"], kinds["buffers"], kinds["gradient"], calls, kinds["units"], _settings(path, told)
    )


def _calls(
    path: Path, tensors: Mapping[str, Tensor], random: Mapping[str, Tensor], told: Mapping[str, str]
) -> list[Call]:
    parts: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        number, _, rest = name.partition("/")
        if not number.isdigit() or not rest:
            raise UsageError(f"{path}: tensor 'microbatches/{name}': microbatches/NUMBER/NAME is needed")
        parts.setdefault(number, {})[rest] = tensor
    if sorted(map(int, parts)) != list(range(len(parts))):
        raise UsageError(f"{path}: its micro-batches are {', '.join(sorted(parts))}: 0, 1, … is needed")
    ranks = told.get("ranks", "").split(",") if told.get("ranks") else ["0"] * len(parts)
    if len(ranks) != len(parts) or not all(rank.isdigit() for rank in ranks):
        raise UsageError(
            f"{path}: ranks are {told['ranks']!r}; the rank of each of {len(parts)} micro-batches is needed"
        )
    calls = []
    for place in range(len(parts)):
        batch = _nested(parts[str(place)])
        lengths = {len(tensor) if tensor.ndim else -1 for tensor in parts[str(place)].values()}
        if len(lengths) > 1 or min(lengths) < 1:
            raise UsageError(
                f"{path}: the tensors of micro-batch {place} have first axes of {sorted(lengths)}: all "
                "must be the number of samples"
            )
        state = random.get(str(place))
        circumstances = None if state is None else Circumstances(_modes(told, place), state)
        calls.append(Call(batch, circumstances, int(ranks[place])))
    return calls


def _modes(told: Mapping[str, str], number: int) -> Mapping[str, bool]:
    try:
        return dict.fromkeys(json.loads(told.get("eval", "[]"))[number], False)
    except (ValueError, IndexError, TypeError):
        return {}


def _settings(path: Path, told: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, kind in STEP_SETTINGS.items():
        if name in told:
            try:
                found[name] = kind(told[name])
            except ValueError:
                raise UsageError(f"{path}: {name} is {told[name]!r}: a number is needed") from None
    return found


def _flat(batch: Batch, name: str = "") -> list[tuple[str, Tensor]]:
    """The tensors of a batch with their names: keys, and places from 0."""
    if isinstance(batch, Tensor):
        return [(name or "0", batch)]
    pairs = batch.items() if isinstance(batch, dict) else enumerate(batch)
    return [found for key, part in pairs for found in _flat(part, f"{name}/{key}" if name else str(key))]


def _nested(tensors: Mapping[str, Tensor]) -> Batch:
    """A batch from names: places from 0 make a tuple, other names a dict; one place alone is that tensor."""
    groups: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        key, _, rest = name.partition("/")
        groups.setdefault(key, {})[rest] = tensor
    found = {key: part[""] if set(part) == {""} else _nested(part) for key, part in groups.items()}
    places = [str(place) for place, _ in zip(count(), found, strict=False)]
    if set(found) != set(places):
        return found
    return found["0"] if len(found) == 1 else tuple(found[place] for place in places)


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
