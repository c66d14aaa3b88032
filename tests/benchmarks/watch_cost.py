"""What `watch` costs between audited updates: `python -m tests.benchmarks.watch_cost`.

The same loop of updates is timed in turn with nobody looking and under a watch that audits one update in
1000. Process time of pairs that follow each other is compared; the audited updates themselves are left out,
as they cost what recovery costs.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
import tracemalloc

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import suite


def losses(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1], reduction="none")


class Run:
    """A loop of small updates."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-3)
        self.batch = torch.randn(32, 64), torch.randint(10, (32,))

    def updates(self, count: int) -> float:
        """The process time of so many updates."""
        start = time.process_time()
        for _ in range(count):
            F.cross_entropy(self.model(self.batch[0]), self.batch[1]).backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
        return time.process_time() - start


def main() -> None:
    """Print the median of the pairs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--updates", type=int, default=10_000, metavar="N")
    count = parser.parse_args().updates
    alone, watched = Run(), Run()
    alone.updates(200)
    pairs, every, piece = [], 1000, 100
    with suite.watch(watched.model, losses, every=every) as audit:
        for start in range(0, count, every):
            audit.microbatch(watched.batch)
            watched.updates(1)  # the audited one
            for _ in range(every // piece // 2 - 1):
                first = alone.updates(piece), watched.updates(piece)
                then = watched.updates(piece), alone.updates(piece)  # the other way round
                pairs += [first, then[::-1]]
            watched.updates(every - audit.seen + start)
        audit.microbatch(watched.batch)
        watched.updates(10)  # the next audited one, and what follows it
        gc.collect()
        tracemalloc.start()
        for _ in range(200):
            watched.updates(1)
        gc.collect()  # what a loop alone leaves for the collector is no memory that is held
        held, _ = tracemalloc.get_traced_memory()
    ratio = statistics.median(b / a for a, b in pairs) - 1
    total = sum(b for _, b in pairs) / sum(a for a, _ in pairs) - 1
    print(  # noqa: T201  it is run by hand
        f"{audit.seen} updates, {len(audit.updates)} audited; between them {ratio:+.2%} (median of "
        f"{len(pairs)} pairs of {piece} updates; {total:+.2%} in all), and {held} bytes more after 200 "
        "updates"
    )


if __name__ == "__main__":
    main()
