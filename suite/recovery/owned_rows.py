"""Whose a row of a layer is: found by experiment, not by the layer's kind or the model's.

Two backward passes stop at the outputs of linear maps: of the sum of all losses, and of their sum with a
weight of its own for each unit. A row of the output that the loss of one unit alone reaches has, in the
second, that unit's weight times what it has in the first. So behind the last layer that mixes positions
each row tells which unit it belongs to, in whatever order or layout: tokens of a packed row, those that a
router sent to an expert, pixels, nodes. A row that several units reach has no such weight.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor, nn

from suite.engines.streaming.capture import ForwardCall
from suite.recovery.unit_rows import UnitRows

ALOUD = 1e-7
"""A row below this share of the largest one is as good as silent, whoever it belongs to."""

TRIED_ROWS = 3


@dataclass(frozen=True)
class Codes:
    """A weight for each unit, which no other unit has.

    Args:
        weights: `[units]` from 1 to 2, in random order.
    """

    weights: Tensor

    @classmethod
    def of(cls, units: int, device: torch.device) -> Codes:
        """For so many units."""
        order = torch.randperm(units, generator=torch.Generator().manual_seed(units), device="cpu")
        return cls(((order.double() + 0.5) / units + 1.0).to(device))

    def read(self, once: Tensor, coded: Tensor) -> Tensor | None:
        """`[rows]` the unit of each row, −1 for rows without a gradient; None where some unit shares a row.

        Args:
            once: `[rows, outputs]` the gradient of the sum of the losses.
            coded: the same of the weighted sum.
        """
        first, second = once.double(), coded.double()
        squares = first.square().sum(1)
        loud = squares > (ALOUD**2) * squares.max()
        size = first.abs().amax(1)
        if bool((second.abs().amax(1) > 4 * size + 4 * ALOUD * size.max()).any()):
            return None  # losses that cancel in the sum, and not in the other
        ratio = (first * second).sum(1) / torch.where(loud, squares, 1.0)
        units = len(self.weights)
        ranked, order = self.weights.sort()
        place = ((ratio - 1.0) * units - 0.5).round().clamp(0, units - 1).long()
        expected = ranked[place]
        apart = (second - expected[:, None] * first).abs().amax(1)
        digits = 64 * float(torch.finfo(once.dtype).eps) ** 0.75
        if bool((loud & (apart > min(digits, 0.2 / units) * size)).any()):
            return None
        return torch.where(loud, order[place], -1)


def owned(
    calls: Sequence[ForwardCall],
    once: Sequence[Tensor | None],
    coded: Sequence[Tensor | None] | None,
    codes: Codes,
    names: dict[int, str],
    reads: Counter[int],
) -> list[UnitRows]:
    """The linear maps of which each row belongs to one unit, with their rows.

    Args:
        calls: of modules that may be linear maps.
        once: by call, the gradient of the sum of all losses by the output.
        coded: by call, that of the sum weighted by the codes; None where rows are known to be units in turn.
        codes: the weights.
        names: of the trained parameters, by `id`.
        reads: how often each parameter is read in the whole graph, by `id`.
    """
    by_module: dict[nn.Module, list[UnitRows | None]] = {}
    for call, first, second in zip(calls, once, coded or [None] * len(calls), strict=True):
        if first is not None and (coded is None or second is not None):
            rows = _rows(call, first, second, codes, names, reads)
            by_module.setdefault(call.module, []).append(rows)
    found = []
    for module, of_module in by_module.items():
        known = [part for part in of_module if part is not None]
        if len(known) == len(of_module) == reads[id(module.weight)]:
            found.append(joined(known))
    return found


def joined(parts: Sequence[UnitRows]) -> UnitRows:
    """The rows of several calls, or of several pieces of the batch."""
    first = parts[0]
    if len(parts) == 1:
        return first
    unit = torch.cat([part.unit for part in parts])
    order = unit.argsort(stable=True)
    a, b = torch.cat([part.a for part in parts])[order], torch.cat([part.b for part in parts])[order]
    return UnitRows(first.weight, first.bias, first.turned, a, b, unit[order])


def may_be_linear(module: nn.Module) -> bool:
    """Whether a module has a matrix of its own that may be all that it multiplies by."""
    weight = module._parameters.get("weight")  # noqa: SLF001  not one that a hook or a property makes
    if weight is None or isinstance(module, nn.Embedding | nn.Bilinear):
        return False
    return weight.ndim == 2 or (isinstance(module, nn.Conv2d) and module.groups == 1)


def _rows(
    call: ForwardCall,
    first: Tensor,
    second: Tensor | None,
    codes: Codes,
    names: dict[int, str],
    reads: Counter[int],
) -> UnitRows | None:
    module = call.module
    weight, bias = module._parameters["weight"], module._parameters.get("bias")  # noqa: SLF001  as above
    if weight is None or id(weight) not in names:
        return None
    found = _vectors(call, first, first if second is None else second)
    if found is None:
        return None
    a, once, coded = found
    unit = codes.read(once, coded) if second is not None else _in_turn(once, codes)
    if unit is None or call.input._version != call.version:  # noqa: SLF001  overwritten since
        return None
    turned = weight.ndim == 2 and _is_turned(module, weight, a, once)
    kept = unit >= 0
    own_bias = bias is not None and id(bias) in names and reads[id(bias)] == reads[id(weight)]
    own_bias = own_bias and bias is not None and bias.shape == (once.shape[1],)
    return UnitRows(
        names[id(weight)],
        names[id(bias)] if own_bias else None,
        turned,
        a[kept],
        once[kept],
        unit[kept],
        bool((unit[kept] == kept.nonzero()[:, 0]).all()) and len(unit) == len(codes.weights),
    )


def _in_turn(once: Tensor, codes: Codes) -> Tensor | None:
    """`[rows]` the unit of each row, −1 for those without a gradient, where rows are units in turn."""
    units = len(codes.weights)
    if len(once) != units:
        return None
    return torch.where(once.any(1), torch.arange(units, device=once.device), -1)


def _vectors(call: ForwardCall, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor] | None:
    """`[rows, inputs]` and twice `[rows, outputs]`, if the module is a linear map, of vectors or patches."""
    module, given = call.module, call.input
    if isinstance(module, nn.Conv2d):
        if given.ndim != 4 or module.padding_mode != "zeros" or isinstance(module.padding, str):
            return None
        a = F.unfold(given, module.kernel_size, module.dilation, module.padding, module.stride)
        once, coded = (g.flatten(2).mT.flatten(0, 1) for g in (first, second))
        return a.mT.flatten(0, 1), once, coded
    if given.ndim < 1 or given.shape[:-1] != call.shape[:-1]:
        return None
    if {given.shape[-1], call.shape[-1]} != set(_matrix(module).shape):
        return None
    a = given.reshape(-1, given.shape[-1])
    once, coded = (g.reshape(-1, g.shape[-1]) for g in (first, second))
    return (a, once, coded) if _is_linear(module, a) else None


def _matrix(module: nn.Module) -> Tensor:
    weight = module._parameters["weight"]  # noqa: SLF001  as above
    if weight is None:
        raise TypeError(type(module).__name__)
    return weight


def _is_linear(module: nn.Module, a: Tensor) -> bool:
    """Whether the module does to a few rows what its matrix does."""
    if type(module) is nn.Linear:
        return True
    return _map_of(module, a) is not None


def _is_turned(module: nn.Module, weight: Tensor, a: Tensor, b: Tensor) -> bool:
    if type(module) is nn.Linear or a.shape[1] != b.shape[1]:
        return bool(weight.shape != (b.shape[1], a.shape[1]))
    return _map_of(module, a) == "turned"


def _map_of(module: nn.Module, a: Tensor) -> str | None:
    """Which of the two linear maps of its matrix a module is, by a few rows; None for neither."""
    weight = _matrix(module)
    bias = module._parameters.get("bias")  # noqa: SLF001  as above
    rows = a[:TRIED_ROWS]
    with torch.no_grad():
        try:
            there = nn.Module.__call__(module, rows)
        except Exception:  # noqa: BLE001  whatever it is, it is no linear map of rows
            return None
        for name, matrix in (("straight", weight), ("turned", weight.T)):
            if matrix.shape[1] != rows.shape[1] or not isinstance(there, Tensor):
                continue
            here = F.linear(rows, matrix, bias)
            slack = float(torch.finfo(here.dtype).eps) ** 0.5 * float(here.abs().max() + 1e-30)
            if here.shape == there.shape and float((here - there).abs().max()) <= slack:
                return name
    return None
