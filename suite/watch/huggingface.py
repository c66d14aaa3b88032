"""The audit as a callback of Hugging Face's Trainer, and so of TRL's: `AuditCallback(losses, every=100)`.

The length of a window and the clip threshold are those of the training's arguments. transformers is imported
when `AuditCallback` is first named.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from suite.watch.callbacks import CallbackAudit

if TYPE_CHECKING:
    from torch import nn


class TrainerEvents(CallbackAudit):
    """What happens at the events of a Trainer."""

    def on_train_begin(self, args: Any, *_: Any, model: nn.Module, **__: Any) -> None:
        """The audit begins."""
        self.started(model, args.gradient_accumulation_steps, args.max_grad_norm)

    def on_epoch_end(self, *_: Any, **__: Any) -> None:
        """The last update was the last one of an epoch."""
        if self.audit is not None:
            self.audit.epoch_ended()

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """The audit ends."""
        self.ended()


@cache
def _callback() -> type:
    from transformers import TrainerCallback

    return type("AuditCallback", (TrainerEvents, TrainerCallback), {"__doc__": __doc__})


def __getattr__(name: str) -> Any:
    if name == "AuditCallback":
        return _callback()
    raise AttributeError(f"module 'suite.watch.huggingface' has no attribute {name!r}")
