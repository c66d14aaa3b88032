"""DeepSpeed's engine, run: two ranks, each with two micro-batches of other sizes."""

from __future__ import annotations

import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.conventions.agreement import by_convention, distance, network
from tests.frameworks import deepspeed_ranks
from tests.frameworks.alone import package_or_skip

SINGLE = 16 * torch.finfo(torch.float32).eps
"""What a few sums in float32 leave."""


def losses(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """`[samples]` summed over the outputs."""
    return (model(batch[0]) - batch[1]).square().sum(1)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    package_or_skip("deepspeed")
    folder = tmp_path_factory.mktemp("deepspeed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(deepspeed_ranks.train, args=(str(folder), port), nprocs=deepspeed_ranks.RANKS)
    return torch.load(Path(folder) / "gradients.pt")


@pytest.mark.filterwarnings("ignore")  # of what a GPU would bring
@pytest.mark.parametrize(
    "word",
    [
        "deepspeed:mean",
        "deepspeed:gradient_predivide_factor",
        "deepspeed:prescale_gradients",
        "deepspeed:sum",
    ],
)
def test_the_engine_leaves_the_gradient_that_the_word_says(word: str, found: dict[str, Tensor]) -> None:
    cells = [
        (r, k) for r, each in enumerate(deepspeed_ranks.CELLS) for k, rows in enumerate(each) for _ in rows
    ]
    rank, microbatch = map(np.array, zip(*cells, strict=True))
    columns = {"elements": 3, "rank": rank, "microbatch": microbatch}
    expected = by_convention(word, network(), deepspeed_ranks.data(), losses, columns, window=2, world_size=2)
    assert distance(found[word], expected) < SINGLE


def test_the_engine_clips_at_1_unless_it_is_told_not_to(found: dict[str, Tensor]) -> None:
    whole, clipped = found["deepspeed:sum"], found["clipped by default"]
    assert whole.norm() > 1.5
    assert distance(clipped, whole / whole.norm()) < SINGLE
