"""The page of examples: the blocks of frameworks are run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.frameworks import test_watch_keras as of_keras
from tests.frameworks.test_watch import K, llama, pytestmark, rows
from tests.frameworks.test_watch_trl import grpo_trainer, sft_trainer
from tests.watch.test_pages import done, run_of

__all__ = ["pytestmark"]


def test_accelerate_in_bf16(capsys) -> None:
    accelerate = pytest.importorskip("accelerate")
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    done("Accelerate, in bf16", **run_of(8, 6))
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    assert "bfloat16 under autocast" in capsys.readouterr().out


def test_the_trainer_with_lora_and_checkpointing(tmp_path) -> None:
    transformers, peft = pytest.importorskip("transformers"), pytest.importorskip("peft")
    config = peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path), per_device_train_batch_size=1, gradient_accumulation_steps=K, max_steps=2,
        gradient_checkpointing=True, use_cpu=True, report_to=[], save_strategy="no", logging_strategy="no",
        disable_tqdm=True,
    )  # fmt: skip
    trainer = transformers.Trainer(peft.get_peft_model(llama(), config), arguments, train_dataset=rows())
    audit = done("The Hugging Face Trainer, with LoRA and checkpointing", trainer=trainer)["audit"]
    assert len(audit.updates) == 2


def test_the_trainers_of_trl(tmp_path) -> None:
    pytest.importorskip("trl")
    done("TRL's SFT trainer", trainer=sft_trainer(tmp_path, llama(), []))
    audit = done("TRL's GRPO trainer", trainer=grpo_trainer(tmp_path, "dapo"))["audit"]
    assert len(audit.updates) == 2


def lightning(folder: Path) -> dict[str, Any]:
    pl = pytest.importorskip("pytorch_lightning")

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.inside = run_of(3)["model"]

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inside(x)

        def training_step(self, batch: Any, _: int) -> torch.Tensor:
            return torch.nn.functional.cross_entropy(self(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    trainer = pl.Trainer(
        max_epochs=1, accumulate_grad_batches=2, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder,
    )  # fmt: skip
    loader = torch.utils.data.DataLoader(run_of(3, 2, 4, 1)["loader"], batch_size=None)
    return {"trainer": trainer, "model": Module(), "loader": loader}


def test_lightning(tmp_path, capsys) -> None:
    done("Lightning", **lightning(tmp_path))
    assert "mean-of-microbatch-means" in capsys.readouterr().out


def test_keras(capsys) -> None:
    package = of_keras.keras()
    inputs = package.Input((6,))
    model = package.Model(inputs, package.layers.Dense(3)(inputs))
    model.compile(optimizer="sgd", loss=package.losses.SparseCategoricalCrossentropy(from_logits=True))
    draw = np.random.default_rng(0)
    done("Keras on torch", model=model, x=draw.normal(size=(6, 6)), y=draw.integers(0, 3, 6))
    assert "the weights are those of mean" in capsys.readouterr().out
