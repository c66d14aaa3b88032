"""The audit of Hugging Face's Trainer, and so of TRL's.

`AuditCallback(losses, every=100)` is a callback: the losses have the batch as the model was called with it.
`with audited(trainer, losses) as audit:` gives them what the trainer computes its loss from, which has what
never reaches the model: advantages, or labels that are smoothed. The length of a window and the clip
threshold are those of the training's arguments. transformers is imported when `AuditCallback` is first named.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, wraps
from typing import TYPE_CHECKING, Any

from suite.errors import UsageError
from suite.watch.callbacks import CallbackAudit, instead

if TYPE_CHECKING:
    from torch import nn

    from suite.loops.loop import Losses
    from suite.watch.audit import RunAudit


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


@contextmanager
def audited(trainer: Any, losses: Losses | None, **options: Any) -> Iterator[RunAudit]:
    """The audit of what a trainer trains meanwhile, with the batches that it computes its loss from.

    Args:
        trainer: a Trainer of transformers or TRL, made already; it is left as it was.
        losses: see `watch`, as for the options.
        **options: those that the trainer does not know itself.

    Raises:
        UsageError: It is no such trainer.
    """
    from suite.watch.watching import watch

    model = getattr(trainer, "model", None)
    if model is None or not hasattr(trainer, "compute_loss"):
        raise UsageError(
            f"audited: a {type(trainer).__name__} is no Trainer of transformers: it has no model or no "
            "compute_loss"
        )
    args, computed = trainer.args, trainer.compute_loss
    given = {"window": args.gradient_accumulation_steps, "max_norm": args.max_grad_norm or None}
    with watch(model, losses, **{**given, **options}) as audit:

        @wraps(computed)
        def compute_loss(model: Any, inputs: Any, *rest: Any, **more: Any) -> Any:
            if model.training:
                audit.microbatch(inputs)
            return computed(model, inputs, *rest, **more)

        events = _callback()(losses)
        events.audit = audit
        events.on_train_begin = events.on_train_end = _nothing
        trainer.add_callback(events)
        try:
            with instead(trainer, "compute_loss", compute_loss):
                yield audit
        finally:
            trainer.remove_callback(events)


def _nothing(*_: Any, **__: Any) -> None:
    """The audit begins and ends with `audited`."""


@cache
def _callback() -> type:
    from transformers import TrainerCallback

    return type("AuditCallback", (TrainerEvents, TrainerCallback), {"__doc__": __doc__})


def __getattr__(name: str) -> Any:
    if name == "AuditCallback":
        return _callback()
    raise AttributeError(f"module 'suite.watch.huggingface' has no attribute {name!r}")
