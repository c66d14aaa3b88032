"""What a file of one update holds, and what is missing or does not fit: docs/step-format.md."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from suite.algebra.units import Units
from suite.errors import UsageError, shortened
from suite.loops.batch import Batch
from suite.watch.microbatch import Call, Circumstances

STEP_FORMAT = "gradsuite-step-1"
TENSOR_KINDS = ("parameters", "buffers", "gradient", "microbatches", "units", "random")
STEP_SETTINGS: dict[str, tuple[Callable[[str], float], float, str]] = {
    "update": (int, 0, "a whole number"),
    "full": (int, 1, "a whole number of at least 1"),
    "world_size": (int, 1, "a whole number of at least 1"),
    "max_norm": (float, 1e-300, "a positive number"),
}
"""How settings are read, the least that each may be, and what is needed."""
COLUMNS = ("elements", "positions", "weight", "rank")
"""Columns of the units table that are taken from a file."""
WRITTEN_COLUMNS = ("sample", "part", "microbatch", *COLUMNS)


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
            for name in WRITTEN_COLUMNS
            if getattr(units, name) is not None
        }  # fmt: skip
        buffers = {name: t for name, t in model.named_buffers() if name in model.state_dict()}
        return cls(dict(model.named_parameters()), buffers, gradient, calls, columns, settings)


def checked_step(path: Path, tensors: Mapping[str, Tensor], told: Mapping[str, str]) -> StepFile:
    """The tensors and the metadata of a file as an update.

    Raises:
        UsageError: Something is missing or does not fit; the message says what, and what is needed.
    """
    if told.get("format") != STEP_FORMAT:
        raise UsageError(f"{path}: its metadata has format {told.get('format')!r}; {STEP_FORMAT!r} is needed")
    kinds = _by_kind(path, tensors)
    for kind in ("parameters", "gradient"):
        _require_numbers(path, kind, kinds[kind])
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


def _by_kind(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """The tensors of each kind, by the rest of their names."""
    kinds: dict[str, dict[str, Tensor]] = {kind: {} for kind in TENSOR_KINDS}
    for name, tensor in tensors.items():
        kind, _, rest = name.partition("/")
        if kind not in kinds or not rest:
            there = ", ".join(f"{k}/…" for k in TENSOR_KINDS)
            raise UsageError(f"{path}: tensor {name!r} is of no kind; there are {there}")
        if kind == "units" and rest not in WRITTEN_COLUMNS:
            raise UsageError(f"{path}: {name} is no column; there are {', '.join(WRITTEN_COLUMNS)}")
        kinds[kind][rest] = tensor
    for kind in ("parameters", "gradient", "microbatches"):
        if not kinds[kind]:
            raise UsageError(f"{path}: it has no {kind}/…; parameters, gradient and microbatches are needed")
    return kinds


def _require_numbers(path: Path, kind: str, tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise UsageError(f"{path}: {kind}/{name} is of {tensor.dtype}: floating-point numbers are needed")
        if not bool(torch.isfinite(tensor).all()):
            raise UsageError(f"{path}: {kind}/{name} is nan or infinite: no weights explain it")


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
    calls, modes, current = [], _modes(path, told, len(parts)), torch.get_rng_state()
    for place in range(len(parts)):
        batch = _nested(parts[str(place)])
        lengths = {len(tensor) if tensor.ndim else 0 for tensor in parts[str(place)].values()}
        if len(lengths) > 1 or min(lengths) < 1:
            shapes = ", ".join(f"{name} {list(t.shape)}" for name, t in parts[str(place)].items())
            raise UsageError(
                f"{path}: the tensors of micro-batch {place} are {shapes}: the first axis of each must be "
                "the number of samples"
            )
        state = random.get(str(place))
        if state is not None and (state.dtype, state.shape) != (current.dtype, current.shape):
            raise UsageError(
                f"{path}: random/{place} is {list(state.shape)} of {state.dtype}: torch.get_rng_state() is "
                f"needed, {list(current.shape)} of {current.dtype}"
            )
        circumstances = None if state is None else Circumstances(modes[place], state)
        calls.append(Call(batch, circumstances, int(ranks[place])))
    return calls


def _modes(path: Path, told: Mapping[str, str], count: int) -> list[Mapping[str, bool]]:
    """For each micro-batch, the modules that were in eval mode."""
    try:
        given = json.loads(told.get("eval", "[]")) or [[]] * count
        found = [dict.fromkeys(map(str, names), False) for names in given if isinstance(names, list)]
    except (ValueError, TypeError):
        found = []
    if len(found) != count:
        raise UsageError(
            f"{path}: eval is {shortened(told.get('eval'))}: a JSON list is needed, for each of {count} "
            "micro-batches a list of modules"
        )
    return list(found)


def _settings(path: Path, told: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, (read, least, needed) in STEP_SETTINGS.items():
        if name not in told:
            continue
        try:
            found[name] = read(told[name])
        except ValueError:
            found[name] = math.nan
        if not least <= found[name] < math.inf:
            raise UsageError(f"{path}: {name} is {told[name]!r}: {needed} is needed")
    return found


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
