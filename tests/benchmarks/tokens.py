"""What the weight of every token costs: `python -m tests.benchmarks.tokens [3m 14m 124m] [--threads N]`.

A step of a language model with tied embeddings, in micro-batches of two sequences, each the mean over its
own valid tokens; then three wrong ones. Times are multiples of the step that was timed just before; memory is
the process's peak up to the step, and what recovery adds to it.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import suite
from cases.models import Transformer

SEQUENCES, TOGETHER = 8, 2
FILLED = np.array([256, 200, 150, 256, 90, 30, 256, 120]) / 256
"""The share of each sequence that is no padding."""

Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Size:
    """Of a language model and its sequences."""

    width: int
    depth: int
    heads: int
    vocabulary: int
    length: int

    def model(self) -> nn.Module:
        torch.manual_seed(0)
        made = Transformer(self.vocabulary, self.length, self.width, self.heads, self.depth)
        made.head.weight = made.token.weight
        for parameter in made.parameters():
            if parameter.ndim > 1:
                nn.init.normal_(parameter, std=0.02)
        return made

    def batch(self) -> Pair:
        tokens = torch.randint(self.vocabulary, (SEQUENCES, self.length + 1))
        targets = tokens[:, 1:].clone()
        targets[~self.valid] = -100
        return tokens[:, :-1].contiguous(), targets

    @property
    def valid(self) -> Tensor:
        return torch.arange(self.length) < torch.as_tensor(FILLED * self.length).long()[:, None]


SIZES = {
    "3m": Size(192, 4, 6, 8192, 64),
    "14m": Size(384, 4, 6, 16384, 256),
    "124m": Size(768, 12, 12, 50257, 256),
}


def losses(model: nn.Module, batch: Pair) -> Tensor:
    return F.cross_entropy(model(batch[0]).transpose(1, 2), batch[1], reduction="none", ignore_index=-100)


def accumulated(weights: Tensor) -> Callable[[nn.Module, Pair], None]:
    """Micro-batches one after the other, their tokens weighted so."""

    def step(model: nn.Module, batch: Pair) -> None:
        for start in range(0, SEQUENCES, TOGETHER):
            rows = slice(start, start + TOGETHER)
            entries = losses(model, (batch[0][rows], batch[1][rows]))
            (entries * weights[rows]).sum().backward()

    return step


def weightings(valid: Tensor) -> dict[str, Tensor]:
    """By name, the weights of a right step and of wrong ones."""
    pairs = valid.float().unflatten(0, (-1, TOGETHER))
    right = (pairs / pairs.sum((1, 2), keepdim=True)).flatten(0, 1) / len(pairs)
    twice, lost, scaled = right.clone(), right.clone(), right.clone()
    twice[1] *= 2
    lost[3, 5] = 0
    scaled[SEQUENCES // 2 :] *= 0.5
    return {
        "mean of micro-batch means": right,
        "a sequence counted twice": twice,
        "a token lost": lost,
        "a rank scaled": scaled,
    }


def measure(size: Size, name: str, weights: Tensor) -> str:
    """One row: the step, the recovery against it, and how far off the weights are."""
    model, batch, valid = size.model(), size.batch(), size.valid
    step = accumulated(weights)
    ranks = np.arange(SEQUENCES) * 2 // SEQUENCES
    units = suite.Units.of(
        SEQUENCES,
        {"elements": valid.double().numpy(), "positions": 1, "microbatch": np.arange(SEQUENCES) // TOGETHER,
         "rank": ranks},
        parts=tuple(f"t{place}" for place in range(size.length)),
        window=SEQUENCES // TOGETHER,
    )  # fmt: skip
    ordinary = seconds(lambda: step(model, batch))
    model.zero_grad()
    before = peak()
    found: list[suite.Recovery] = []
    taken = seconds(lambda: found.append(suite.recover(step, model, batch, losses, units=units)))
    more = peak() - before
    (recovery,) = found
    told = np.nan_to_num(recovery.weights).reshape(valid.shape)
    worst = np.abs(told - weights.double().numpy()).max() / float(weights.max())
    parameters = sum(p.numel() for p in model.parameters())
    said = recovery.convention.name if recovery.convention and recovery.scale == 1 else "no convention"
    return (
        f"{parameters / 1e6:.1f} M, {int(valid.sum())} of {valid.numel()} tokens, {name}: "
        f"step {ordinary:.2f} s, recover {taken / ordinary:.1f} ×, "
        f"memory {before / 1e9:.2f} + {more / 1e9:.2f} GB, "
        f"worst weight {worst:.0e}, residual {recovery.residual:.0e}, "
        f"condition {recovery.condition:.0f}, {said}"
    )


def seconds(action: Callable[[], object]) -> float:
    # What one thread takes of a processor is the same beside others, on whom the time of the day depends.
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    start = clock()
    action()
    return clock() - start


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """As the module says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="*", default=list(SIZES), metavar="SIZE", help=", ".join(SIZES))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--right", action="store_true", help="without the wrong steps")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    first = weightings(SIZES["3m"].valid)["mean of micro-batch means"]
    measure(SIZES["3m"], "", first)  # whatever is imported or allocated once
    for size in (SIZES[name] for name in chosen.sizes):
        for name, weights in list(weightings(size.valid).items())[: 1 if chosen.right else None]:
            sys.stdout.write(measure(size, name, weights) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
