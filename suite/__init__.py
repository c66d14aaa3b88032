"""gradsuite: which gradient a paper, framework or loop computes, and which hyperparameters match it.

Everything public is here, and nothing is imported before it is used.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

from suite.machine.version import __version__

if TYPE_CHECKING:
    from suite import losses
    from suite.algebra.units import Units
    from suite.conventions import Convention
    from suite.engines.per_sample_gradients import per_sample_gradients
    from suite.equivalence.dialects import translate
    from suite.equivalence.equivalent import equivalent
    from suite.equivalence.law import law
    from suite.equivalence.register import register_law
    from suite.equivalence.scales import Sizes, scale_between
    from suite.equivalence.state import convert_state
    from suite.errors import CaseError, UsageError
    from suite.recovery import Recovery, assert_convention, recover
    from suite.report.run_result import RunResult
    from suite.running.run import run
    from suite.watch.watching import watch

_HOMES = {
    "CaseError": "suite.errors",
    "Convention": "suite.conventions",
    "Recovery": "suite.recovery",
    "RunResult": "suite.report.run_result",
    "Sizes": "suite.equivalence",
    "Units": "suite.algebra.units",
    "UsageError": "suite.errors",
    "assert_convention": "suite.recovery",
    "convert_state": "suite.equivalence.state",
    "equivalent": "suite.equivalence",
    "law": "suite.equivalence",
    "per_sample_gradients": "suite.engines.per_sample_gradients",
    "recover": "suite.recovery",
    "register_law": "suite.equivalence",
    "run": "suite.running.run",
    "scale_between": "suite.equivalence",
    "translate": "suite.equivalence.dialects",
}

__all__ = [
    "CaseError",
    "Convention",
    "Recovery",
    "RunResult",
    "Sizes",
    "Units",
    "UsageError",
    "__version__",
    "assert_convention",
    "convert_state",
    "equivalent",
    "law",
    "losses",
    "per_sample_gradients",
    "recover",
    "register_law",
    "run",
    "scale_between",
    "translate",
    "watch",
]


_MODULES = ("losses", "watch")
"""Modules that are public as they are; `watch` can be called, too."""

_FORMER = {"Report": "RunResult", "gradients": "per_sample_gradients"}
"""Names that were public before, and those of today."""


def __getattr__(name: str) -> object:
    name = _FORMER.get(name, name)
    if name in _MODULES:
        return import_module(f"suite.{name}")
    if name not in _HOMES:
        raise AttributeError(
            f"module 'suite' has no attribute {name!r}", name=name, obj=sys.modules[__name__]
        )
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
