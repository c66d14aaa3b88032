"""What `list` and `show` look into: the registries by the kind of thing that is in them."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any, Protocol

from suite.machine.streams import aside
from suite.registry import Registry

KINDS = (
    "cases", "claims", "conventions", "parameterwise", "frameworks", "engines", "papers", "dialects", "rules",
)  # fmt: skip


class Listed(Protocol):
    """A named thing with a card."""

    @property
    def name(self) -> str:
        """As people type it."""

    @property
    def summary(self) -> str:
        """One line."""

    def card(self) -> dict[str, Any]:
        """All that a person may want to know of it."""


def catalogue(kind: str, files: Sequence[str] = ()) -> Registry[Any]:
    """The registry of one of `KINDS`; `files` register further cases."""
    if kind in ("cases", "claims"):
        from suite.discovery import load_cases, load_claims

        with aside():
            return load_cases(files) if kind == "cases" else load_claims()
    module, name = _HOMES[kind]
    found: Registry[Any] = getattr(import_module(module), name)
    return found


_HOMES = {
    "conventions": ("suite.conventions", "conventions"),
    "parameterwise": ("suite.conventions.parameterwise", "parameterwise"),
    "frameworks": ("suite.frameworks", "words"),
    "engines": ("suite.engines", "engines"),
    "papers": ("suite.papers.library", "papers"),
    "dialects": ("suite.equivalence.dialects", "dialects"),
    "rules": ("suite.batch_size.rules", "rules"),
}
