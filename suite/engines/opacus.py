"""The engine of Opacus: hooks on every layer form its per-sample gradients during the backward pass."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from suite.engines.engine import Refused
from suite.engines.one_pass import keeps_graph
from suite.engines.unit_gradients import Materialised
from suite.loops import batch as batches
from suite.loops.batch import Batch
from suite.loops.loop import Losses


def compute(model: nn.Module, batch: Batch, losses: Losses) -> Materialised:
    """The gradients of the units by Opacus' `GradSampleModule`, from the backward pass of a sum.

    Losses `[samples, parts]` whose units each have a row of their own in the layers' inputs (stacked
    augmented copies) take one pass; others (several terms of one output) take one pass a part.

    Raises:
        Refused: A trained parameter got no per-sample gradient, or one of the wrong length.
    """
    with warnings.catch_warnings():
        # The first layer's input needs no gradient; torch warns of its hooks at every backward pass.
        warnings.filterwarnings("ignore", message="Full backward hook is firing")
        return _compute(model, batch, losses)


def _compute(model: nn.Module, batch: Batch, losses: Losses) -> Materialised:
    wrapped = _wrap(model)
    try:
        return _collected(wrapped, model, batch, losses)
    finally:
        wrapped.to_standard_module()  # its hooks and `grad_sample` go


def _collected(wrapped: Any, model: nn.Module, batch: Batch, losses: Losses) -> Materialised:
    samples = batches.size(batch)
    entries = losses(wrapped, batch)
    parts = entries.numel() // samples
    keep = keeps_graph(losses)
    if parts == 1:
        entries.sum().backward(retain_graph=keep)
        return Materialised(_collect(model, samples))
    first = entries.reshape(samples, parts)[:, 0]
    first.sum().backward(retain_graph=keep)
    rows = {len(p.grad_sample) for p in _trained(model).values() if _has_rows(p)}
    if rows == {samples * parts}:
        # The units are the rows; rows of the other parts are zero so far, so run all at once.
        _reset(wrapped)
        losses(wrapped, batch).sum().backward()
        return Materialised(_collect(model, samples * parts))
    columns = [_collect(model, samples)]
    for part in range(1, parts):
        _reset(wrapped)
        losses(wrapped, batch).reshape(samples, parts)[:, part].sum().backward()
        columns.append(_collect(model, samples))
    return Materialised({
        name: torch.stack([column[name] for column in columns], dim=1).flatten(0, 1)
        for name in columns[0]
    })  # fmt: skip


def _wrap(model: nn.Module) -> Any:
    root = logging.getLogger()
    handlers = list(root.handlers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside Opacus and its imports
        from opacus import GradSampleModule
    root.handlers[:] = handlers  # importing Opacus adds one of its own
    return GradSampleModule(model, loss_reduction="sum", strict=False)


def _trained(model: nn.Module) -> dict[str, Any]:
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def _has_rows(parameter: Any) -> bool:
    return isinstance(getattr(parameter, "grad_sample", None), Tensor)


def _reset(wrapped: Any) -> None:
    wrapped.zero_grad(set_to_none=True)


def _collect(model: nn.Module, units: int) -> dict[str, Tensor]:
    """The per-sample gradients that the hooks left, `[units, *parameter.shape]` by parameter."""
    blocks: dict[str, Tensor] = {}
    for name, parameter in _trained(model).items():
        if _has_rows(parameter):
            block = parameter.grad_sample.detach()
            if len(block) != units:
                raise Refused(
                    f"gave {len(block)} per-sample gradients of {name} where there are {units} units"
                )
            blocks[name] = block
        elif parameter.grad is None:
            blocks[name] = parameter.new_zeros(units, *parameter.shape)
        else:
            raise Refused(f"gave no per-sample gradient of {name}, which has a gradient")
    return blocks
