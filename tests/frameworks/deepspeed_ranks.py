"""DeepSpeed's engine on two ranks, each a process: what `test_deepspeed_run` spawns."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn

from tests.conventions.agreement import left_in, network, randn

RANKS = 2
CELLS = (([0, 1], [2]), ([3], [4, 5]))
"""By rank and micro-batch: which samples."""
NO_CLIP = {"gradient_clipping": 0.0}
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "deepspeed:mean": {},
    "deepspeed:gradient_predivide_factor": {"gradient_predivide_factor": 4.0},
    "deepspeed:prescale_gradients": {"prescale_gradients": True},
    "deepspeed:sum": {"gradient_allreduce_op": "sum"},
    "clipped by default": {"gradient_allreduce_op": "sum", "gradient_clipping": None},
}


def data() -> tuple[Tensor, Tensor]:
    """The inputs and targets of all samples."""
    return randn(6, 4), randn(6, 3, seed=2)


def train(rank: int, folder: str, port: int) -> None:
    """Leave in a file the gradient that the optimizer gets, in float32: DeepSpeed reduces no float64."""
    os.environ |= {
        "DS_ACCELERATOR": "cpu",
        "GLOO_SOCKET_IFNAME": "lo",
        "LOCAL_RANK": str(rank),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "RANK": str(rank),
        "WORLD_SIZE": str(RANKS),
    }
    import deepspeed

    # It would compile an operator for shared memory, which gloo does without.
    sys.modules["deepspeed.comm.torch"].build_shm_op = lambda: None
    distributed.init_process_group("gloo", rank=rank, world_size=RANKS)
    deepspeed.init_distributed("gloo", dist_init_required=False, auto_mpi_discovery=False)
    found = {}
    for name, settings in CONFIGURATIONS.items():
        model = network().float()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

        def step(*_: object, name: str = name, model: nn.Module = model, **__: object) -> None:
            found[name] = left_in(model).double()

        optimizer.step = step
        sizes = {"train_micro_batch_size_per_gpu": 1, "gradient_accumulation_steps": len(CELLS[rank])}
        config = {k: v for k, v in (sizes | NO_CLIP | settings).items() if v is not None}
        engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=config)
        for rows in CELLS[rank]:
            inputs, targets = (tensor[rows].float() for tensor in data())
            engine.backward(nn.functional.mse_loss(engine(inputs), targets))
            engine.step()
    if rank == 0:
        torch.save(found, Path(folder) / "gradients.pt")
    distributed.destroy_process_group()
