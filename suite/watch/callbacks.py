"""What the callbacks of frameworks share: an audit that begins and ends with the training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from suite.loops.loop import Losses
from suite.watch.audit import RunAudit
from suite.watch.watching import watch


class CallbackAudit:
    """The audit of one training after the other.

    Args:
        losses: see `watch`, as for the options.
        **options: those that the framework does not know itself.
    """

    def __init__(self, losses: Losses | None, **options: Any) -> None:
        self.audit: RunAudit | None = None
        """That of the last training."""
        self._losses, self._options = losses, options

    def started(self, model: nn.Module, window: int | None, max_norm: float | None) -> RunAudit:
        """A training begins."""
        self.ended()
        given = {"window": window, "max_norm": max_norm or None} | self._options
        self.audit = watch(model, self._losses, **given).__enter__()
        return self.audit

    def ended(self) -> None:
        """The training is over, or another begins."""
        if self.audit is not None and self.audit.running:
            self.audit.__exit__(None, None, None)

    def __str__(self) -> str:
        return "no training was audited yet" if self.audit is None else str(self.audit)


@contextmanager
def instead(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Another value, or function, in the place of an attribute or method of one object; then as it was."""
    own = name in vars(owner)
    before = vars(owner).get(name)
    object.__setattr__(owner, name, value)
    try:
        yield
    finally:
        if own:
            object.__setattr__(owner, name, before)
        else:
            object.__delattr__(owner, name)
