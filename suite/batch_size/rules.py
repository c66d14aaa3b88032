"""Rules for another batch size. None is exact: each is a heuristic, named and cited.

The conventions' laws change hyperparameters so that the steps stay the same. A larger batch takes
other, less noisy steps, and no hyperparameters give the old ones back; these rules say what people
do instead. All assume the mean over the batch; `κ` is the new batch size over the old one.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from suite.batch_size.noise import NoiseScale
from suite.errors import UsageError, shortened
from suite.registry import Registry

_Hyperparameters = dict[str, Any]
LARGEST_BATCH = 1e15
"""A batch size; a float counts no further."""


@dataclass(frozen=True)
class BatchSizeChange:
    """From which batch size to which.

    Args:
        old: the batch size that the hyperparameters are for.
        new: the batch size that they are wanted for.
        noise: the gradient noise scale, where a rule needs it.
    """

    old: float
    new: float
    noise: NoiseScale | None = None

    @property
    def ratio(self) -> float:
        """κ, the new batch size over the old one."""
        return self.new / self.old


@dataclass(frozen=True)
class Rule:
    """A named rule for another batch size.

    Args:
        name: as people type it.
        summary: one line.
        formula: what it does to the hyperparameters.
        source: who proposed it, and where.
        verified: how the formula was checked, in the words of the paper cards.
        optimizers: those that it was made for; empty for all that have a learning rate.
        needs_noise: whether it needs the gradient noise scale.
        heuristic: that it is no law; true of all of them.
        function: gives the new hyperparameters.
    """

    name: str
    summary: str
    formula: str
    source: str
    verified: str
    optimizers: tuple[str, ...]
    needs_noise: bool
    function: Callable[[_Hyperparameters, BatchSizeChange], _Hyperparameters]
    heuristic: bool = True

    def apply(
        self,
        optimizer: str,
        hyperparameters: Mapping[str, Any],
        batch_size: float,
        to_batch_size: float,
        *,
        noise: NoiseScale | None = None,
    ) -> _Hyperparameters:
        """The hyperparameters that the rule gives for `to_batch_size`.

        Args:
            optimizer: a class of `torch.optim`.
            hyperparameters: for `batch_size`, in torch's spelling; `lr` is needed.
            batch_size: the batch size that they are for.
            to_batch_size: the batch size that they are wanted for.
            noise: the gradient noise scale, where the rule needs it.

        Raises:
            UsageError: The rule does not apply: to this optimizer, to these numbers, or without noise.
        """
        for name, size in (("batch_size", batch_size), ("to_batch_size", to_batch_size)):
            if not 0 < size <= LARGEST_BATCH:
                raise UsageError(
                    f"{name} is {shortened(size)}; it must be positive, and {LARGEST_BATCH:.0g} at most"
                )
        if self.optimizers and optimizer not in self.optimizers:
            raise UsageError(
                f"the rule {self.name!r} is for {', '.join(self.optimizers)}, not for {optimizer}"
            )
        if "lr" not in hyperparameters:
            raise UsageError(f"the rule {self.name!r} scales lr: give it")
        if self.needs_noise and noise is None:
            raise UsageError(
                f"the rule {self.name!r} needs the gradient noise scale, measured from per-sample "
                "gradients; give it as a number of samples"
            )
        return self.function(dict(hyperparameters), BatchSizeChange(batch_size, to_batch_size, noise))

    def card(self) -> dict[str, Any]:
        """All that a person may want to know of it, for `gradsuite show`."""
        return {
            "rule": self.name,
            "summary": self.summary,
            "formula": self.formula,
            "for": ", ".join(self.optimizers) or "every optimizer with a learning rate",
            "source": self.source,
            "verified": self.verified,
            "exact": "no: a heuristic",
        }


rules: Registry[Rule] = Registry("batch-size rule")


def rule(
    *,
    formula: str,
    source: str,
    verified: str,
    optimizers: tuple[str, ...] = (),
    needs_noise: bool = False,
) -> Callable[[Callable[[_Hyperparameters, BatchSizeChange], _Hyperparameters]], Rule]:
    """Register the decorated function as a rule, named like it, its docstring the summary.

    Raises:
        UsageError: A rule of this name exists.
    """

    def register(function: Callable[[_Hyperparameters, BatchSizeChange], _Hyperparameters]) -> Rule:
        return rules.add(
            Rule(
                name=function.__name__.strip("_").replace("_", "-"),
                summary=inspect.cleandoc(function.__doc__ or "").partition("\n")[0],
                formula=formula,
                source=source,
                verified=verified,
                optimizers=optimizers,
                needs_noise=needs_noise,
                function=function,
            )
        )

    return register


@rule(formula="all as they were", source="the baseline of the others", verified="measured")
def unchanged(hyperparameters: _Hyperparameters, batches: BatchSizeChange) -> _Hyperparameters:  # noqa: ARG001  keeps all
    """Nothing changes."""
    return hyperparameters


@rule(
    formula="lr·κ",
    source="Goyal et al. 2017, arXiv 1706.02677, section 2.1 (for SGD, with warmup)",
    verified="paper read",
)
def linear(hyperparameters: _Hyperparameters, batches: BatchSizeChange) -> _Hyperparameters:
    """The learning rate grows as the batch."""
    return {**hyperparameters, "lr": hyperparameters["lr"] * batches.ratio}


@rule(
    formula="lr·√κ",
    source="Krizhevsky 2014, arXiv 1404.5997 (its theory); Hoffer et al. 2017, arXiv 1705.08741",
    verified="third party",
)
def square_root(hyperparameters: _Hyperparameters, batches: BatchSizeChange) -> _Hyperparameters:
    """The learning rate grows as the root of the batch, which keeps the variance of a step."""
    return {**hyperparameters, "lr": hyperparameters["lr"] * math.sqrt(batches.ratio)}


@rule(
    formula="lr·√κ, 1 − β → κ(1 − β) for both betas, eps/√κ",
    source="Malladi et al. 2022, arXiv 2205.10287 (Adam)",
    verified="third party",
    optimizers=("Adam", "AdamW"),
)
def adam_square_root(hyperparameters: _Hyperparameters, batches: BatchSizeChange) -> _Hyperparameters:
    """The root rule with Adam's memories shortened and its eps shrunk, from the limit as an SDE."""
    betas = hyperparameters.get("betas", (0.9, 0.999))
    scaled = tuple(_shorter(f"betas[{i}]", beta, batches.ratio) for i, beta in enumerate(betas))
    return _root(hyperparameters, batches) | {"betas": scaled}


