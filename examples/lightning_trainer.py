"""PyTorch Lightning's `accumulate_grad_batches`: a full window, and the last window of an epoch."""

from __future__ import annotations

import logging

import numpy as np
import pytorch_lightning as lightning
import torch
from recipe import Pair, Row, digits, losses, network, show
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import gradsuite

SIZE, K = 2, 4
SOURCE = (
    "ClosureResult.from_training_step_output, which divides by accumulate_grad_batches "
    "(pytorch_lightning/loops/optimization/automatic.py)"
)


class Module(lightning.LightningModule):
    """The network with its mean loss."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def training_step(self, batch: Pair, _index: int) -> Tensor:
        """The mean over the micro-batch."""
        return losses(self.network, batch).mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Any: recovery sees what it finds in `.grad`."""
        return torch.optim.SGD(self.parameters(), lr=0.1)


def step(model: nn.Module, batch: Pair) -> None:
    """An epoch over the batch, which is one window, full or not, and so one update."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    trainer = lightning.Trainer(accelerator="cpu", max_epochs=1, accumulate_grad_batches=K, barebones=True)
    trainer.fit(Module(model), DataLoader(TensorDataset(*batch), batch_size=SIZE))


def row(samples: int, done: str, convention: str) -> Row:
    """The step on so many samples, in micro-batches of two."""
    microbatch = np.arange(samples) // SIZE
    units = gradsuite.Units.of(samples, {"microbatch": microbatch}, window=K)
    weights = 1 / np.bincount(microbatch)[microbatch] / K
    found = gradsuite.recover(step, network(), digits(samples), losses, units=units)
    return Row("pytorch-lightning", done, SOURCE, weights, convention, found)


def recipe() -> list[Row]:
    """Seven samples fill the window, the last micro-batch holding one; six leave it unfilled."""
    return [
        row(7, "`accumulate_grad_batches=4`: a full window of 2+2+2+1", "mean-of-microbatch-means"),
        row(6, "the last window of an epoch: 2+2+2", "partial-window-over-full-k"),
    ]


if __name__ == "__main__":
    show(recipe())
