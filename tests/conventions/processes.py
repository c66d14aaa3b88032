"""Two real processes that train data-parallel: what `test_frameworks` spawns."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from tests.conventions.agreement import left_in, network, randn

WORLD = 2
STEPS = (([0, 1], [2, 3, 4, 5]), ([6, 7, 8], []))  # by step and rank: which samples


def data() -> tuple[Tensor, Tensor]:
    """The inputs and targets of all samples."""
    return randn(9, 4), randn(9, 3, seed=2)


def train(rank: int, folder: str) -> None:
    """Leave in `folder` the gradients that rank 0 holds: a plain step, then one after rank 1 ran out."""
    interfaces = [name for _, name in socket.if_nameindex()]
    os.environ["GLOO_SOCKET_IFNAME"] = next(name for name in ("lo", "lo0") if name in interfaces)
    torch.set_num_threads(1)
    store = (Path(folder) / "store").as_uri()
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=WORLD)
    try:
        found = {f"divided-{initial}": _steps(rank, initial=initial) for initial in (True, False)}
        with suppress(RuntimeError):  # in older versions gloo scatters nothing
            found["sharded"] = [_sharded_step(rank)]
        if rank == 0:
            torch.save(found, Path(folder) / "gradients.pt")
    finally:
        dist.destroy_process_group()


def _steps(rank: int, *, initial: bool) -> list[Tensor]:
    inputs, targets = data()
    model = DistributedDataParallel(network())
    gradients = []
    with model.join(divide_by_initial_world_size=initial):
        for rows in (step[rank] for step in STEPS if step[rank]):
            model.zero_grad()
            nn.functional.mse_loss(model(inputs[rows]), targets[rows]).backward()
            gradients.append(left_in(model.module))
    return gradients


def _sharded_step(rank: int) -> Tensor:
    inputs, targets = data()
    model = network()
    fully_shard(model, mesh=init_device_mesh("cpu", (WORLD,)))
    rows = STEPS[0][rank]
    nn.functional.mse_loss(model(inputs[rows]), targets[rows]).backward()
    return torch.cat([p.grad.full_tensor().flatten() for p in model.parameters()])