@rule(
    formula="lr·√κ, 1 − α → κ(1 − α), eps/√κ",
    source="Malladi et al. 2022, arXiv 2205.10287 (RMSprop)",
    verified="not checked",
    optimizers=("RMSprop",),
)
def rmsprop_square_root(hyperparameters: _Hyperparameters, batches: BatchSizeChange) -> _Hyperparameters:
    """The root rule with RMSprop's memory shortened and its eps shrunk, from the limit as an SDE."""
    alpha = _shorter("alpha", hyperparameters.get("alpha", 0.99), batches.ratio)
    return _root(hyperparameters, batches) | {"alpha": alpha}


@rule(
    formula="lr·(1 + B_simple/B)/(1 + B_simple/B'), from ε_opt(B) = ε_max/(1 + B_simple/B)",
    source="McCandlish et al. 2018, arXiv 1812.06162 (for SGD)",
    verified="third party",
    needs_noise=True,
)
def _noise_scale(hyperparameters: _Hyperparameters, batches: BatchSizeChange) -> _Hyperparameters:
    """Linear far below the gradient noise scale, constant far above it."""
    noise = batches.noise
    if noise is None or not math.isfinite(noise.simple):  # linear is its limit for infinite noise
        return {**hyperparameters, "lr": hyperparameters["lr"] * batches.ratio}
    ratio = noise.rate(batches.new) / noise.rate(batches.old)
    return {**hyperparameters, "lr": hyperparameters["lr"] * ratio}


def _root(hyperparameters: _Hyperparameters, batches: BatchSizeChange) -> _Hyperparameters:
    root = math.sqrt(batches.ratio)
    eps = hyperparameters.get("eps", 1e-8) / root
    return {**hyperparameters, "lr": hyperparameters["lr"] * root, "eps": eps}


def _shorter(name: str, decay: float, ratio: float) -> float:
    """`1 − κ(1 − decay)`, the decay rate that forgets κ times as fast."""
    if ratio * (1 - decay) >= 1:
        limit = 1 / (1 - decay)
        raise UsageError(
            f"κ = {ratio:g} is too large for {name} = {decay:g}: κ(1 − {decay:g}) must stay below 1, "
            f"so the batch can grow less than {limit:.4g} times"
        )
    return 1 - ratio * (1 - decay)
