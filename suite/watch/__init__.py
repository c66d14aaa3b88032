"""The audit in place: what each update of a training run weighs its units with.

    with suite.watch(model, losses, every=100, expect="token-mean") as audit:
        train()
    print(audit)

`help(suite.watch.watch)` has all arguments. The package is also where the callbacks of frameworks are:
`suite.watch.huggingface.AuditCallback`, `suite.watch.lightning.Audit`, `suite.watch.keras.Audit`. They are
imported when they are first named, and need their framework only then. Both are possible because this package
can be called: a call is one of `suite.watch.watching.watch`.
"""

from __future__ import annotations

import sys
from importlib import import_module
from inspect import Signature, signature
from types import ModuleType
from typing import Any

_CALLBACKS = ("huggingface", "keras", "lightning")
_HOMES = {
    "AuditWarning": "suite.watch.errors",
    "RunAudit": "suite.watch.audit",
    "Seen": "suite.watch.audit",
    "UnexpectedUpdateError": "suite.watch.errors",
    "AuditedUpdate": "suite.watch.update",
    "watch": "suite.watch.watching",
}

__all__ = ["AuditWarning", "AuditedUpdate", "RunAudit", "Seen", "UnexpectedUpdateError", "watch"]


def __getattr__(name: str) -> object:
    if name in _CALLBACKS:
        return import_module(f"suite.watch.{name}")
    if name not in _HOMES:
        raise AttributeError(
            f"module 'suite.watch' has no attribute {name!r}", name=name, obj=sys.modules[__name__]
        )
    return getattr(import_module(_HOMES[name]), name)


class _CallablePackage(ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return import_module("suite.watch.watching").watch(*args, **kwargs)

    @property
    def __signature__(self) -> Signature:
        """Of the function, for editors and notebooks."""
        return signature(import_module("suite.watch.watching").watch)


sys.modules[__name__].__class__ = _CallablePackage
