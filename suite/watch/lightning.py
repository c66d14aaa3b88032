"""The audit as a callback of Lightning: `Trainer(callbacks=[Audit(losses)])`.

Lightning gives its batches to callbacks, so the losses have them as the loader made them, and the model is
the LightningModule itself. Lightning is imported when `Audit` is first named.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from suite.watch.callbacks import CallbackAudit

if TYPE_CHECKING:
    from torch import nn

LIGHTNING = ("lightning.pytorch", "pytorch_lightning")


class LightningEvents(CallbackAudit):
    """What happens at the events of a Lightning Trainer."""

    def on_train_start(self, trainer: Any, pl_module: nn.Module) -> None:
        """The audit begins."""
        by_norm = str(trainer.gradient_clip_algorithm or "norm").endswith("norm")
        self.started(
            pl_module, trainer.accumulate_grad_batches, trainer.gradient_clip_val if by_norm else None
        )

    def on_train_batch_start(self, _: Any, __: nn.Module, batch: Any, *___: Any) -> None:
        """A micro-batch."""
        if self.audit is not None:
            self.audit.microbatch(batch)

    def on_train_epoch_end(self, *_: Any) -> None:
        """The last update was the last one of an epoch."""
        if self.audit is not None:
            self.audit.epoch_ended()

    def on_train_end(self, *_: Any) -> None:
        """The audit ends."""
        self.ended()

    def on_exception(self, *_: Any) -> None:
        """The audit ends with the training."""
        self.ended()


@cache
def _callback() -> type:
    package = next((name for name in LIGHTNING if find_spec(name.partition(".")[0])), LIGHTNING[1])
    return type("Audit", (LightningEvents, import_module(package).Callback), {"__doc__": __doc__})


def __getattr__(name: str) -> Any:
    if name == "Audit":
        return _callback()
    raise AttributeError(f"module 'suite.watch.lightning' has no attribute {name!r}")
