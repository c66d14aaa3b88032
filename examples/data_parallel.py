"""DistributedDataParallel with two real processes, whose batches are of unequal size."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from time import monotonic

import numpy as np
import torch
import torch.distributed as dist
from recipe import Pair, Row, digits, losses, network, show
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

import gradsuite

SIZES = (2, 5)  # samples, by rank
WORLD, SAMPLES, SECONDS = len(SIZES), sum(SIZES), 120
SOURCE = "the notes of DistributedDataParallel: ranks are averaged (torch/nn/parallel/distributed.py)"

Reduction = Callable[[Tensor], Tensor]


def mean(entries: Tensor) -> Tensor:
    """The mean over the samples of the rank."""
    return entries.mean()


def total(entries: Tensor) -> Tensor:
    """The sum over the samples of the rank."""
    return entries.sum()


def exact(entries: Tensor) -> Tensor:
    """The sum over the count of all ranks, times the number of ranks that DDP divides by."""
    count = torch.tensor(len(entries))
    dist.all_reduce(count)
    return entries.sum() * dist.get_world_size() / count


def train(rank: int, folder: str, model: nn.Module, batch: Pair, reduction: Reduction) -> None:
    """What each process runs; the first leaves its gradient in `folder`."""
    names = [name for _, name in socket.if_nameindex()]
    os.environ["GLOO_SOCKET_IFNAME"] = next(name for name in ("lo", "lo0") if name in names)
    torch.set_num_threads(1)
    store, limit = (Path(folder) / "store").as_uri(), timedelta(seconds=SECONDS)
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=WORLD, timeout=limit)
    try:
        parallel = DistributedDataParallel(model)
        mine = tuple(part.split(SIZES)[rank] for part in batch)
        reduction(losses(parallel, mine)).backward()
        if rank == 0:
            torch.save([p.grad for p in model.parameters()], Path(folder) / "gradient.pt")
    finally:
        dist.destroy_process_group()


def step(model: nn.Module, batch: Pair, reduction: Reduction = mean) -> list[Tensor]:
    """The gradient of a backward pass in both processes, which meet in a file and need no port."""
    with tempfile.TemporaryDirectory() as folder:
        given = (folder, model, batch, reduction)
        ranks = torch.multiprocessing.spawn(train, args=given, nprocs=WORLD, join=False)
        end = monotonic() + SECONDS
        try:
            while not ranks.join(timeout=max(0.0, end - monotonic())):
                if monotonic() > end:
                    raise TimeoutError(f"the ranks did not finish within {SECONDS} s")
        finally:
            for process in ranks.processes:
                process.kill()
        return torch.load(Path(folder) / "gradient.pt")


def recipe() -> list[Row]:
    """Two samples on the first rank, five on the second."""
    rank = np.repeat(range(WORLD), SIZES)
    units = gradsuite.Units.of(SAMPLES, {"rank": rank}, world_size=WORLD)

    def row(reduction: Reduction, done: str, weights: object, convention: str) -> Row:
        found = gradsuite.recover(
            lambda model, batch: step(model, batch, reduction),
            network(),
            digits(SAMPLES),
            losses,
            units=units,
        )
        weights = np.broadcast_to(weights, SAMPLES)
        return Row("torch", f"DDP, 2 + 5 samples: {done}", SOURCE, weights, convention, found)

    return [
        row(mean, "each rank's mean", 1 / np.array(SIZES)[rank] / WORLD, "mean-of-rank-means"),
        row(total, "each rank's sum", 1 / WORLD, "half-sum"),
        row(exact, "sum × ranks / samples of all ranks", 1 / SAMPLES, "global-count"),
    ]


if __name__ == "__main__":
    show(recipe())
