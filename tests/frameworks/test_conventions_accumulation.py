"""The windows of Accelerate, PyTorch Lightning and the Hugging Face Trainer, run, against the conventions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from tests.conventions.agreement import ROUNDING, by_convention, distance, left_in, network, randn

WINDOW = 3
INPUTS, TARGETS = randn(9, 4), randn(9, 3, seed=2)  # micro-batches of 2: three, then one of 2 and one of 1
FULL, PARTIAL = slice(0, 6), slice(6, 9)
PRESENT = torch.arange(5) < torch.tensor([5, 1, 3, 2])[:, None]  # [sequences, positions]


def squared_errors(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return (model(batch[0]) - batch[1]).square().sum(1)


def batches() -> DataLoader[tuple[Tensor, ...]]:
    return DataLoader(TensorDataset(INPUTS, TARGETS), batch_size=2)


def window(convention: str, rows: slice) -> Tensor:
    """What the convention says of the window that holds these samples."""
    microbatch = np.arange(rows.stop - rows.start) // 2
    batch = (INPUTS[rows], TARGETS[rows])
    columns = {"microbatch": microbatch}
    return by_convention(convention, network(), batch, squared_errors, columns, window=WINDOW)


def agree(windows: list[Tensor], word: str) -> None:
    """A full window is the mean of its means; a partial one is divided by the full K."""
    full, partial = windows
    assert distance(full, window(word, FULL)) < ROUNDING
    assert distance(partial, window(word, PARTIAL)) < ROUNDING
    assert distance(full, window("mean-of-microbatch-means", FULL)) < ROUNDING
    assert distance(partial, window("partial-window-over-full-k", PARTIAL)) < ROUNDING
    assert distance(partial, window("mean-of-microbatch-means", PARTIAL)) > 0.1


def test_accelerate_divides_the_last_partial_window_by_the_full_k():
    accelerate = pytest.importorskip(
        "accelerate", reason="Accelerate is not installed: the tox environment `frameworks` has it"
    )
    accelerator = accelerate.Accelerator(gradient_accumulation_steps=WINDOW, cpu=True)
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    model, optimizer, loader = accelerator.prepare(model, optimizer, batches())
    windows = []
    for batch in loader:
        with accelerator.accumulate(model):
            accelerator.backward(squared_errors(model, batch).mean())
            if accelerator.sync_gradients:
                windows.append(left_in(model))
            optimizer.step()
            optimizer.zero_grad()
    agree(windows, "accelerate:accumulate")


# Lightning asks torch's pytrees in a way that torch deprecates.
@pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning")
def test_lightning_divides_the_last_partial_window_by_the_full_k(tmp_path: Path):
    lightning = pytest.importorskip(
        "pytorch_lightning", reason="Lightning is not installed: the tox environment `frameworks` has it"
    )
    windows: list[Tensor] = []

    class Module(lightning.LightningModule):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.network = network()

        def training_step(self, batch, index):
            return squared_errors(self.network, batch).mean()

        def on_before_optimizer_step(self, optimizer):
            windows.append(left_in(self))

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.0)

    trainer = lightning.Trainer(
        max_epochs=1, accumulate_grad_batches=WINDOW, accelerator="cpu", logger=False, barebones=True,
        default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(Module(), batches())
    agree(windows, "lightning:accumulate_grad_batches")


@pytest.mark.parametrize("takes_counts", [True, False])
def test_the_hugging_face_trainer_counts_the_tokens_of_the_window_if_the_model_lets_it(
    tmp_path: Path, takes_counts: bool
):
    transformers = pytest.importorskip(
        "transformers", reason="Transformers is not installed: the tox environment `frameworks` has it"
    )
    loss_utils = pytest.importorskip("transformers.loss.loss_utils")
    targets = torch.randint(0, 3, PRESENT.shape, generator=torch.Generator().manual_seed(0))
    batch = (randn(*PRESENT.shape, 4), targets.where(PRESENT, -100))
    windows: list[Tensor] = []

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network()

        def forward(self, inputs, labels, **loss_settings):
            scores = self.network(inputs).flatten(0, 1)
            return {"loss": loss_utils.fixed_cross_entropy(scores, labels.flatten(), **loss_settings)}

    class OfOldTimes(Model):
        def forward(self, inputs, labels):
            return super().forward(inputs, labels)

    class Watch(transformers.TrainerCallback):  # type: ignore[misc,name-defined]
        def on_pre_optimizer_step(self, arguments, state, control, model, **rest):
            windows.append(left_in(model))

    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path), per_device_train_batch_size=1, gradient_accumulation_steps=4,
        num_train_epochs=1, learning_rate=0.0, max_grad_norm=0.0, optim="sgd", use_cpu=True, report_to=[],
        save_strategy="no", disable_tqdm=True,
    )  # fmt: skip
    rows = [{"inputs": inputs, "labels": labels} for inputs, labels in zip(*batch, strict=True)]
    transformers.Trainer(
        Model() if takes_counts else OfOldTimes(), arguments, train_dataset=rows, callbacks=[Watch()]
    ).train()

    def losses(model, batch):
        return functional.cross_entropy(model(batch[0]).transpose(1, 2), batch[1], reduction="none").sum(1)

    columns = {"elements": PRESENT.sum(1), "positions": PRESENT.shape[1], "microbatch": range(4)}
    (framework,) = windows
    names = ["trainer:num_items_in_batch", "trainer:mean-of-means"]
    said, other = names if takes_counts else names[::-1]
    assert distance(framework, by_convention(said, network(), batch, losses, columns, window=4)) < ROUNDING
    assert distance(framework, by_convention(other, network(), batch, losses, columns, window=4)) > 0.1
