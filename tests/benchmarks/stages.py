"""Where the time of a call goes: `python -m tests.benchmarks.stages [FAMILY ...]`.

Each stage of the streaming engine through `suite.per_sample_gradients`, with 12 conventions of rank 12 made
of it, and of `suite.recover`, in multiples of one forward and backward pass: medians over rounds, each beside
a pass of its own.
"""

from __future__ import annotations

import importlib
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
from tabulate import tabulate
from torch import nn

import suite
from tests.benchmarks.families import FAMILIES, Family, Pair
from tests.benchmarks.test_engines import sweep

ROUNDS = 15

Stages = dict[str, tuple[str, str]]
"""By name, the module of a function and its path there."""

GRADIENTS: Stages = {
    "forward pass": ("suite.engines.one_pass", "OnePass.__call__"),
    "backward pass to the layers' outputs": ("suite.engines.streaming.compute", "_backward"),
    "gradients of norms and biases": ("suite.engines.streaming.compute", "_layer_gradients"),
    "the check's backward pass": ("suite.engines.weighted_vjp", "WeightedVJP.of"),
    "the check in all": ("suite.engines.per_sample_gradients", "check_gradients"),
    "a model that shares its numbers": ("suite.engines.per_sample_gradients", "sharing"),
    "per_sample_gradients in all": ("suite", "per_sample_gradients"),
    "Gram matrix": ("suite.engines.per_sample_gradients", "Checked.gram"),
    "12 conventions": ("suite.engines.per_sample_gradients", "Checked.reduce"),
}
"""The check forms what the Gram matrix and the conventions read again."""

RECOVERY: Stages = {
    "what the step reaches is copied": ("suite.recovery.surroundings", "Surroundings.__init__"),
    "and held against the copy, three times": ("suite.recovery.surroundings", "Surroundings.put_back"),
    "the step, its gradient copied": ("suite.recovery.step", "left_by"),
    "the losses, read twice": ("suite.recovery.losses", "Reading.__call__"),
    "that reading and passes to the layers solved on": ("suite.recovery.planner", "first_rows"),
    "solving": ("suite.recovery.planner", "solved"),
    "the proof": ("suite.recovery.planner", "proof"),
    "the formula": ("suite.recovery.recovery", "recovery"),
    "recover in all": ("suite", "recover"),
}
"""One stage may be part of another."""


@contextmanager
def timed(stages: Stages, seconds: dict[str, float]) -> Iterator[None]:
    """Add up the seconds of every stage while the context is open."""
    with ExitStack() as stack:
        for stage, (module, path) in stages.items():
            owner: Any = importlib.import_module(module)
            *outer, name = path.split(".")
            for part in outer:
                owner = getattr(owner, part)
            stack.enter_context(mock.patch.object(owner, name, _timing(getattr(owner, name), stage, seconds)))
        yield


def _timing(function: Callable[..., Any], stage: str, seconds: dict[str, float]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            seconds[stage] += time.perf_counter() - start

    return call


def shares(family: Family, stages: Stages) -> dict[str, float]:
    """By stage, the multiple of one forward and backward pass."""
    torch.manual_seed(0)
    model, batch = family.model(), family.batch(family.units)

    def step(model: nn.Module, batch: Pair) -> None:
        family.losses(model, batch).mean().backward()

    found: dict[str, list[float]] = defaultdict(list)
    for round_ in range(ROUNDS + 2):
        start = time.perf_counter()
        model.zero_grad()
        step(model, batch)
        ordinary = time.perf_counter() - start
        seconds: dict[str, float] = defaultdict(float)
        with timed(stages, seconds):
            if stages is RECOVERY:
                suite.recover(step, model, batch, family.losses, engine="streaming")
            else:
                gradients = suite.per_sample_gradients(model, batch, family.losses, engine="streaming")
                gradients.reduce(sweep(gradients.gram()))
                del gradients
        if round_ >= 2:  # the first rounds touch the memory that the others use again
            for stage in stages:
                found[stage].append(seconds[stage] / ordinary)
    return {stage: statistics.median(each) for stage, each in found.items()}


def main() -> None:
    """Print the tables."""
    chosen = [family for family in FAMILIES if family.name in sys.argv[1:] or len(sys.argv) == 1]
    for stages in (GRADIENTS, RECOVERY):
        columns = [shares(family, stages) for family in chosen]
        table = [[stage, *(f"{column[stage]:.2f}" for column in columns)] for stage in stages]
        head = [f"{torch.get_num_threads()} threads", *(family.name for family in chosen)]
        sys.stdout.write(tabulate(table, head, tablefmt="github") + "\n\n")


if __name__ == "__main__":
    main()
