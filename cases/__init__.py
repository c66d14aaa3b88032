"""The cases: what is measured, on real data that comes with a package.

Each family of cases is a module; `cases.data`, `cases.losses` and `cases.models` are what they are
made of, and are imported when the first case is built: naming the cases needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from suite.case import Case, Problem, case, cases

if TYPE_CHECKING:
    from cases import data, losses, models

# The order of import is the order of the tables.
from cases import regression, classification, language, mixtures, engines, large  # isort: skip

__all__ = [
    "Case",
    "Problem",
    "case",
    "cases",
    "classification",
    "data",
    "engines",
    "language",
    "large",
    "losses",
    "mixtures",
    "models",
    "regression",
]


def __getattr__(name: str) -> object:
    if name in ("data", "losses", "models"):
        return import_module(f"cases.{name}")
    raise AttributeError(f"module 'cases' has no attribute {name!r}")
