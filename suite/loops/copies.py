"""Copies of models."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn

from suite.errors import UsageError, one_line


def copied(model: nn.Module, memo: dict[int, Any] | None = None) -> nn.Module:
    """A copy of a model.

    Args:
        model: left as it is.
        memo: receives the copies of all that is in it, by the identity of the original.

    Raises:
        UsageError: It cannot be copied.
    """
    memo = {} if memo is None else memo
    # Weights that a hook makes anew at each call (torch.nn.utils.weight_norm of old) are no leaves.
    made = [v for m in model.modules() for v in vars(m).values() if isinstance(v, Tensor) and not v.is_leaf]
    memo |= {id(tensor): tensor.detach().clone() for tensor in made}
    try:
        return copy.deepcopy(model, memo)
    except Exception as error:
        raise UsageError(
            f"the model cannot be copied: {one_line(error)}; keep what has no copy (locks, files, handles) "
            "out of it, or give its class a __deepcopy__"
        ) from error
