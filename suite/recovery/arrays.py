"""Gradients that a step returns as arrays of NumPy or JAX, in mappings of mappings too, and what is amiss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

NAMES_TOLD = 4


def is_array(value: object) -> bool:
    """Whether this is an array of NumPy, JAX or another library, and no tensor."""
    return not isinstance(value, Tensor) and hasattr(value, "__array__") and hasattr(value, "shape")


def as_tensor(value: Any) -> Tensor | None:
    """A tensor, or an array as a tensor; None for anything else.

    Args:
        value: bfloat16, which NumPy itself does not have, stays bfloat16.
    """
    if isinstance(value, Tensor):
        return value
    if not is_array(value):
        return None
    array = np.asarray(value)
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.astype(np.float32)).to(torch.bfloat16)
    return torch.from_numpy(np.array(array)) if array.dtype.kind in "fiub" else None


def flat(value: Mapping[Any, Any], above: str = "") -> dict[str, Any]:
    """A mapping of mappings by names with dots, as parameters have them."""
    found: dict[str, Any] = {}
    for key, part in value.items():
        name = f"{above}{key}"
        found |= flat(part, f"{name}.") if isinstance(part, Mapping) else {name: part}
    return found


def misfit(value: object, trained: Mapping[str, nn.Parameter]) -> str:
    """What is amiss with a gradient by name or in order, to be read after a message; empty for none."""
    named = flat(value) if isinstance(value, Mapping) else _in_order(value, trained)
    arrays = {name: found for name, part in named.items() if (found := as_tensor(part)) is not None}
    if not arrays or all(part.ndim == 0 for part in arrays.values()):
        return ""  # the numbers that it logs
    other = [name for name in arrays if name not in trained]
    if other:
        return f"; by name: {_listed(other)} is none of the parameters {_listed(list(trained))}"
    name = next((name for name, part in arrays.items() if part.shape != trained[name].shape), None)
    if name is None:
        return ""
    given, wanted = list(arrays[name].shape), list(trained[name].shape)
    turned = "; transpose it" if given == wanted[::-1] else ""
    how = "by name" if isinstance(value, Mapping) else "in the order of the parameters"
    return f"; {how}: the gradient of {name} is {given}, the parameter {wanted}{turned}"


def _in_order(value: object, trained: Mapping[str, nn.Parameter]) -> dict[str, Any]:
    """The parts of a list or tuple that has one for each parameter."""
    if not isinstance(value, list | tuple) or len(value) != len(trained):
        return {}
    return dict(zip(trained, value, strict=True))


def _listed(names: list[str]) -> str:
    return ", ".join(names[:NAMES_TOLD]) + (", …" if len(names) > NAMES_TOLD else "")
