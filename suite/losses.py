"""Unreduced losses of the tasks that people train, for `suite.watch` and `suite.recover`.

Each is called as `losses(model, batch)` and gives `[samples]` or `[samples, parts]`. The batch is what the
model was called with, so it has the targets where the model takes them (`labels`); else it is a pair of
inputs and targets. A target of −100 is ignored, as `torch.nn.functional.cross_entropy` does.

Losses of your own are a function of the same form. If some of its entries are sums over several values, or
padding, give it an attribute `elements`, a function of the batch that counts them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  as it is called everywhere
from torch import Tensor, nn

from suite.errors import UsageError

IGNORED = -100
LABELLED = ("labels", "label", "targets", "target")
Compared = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class TaskLosses:
    """The unreduced losses of a task.

    Args:
        name: of the task.
        compared: `[samples]` or `[samples, parts]` the losses, from scores and targets.
        counted: in the same shape, how many targets each loss sums over; 0 where they are ignored.
        targets_in: whether the model is called with the targets: some make their inputs of them.
    """

    name: str
    compared: Compared
    counted: Callable[[Tensor], Tensor]
    targets_in: bool = False

    def __call__(self, model: nn.Module, batch: Any) -> Tensor:
        """`[samples]` or `[samples, parts]` the losses.

        Raises:
            UsageError: The batch has no targets, or the model gives no scores.
        """
        inputs, targets = self._split(batch)
        if isinstance(inputs, Mapping):
            given = dict(batch) if self.targets_in else dict(inputs)
            scores = _scores(model(**given))
        else:
            scores = _scores(model(*inputs))
        if torch.finfo(scores.dtype).bits < 32:
            scores = scores.float()
        return self.compared(scores, targets.to(scores.device))

    def elements(self, batch: Any) -> Tensor:
        """How many targets each loss sums over, in the shape of the losses."""
        return self.counted(self._split(batch)[1])

    def _split(self, batch: Any) -> tuple[Any, Tensor]:
        if isinstance(batch, Mapping):
            name = next((key for key in LABELLED if key in batch), None)
            if name is not None:
                return {key: value for key, value in batch.items() if key != name}, batch[name]
            found = f"a mapping of {', '.join(map(repr, batch))}"
        elif isinstance(batch, list | tuple) and len(batch) > 1:
            return batch[:-1], batch[-1]
        else:
            found = f"a {type(batch).__name__} alone"
        raise UsageError(
            f"the batch has no targets for losses.{self.name}: it is {found}, a mapping with 'labels' or a "
            "pair of inputs and targets is needed; under watch, `for batch in audit.see(loader):` hands "
            "them over"
        )


def _scores(output: Any) -> Tensor:
    """The scores of a model, which may give them in a container."""
    if isinstance(output, Mapping) and "logits" in output:
        output = output["logits"]
    elif hasattr(output, "logits"):
        output = output.logits
    elif isinstance(output, list | tuple) and output:
        output = output[0]
    if isinstance(output, Tensor) and output.is_floating_point():
        return output
    raise UsageError(
        f"the model gave a {type(output).__name__}: a tensor of scores, or an output with `logits`, is needed"
    )


def _tokens(scores: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(scores.transpose(1, 2), targets, reduction="none", ignore_index=IGNORED)


def _next_tokens(scores: Tensor, targets: Tensor) -> Tensor:
    return _tokens(scores[:, : targets.shape[1]][:, :-1], targets[:, 1:])


def _classes(scores: Tensor, targets: Tensor) -> Tensor:
    if targets.is_floating_point() and targets.shape == scores.shape:  # several classes may be right
        return F.binary_cross_entropy_with_logits(scores, targets, reduction="none").flatten(1).sum(1)
    found = F.cross_entropy(scores, targets, reduction="none", ignore_index=IGNORED)
    return found.flatten(1).sum(1) if found.ndim > 1 else found


def _squares(scores: Tensor, targets: Tensor) -> Tensor:
    targets = targets.to(scores)
    return (scores.reshape(targets.shape) - targets).square().reshape(len(targets), -1).sum(1)


def _valid(targets: Tensor) -> Tensor:
    return (targets != IGNORED).double()


def _per_sample(targets: Tensor) -> Tensor:
    return _valid(targets).reshape(len(targets), -1).sum(1)


causal_lm = TaskLosses("causal_lm", _next_tokens, lambda targets: _valid(targets[:, 1:]))
"""`[samples, T − 1]` cross-entropy of each next token: the targets are shifted here, as Hugging Face's
models do.

Where targets are shifted already, use `masked_lm`.
"""

masked_lm = TaskLosses("masked_lm", _tokens, _valid)
"""`[samples, T]` cross-entropy of each token at its own position."""

seq2seq = TaskLosses("seq2seq", _tokens, _valid, targets_in=True)
"""`[samples, T]` cross-entropy of each token of the target sequence; the model makes its decoder's inputs of
it."""

classification = TaskLosses("classification", _classes, _per_sample)
"""`[samples]` cross-entropy, summed over the positions of a sample that has several (segmentation).

Targets of floating-point numbers in the shape of the scores are those of several classes at once: binary
cross-entropy, summed over the classes.
"""

regression = TaskLosses("regression", _squares, _per_sample)
"""`[samples]` squared errors, summed over the values of a sample."""
