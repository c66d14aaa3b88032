"""gradsuite: which gradient a paper, framework or loop computes, and which hyperparameters match it.

Everything public is here, and nothing is imported before it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from suite.version import __version__

if TYPE_CHECKING:
    from suite.conventions import Convention
    from suite.engines.compute import gradients
    from suite.equivalence.dialects import translate
    from suite.equivalence.equivalent import equivalent
    from suite.equivalence.law import law, register_law
    from suite.equivalence.state import convert_state
    from suite.errors import CaseError, UsageError
    from suite.recovery import Recovery, assert_convention, recover
    from suite.report import Report
    from suite.runner import run
    from suite.units import Units

_HOMES = {
    "CaseError": "suite.errors",
    "Convention": "suite.conventions",
    "Recovery": "suite.recovery",
    "Report": "suite.report",
    "Units": "suite.units",
    "UsageError": "suite.errors",
    "assert_convention": "suite.recovery",
    "convert_state": "suite.equivalence.state",
    "equivalent": "suite.equivalence",
    "gradients": "suite.engines.compute",
    "law": "suite.equivalence",
    "recover": "suite.recovery",
    "register_law": "suite.equivalence",
    "run": "suite.runner",
    "translate": "suite.equivalence.dialects",
}

__all__ = [
    "CaseError",
    "Convention",
    "Recovery",
    "Report",
    "Units",
    "UsageError",
    "__version__",
    "assert_convention",
    "convert_state",
    "equivalent",
    "gradients",
    "law",
    "recover",
    "register_law",
    "run",
    "translate",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'suite' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
