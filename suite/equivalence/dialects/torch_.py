"""The dialect `torch`: PyTorch's own words, passed through as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from suite.equivalence.dialects.dialect import Dialect, dialects
from suite.equivalence.dialects.translation import Translation

if TYPE_CHECKING:
    from collections.abc import Mapping

TORCH = dialects.add(
    Dialect(
        name="torch",
        summary="torch.optim as it is",
        source="torch/optim",
        verified="measured",
        optimizers=(),
    )
)


def passed(optimizer: str, hyperparameters: Mapping[str, Any]) -> Translation:
    """What is PyTorch's already; names and numbers are checked by the laws."""
    return Translation(
        dialect="torch",
        written=optimizer,
        optimizer=optimizer,
        hyperparameters=dict(hyperparameters),
        exact=True,
        reason="PyTorch's own",
    )
