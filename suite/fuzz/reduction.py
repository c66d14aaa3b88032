"""Somebody's own reduction as a target: is it the convention that it is meant to be, on every batch?

A reduction is a function `name(losses, units)` in a Python file. It gets the unreduced losses, `[samples]`,
or `[samples, parts]` where samples have several parts, each summed over its own elements, and the units
table, whose columns (`elements`, `weight`, `microbatch`, …) say what the batch is like. It returns the
loss to call `backward()` on, a scalar.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from suite.algebra.discrepancy import Verdict, compare
from suite.algebra.gram import norm, unit_norms
from suite.algebra.units import Column, Units
from suite.conventions import Convention, conventions
from suite.discovery import load_python
from suite.errors import UsageError, one_line
from suite.fuzz.target import Target
from suite.strategies import Example, examples

Reduction = Callable[[Tensor, Units], Tensor]
_ROUNDING = 1e-9  # reductions may compute their weights in float32 tensors of counts, exact up to 2**24


def target_in(place: str, expected: str, *, empty: bool = True) -> Target:
    """The target `PATH.py:NAME`: the reduction of this name gives the gradient of a convention.

    Args:
        place: the file and the name.
        expected: the name of the convention.
        empty: whether batches may have samples without elements, and weights of zero.

    Raises:
        UsageError: There is no such file, function or convention; or no reduction of losses can be the
            convention, because its coefficients come of the gradients.
    """
    convention = conventions[expected]
    if convention.uses_gram:
        raise UsageError(
            f"convention {expected!r} clips gradients, which no reduction of losses does: "
            "`gradsuite recover --expect` holds a training step against it"
        )
    path, _, name = place.rpartition(":")
    function = getattr(load_python(Path(path), "PATH.py:NAME of the reduction"), name, None)
    if not callable(function):
        raise UsageError(f"{path} does not define {name}(losses, units)")
    return Target(
        f"{Path(path).stem}.{name} {expected}",
        f"{name} gives the gradient of {expected!r}",
        examples(convention.needs, empty=empty),
        lambda example: _against(function, convention, example),
        lambda example: _python(path, name, convention, example),
    )


def _against(reduction: Reduction, convention: Convention, example: Example) -> str:
    try:
        given = reduced_weights(reduction, example)
    except UsageError as error:
        return one_line(error)
    except (Exception, SystemExit) as error:  # noqa: BLE001  it is anybody's code
        return f"it raised {one_line(error)}"
    wanted = np.where(example.units.data, convention.coefficients(example.units, example.gram), 0.0)
    norms = unit_norms(example.gram)
    weights = f"the weights of the units are {given.tolist()}, and should be {wanted.tolist()}"
    if not np.isfinite(given).all():  # nan times a gradient of zero is nan
        return weights
    apart = norm(example.gram, given - wanted)
    if apart <= _ROUNDING * float((np.abs(given) + np.abs(wanted)) @ norms):
        return ""
    found = compare(example.gram, given, wanted)
    if found.verdict is Verdict.DIRECTION or (found.scale or 0) <= 0:
        says = "which no learning rate repairs on this batch"
    else:
        says = f"{found.scale:.6g} times as large"
    return f"{weights}: {says}"


def reduced_weights(reduction: Reduction, example: Example) -> Column:
    """`[units]` the derivative of the reduced loss by each unit's loss: the weight that the unit gets.

    Raises:
        UsageError: The reduction gives no scalar that depends on the losses.
    """
    width = len(example.units.parts)
    with torch.enable_grad():
        losses = torch.ones(example.units.n, width or 1, dtype=torch.float64)
        # A unit without elements has a loss that is zero.
        losses *= torch.from_numpy(example.units.elements[example.units.data] > 0).reshape(losses.shape)
        losses = (losses if width else losses[:, 0]).requires_grad_()
        reduced: Any = reduction(losses, example.units)
        if not isinstance(reduced, Tensor) or reduced.numel() != 1 or not reduced.requires_grad:
            raise UsageError("it must return a scalar tensor computed from the losses")
        (weights,) = torch.autograd.grad(reduced.sum(), losses)
    column = np.zeros(len(example.units))
    column[example.units.data] = weights.flatten().numpy()
    return column


def _python(path: str, name: str, convention: Convention, example: Example) -> str:
    return f"""\
import runpy

from suite import Units
from suite.conventions import conventions
from suite.fuzz.reduction import reduced_weights
from suite.strategies import Example

reduction = runpy.run_path({path!r})[{name!r}]
example = {example.python}
convention = conventions[{convention.name!r}]
print(example.units.frame)
print("weights of {name}:", reduced_weights(reduction, example))
print("weights of {convention.name}:", convention.coefficients(example.units, example.gram))
"""
