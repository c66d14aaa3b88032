"""The hyperparameters with which a gradient takes the steps of another one that is a multiple of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from suite.algebra.formula import Formula
from suite.algebra.quantities import Quantities
from suite.algebra.symbols import numeral
from suite.equivalence import Equivalence, equivalent, law
from suite.equivalence.law import rescaled
from suite.errors import UsageError, shortened
from suite.recovery.explanation import products_of

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

    from suite.conventions import Convention
    from suite.recovery.findings import Findings

TOLD = ("SGD", "Adam", "AdamW")
COMMON = ("lr", "eps", "weight_decay")
NAMES_SHOWN = 3
"""How many names of parameters stand for a group."""


def advice(
    found: Findings, wanted: Convention, scale: float, model: nn.Module, optimizer: Optimizer | None
) -> str:
    """How large the gradient is against that of `wanted`, on which batches, and what to change.

    Args:
        found: what the step computes.
        wanted: what it must compute.
        scale: gradient of the step / gradient of `wanted`, on this batch.
        model: that is trained.
        optimizer: in use; if None, those that most people use.
    """
    lines = _of_optimizer(optimizer, model, scale) if optimizer is not None else _of_usual_optimizers(scale)
    return "\n".join([_headline(found, wanted, scale), *lines])


def _headline(found: Findings, wanted: Convention, scale: float) -> str:
    """The multiple, and whether it is that of every batch: one number is not sold for all of them."""
    factor = _factor(found, wanted, scale)
    that = f"times that of {wanted.name!r}"
    if factor is None or any(numeral(name) is not None and "." in name for name in factor.symbols):
        return (
            f"The gradient is {scale:.6g} {that} on this batch, and may be another multiple of it on the "
            "next. To take the same step here:"
        )
    if all(name.isdigit() for name in factor.symbols):
        return f"The gradient is {scale:.6g} {that}. To take the same steps:"
    here = f"The gradient is {factor} {that}, {scale:.6g} on this batch."
    if factor.fixed:
        return f"{here} To take the same steps on batches of this size:"
    return f"{here} On another batch it is another number, so no constant does for all. For this one alone:"


def _factor(found: Findings, wanted: Convention, scale: float) -> Formula | None:
    """The multiple as a formula of numbers of the whole batch; None where none is known."""
    known = Quantities.of(found.units)
    product = next(iter(products_of([wanted], known)), None)
    if product is None or found.formula is None:
        return None
    factor = found.formula / product
    value = factor.value(known.numbers)  # nan where a number of this batch stands in it
    return factor if abs(value - scale) <= 1e-6 * abs(scale) else None


def _of_optimizer(optimizer: Optimizer, model: nn.Module, scale: float) -> list[str]:
    """A line for each group of parameters of an optimizer that is in use."""
    if not hasattr(optimizer, "param_groups"):
        raise UsageError(f"optimizer is {shortened(optimizer)}: the optimizer in use is needed")
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = [
        (index, group, [names[id(p)] for p in group["params"] if id(p) in names])
        for index, group in enumerate(optimizer.param_groups)
    ]
    told = [entry for entry in groups if entry[2]] or groups
    kind = type(optimizer)
    try:
        return [
            f"  {_named(kind, index, mine, len(groups))}: {_changes(kind, group, scale)}"
            for index, group, mine in told
        ]
    except UsageError as error:  # no law is known for it, or no number fits
        return [f"  {kind.__name__}: {error}"]


def _named(kind: type, index: int, names: list[str], groups: int) -> str:
    if groups == 1:
        return kind.__name__
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    listed = f" ({', '.join(names[:NAMES_SHOWN])}{more})" if names else ""
    return f"{kind.__name__}, group {index}{listed}"


def _changes(kind: type, group: dict[str, Any], scale: float) -> str:
    """What becomes of the hyperparameters of a group, the rate that a scheduler begins with among them."""
    settings = law(kind).settings({})
    given = {
        key: value.item() if isinstance(value, torch.Tensor) else value
        for key, value in group.items()
        if key in settings
    }
    found = equivalent(kind, given, scale=scale)
    changed = [f"{c.name} {c.old!r} → {c.new!r}" for c in found.changes if c.new != c.old]
    changed += _scheduled(found, group, scale)
    return f"{', '.join(changed) or 'nothing to change'} ({found.reason})"


def _scheduled(found: Equivalence, group: dict[str, Any], scale: float) -> list[str]:
    """A scheduler computes the rate from `initial_lr`: it is that which must change."""
    initial = group.get("initial_lr")
    if initial is None:
        return []
    old = float(initial)
    new = rescaled("initial_lr", old, scale, law(found.optimizer).hyperparameters["lr"].exponent)
    return [] if new == old else [f"initial_lr, from which a scheduler computes lr, {old!r} → {new!r}"]


def _of_usual_optimizers(scale: float) -> list[str]:
    """What becomes of the hyperparameters of the usual optimizers."""
    lines = []
    for name in TOLD:
        entries = law(name).hyperparameters
        changed = [
            f"{key} × {scale**entry.exponent:.6g}"
            for key, entry in entries.items()
            if key in COMMON and isinstance(entry.exponent, int) and entry.exponent
        ]
        lines.append(f"  {name}: {', '.join(changed)}")
    return [*lines, f"  a clip threshold: × {scale:.6g}"]
