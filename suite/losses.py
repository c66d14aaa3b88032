"""Unreduced losses of the tasks that people train, for `suite.watch` and `suite.recover`.

Each is called as `losses(model, batch)` and gives `[samples]` or `[samples, parts]`. The batch is what the
model was called with, so it has the targets where the model takes them (`labels`); else it is a pair of
inputs and targets. A target of −100 is ignored, as `torch.nn.functional.cross_entropy` does.

Losses of your own are a function of the same form. If some of its entries are sums over several values, or
padding, give it an attribute `elements`, a function of the batch that counts them. An attribute
`max_elements` is the longest sequence that the configuration allows.
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


@dataclass(frozen=True)
class PolicyLosses:
    """The losses of a policy gradient over the tokens of completions, as TRL's trainers make their batches.

    The batch has `prompt_ids`, `prompt_mask`, `completion_ids`, `completion_mask` and `advantages`; where it
    has `old_per_token_logps`, the ratio to these is clipped as PPO does, else the ratio is 1 and its
    gradient that of the log-probability. `-min(r·A, clip(r, 1 − ε, 1 + ε)·A)` is the loss of a token.

    Args:
        epsilon: ε, below and above 1.
        temperature: by what scores are divided.
        max_elements: the longest completion that the configuration allows, where something is divided by it.
    """

    epsilon: tuple[float, float] = (0.2, 0.2)
    temperature: float = 1.0
    max_elements: int | None = None

    def __call__(self, model: nn.Module, batch: Any) -> Tensor:
        """`[samples, T]` the losses of the completions' tokens; 0 behind their ends.

        Raises:
            UsageError: The batch lacks something, or the model gives no scores.
        """
        missing = [name for name in POLICY_BATCH if not isinstance(batch, Mapping) or name not in batch]
        if missing:
            raise UsageError(
                f"the batch has no {missing[0]!r}, which losses.policy needs: hand over what the trainer's "
                "loss is computed from, as suite.watch.huggingface.audited(trainer, losses) does"
            )
        ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
        mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
        completion = batch["completion_ids"]
        scores = _scores(model(input_ids=ids, attention_mask=mask))[:, -completion.shape[1] - 1 : -1]
        if torch.finfo(scores.dtype).bits < 32:
            scores = scores.float()
        found = -F.cross_entropy(
            scores.transpose(1, 2) / self.temperature, completion.to(scores.device), reduction="none"
        )
        old = batch.get("old_per_token_logps")
        ratio = (found - (found.detach() if old is None else old.to(found))).exp()
        low, high = self.epsilon
        advantages = batch["advantages"].to(found).reshape(len(found), -1)
        gain = torch.minimum(ratio * advantages, ratio.clamp(1 - low, 1 + high) * advantages)
        return -gain * self.elements(batch).to(found)

    def elements(self, batch: Any) -> Tensor:
        """`[samples, T]` 1 for each token of a completion that counts."""
        counted: Tensor = batch["completion_mask"]
        return (counted * batch["tool_mask"] if "tool_mask" in batch else counted).double()


POLICY_BATCH = ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask", "advantages")
policy = PolicyLosses()
"""`[samples, T]` −advantage × log-probability of each token of a completion: the policy gradient of GRPO and
its kin where the policy is the one that sampled.

`PolicyLosses(epsilon=, temperature=, max_elements=)` makes others.
"""
