"""Frameworks' own training, unmodified, under watch: each update is what its source says."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import suite
from tests.watch.runs import batches, losses, network

os.environ.setdefault("HF_HUB_OFFLINE", "1")
LENGTHS = (20, 5, 16, 9, 11, 24, 12, 3, 17, 22)
K = 4

pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings(
        "ignore:.*(num_workers|GPU|TPU|logger|logging|pin_memory|lr_scheduler).*:UserWarning"
    ),
]


def rows() -> list[dict[str, Tensor]]:
    """Lines of unequal length, padded to one."""
    draw = torch.Generator().manual_seed(0)
    found = []
    for length in LENGTHS:
        ids = torch.randint(1, 64, (length,), generator=draw)
        found.append(
            {
                "input_ids": F.pad(ids, (0, 24 - length)),
                "attention_mask": F.pad(torch.ones_like(ids), (0, 24 - length)),
                "labels": F.pad(ids, (0, 24 - length), value=-100),
            }
        )
    return found


def llama(*, averages: bool = False, dropout: float = 0.0, words: int = 64) -> Any:
    transformers = pytest.importorskip("transformers")
    kind = type("Averaging", (transformers.LlamaForCausalLM,), {"accepts_loss_kwargs": False})
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.LlamaConfig(
        vocab_size=words, attention_dropout=dropout, loss_type="ForCausalLM", eos_token_id=1, pad_token_id=0,
        bos_token_id=None, **sizes,
    )  # fmt: skip
    return (kind if averages else transformers.LlamaForCausalLM)(config)


def trained(model: Any, folder: Path, callbacks: list[Any], **more: Any) -> None:
    from transformers import PrinterCallback, Trainer, TrainingArguments

    arguments = TrainingArguments(
        output_dir=str(folder), per_device_train_batch_size=1, gradient_accumulation_steps=K,
        num_train_epochs=1, use_cpu=True, report_to=[], save_strategy="no", logging_strategy="no",
        disable_tqdm=True, **more,
    )  # fmt: skip
    trainer = Trainer(model, arguments, train_dataset=rows(), callbacks=callbacks)
    trainer.remove_callback(PrinterCallback)
    trainer.train()


def audited(model: Any, folder: Path, **more: Any) -> suite.watch.RunAudit:
    callback = suite.watch.huggingface.AuditCallback(suite.losses.causal_lm)
    trained(model, folder, [callback], **more)
    assert callback.audit is not None
    assert not callback.audit.failures
    assert not callback.audit.running
    return callback.audit


def test_the_trainer_divides_by_the_tokens_of_the_window_and_clips(tmp_path) -> None:
    audit = audited(llama(), tmp_path, max_grad_norm=0.1)
    assert [update.number for update in audit.updates] == [0, 1, 2]
    audit.assert_convention("token-mean")
    assert all(update.norm == pytest.approx(0.1, rel=1e-4) for update in audit.updates)
    assert audit.updates[2].partial
    assert audit.updates[2].last
    assert "the last window of the epoch, 2 of 4 micro-batches" in audit.updates[2].line


def test_models_that_average_are_averaged_over_the_micro_batches_that_there_are(tmp_path) -> None:
    audit = audited(llama(averages=True), tmp_path, max_grad_norm=0.0)
    for update in audit.updates:
        assert update.computes("mean-of-microbatch-means")
        valid = update.units.elements == 1
        count = np.bincount(update.units.sample[valid])[update.units.sample[valid]]
        np.testing.assert_allclose(update.weights[valid], 1 / (update.microbatches * count), rtol=2e-4)


def test_checkpointing_and_dropout_change_nothing_in_what_is_told(tmp_path) -> None:
    audit = audited(llama(dropout=0.1), tmp_path, max_grad_norm=0.0, gradient_checkpointing=True)
    audit.assert_convention("token-mean")
    assert {update.engine for update in audit.updates} == {"loop, in train mode"}


def test_low_rank_adapters_are_audited_at_their_own_parameters(tmp_path) -> None:
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(
        r=4, target_modules=["q_proj", "v_proj"], lora_dropout=0.1, task_type="CAUSAL_LM"
    )
    audit = audited(peft.get_peft_model(llama(), config), tmp_path, max_grad_norm=0.0)
    assert audit.updates[0].linear
    assert all("token-mean" in update.names for update in audit.updates)


def test_the_trainer_ends_in_the_same_bits(tmp_path) -> None:
    pytest.importorskip("transformers")
    left = []
    for callbacks in ([], [suite.watch.huggingface.AuditCallback(suite.losses.causal_lm)]):
        model = llama(dropout=0.1)
        trained(model, tmp_path, callbacks)
        left.append([p.detach().clone() for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*left, strict=True))


def test_accelerate_divides_by_the_full_k() -> None:
    accelerate = pytest.importorskip("accelerate")
    accelerator = accelerate.Accelerator(gradient_accumulation_steps=3, cpu=True)
    torch.manual_seed(0)
    data = torch.utils.data.TensorDataset(
        *map(torch.cat, zip(*batches(13, dtype=torch.float32), strict=True))
    )
    loader = torch.utils.data.DataLoader(data, batch_size=3)
    model = network(dtype=torch.float32)
    model, optimizer, loader = accelerator.prepare(model, torch.optim.SGD(model.parameters(), lr=0.1), loader)
    with suite.watch(model, losses) as audit:
        for x, y in audit.see(loader):
            with accelerator.accumulate(model):
                accelerator.backward(F.cross_entropy(model(x), y))
                optimizer.step()
                optimizer.zero_grad()
    assert [update.microbatches for update in audit.updates] == [3, 2]
    assert audit.updates[0].computes("mean-of-microbatch-means")
    assert audit.updates[1].computes("partial-window-over-full-k")
    assert "divided by the full K = 3" in str(audit)


def test_accelerate_in_bf16_is_told_to_its_rounding() -> None:
    accelerate = pytest.importorskip("accelerate")
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = accelerate.Accelerator(mixed_precision="bf16", cpu=True)
    model = network(dtype=torch.float32)
    model, optimizer = accelerator.prepare(model, torch.optim.SGD(model.parameters(), lr=0.1))
    with suite.watch(model, losses) as audit:
        for x, y in audit.see(batches(8, 6, dtype=torch.float32)):
            accelerator.backward(F.cross_entropy(model(x), y))
            optimizer.step()
            optimizer.zero_grad()
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    assert [update.rounding for update in audit.updates] == ["bfloat16 under autocast"] * 2
    assert all("mean" in update.names for update in audit.updates)


def lightning(
    clip: float | None, callbacks: list[Any], change: Callable[[Tensor], Tensor] = lambda x: x
) -> Any:
    pl = pytest.importorskip("pytorch_lightning")

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = network(dtype=torch.float32)

        def forward(self, x: Tensor) -> Tensor:
            return self.network(x)

        def training_step(self, batch: Any, _: int) -> Tensor:
            return change(F.cross_entropy(self(batch[0]), batch[1]))

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    module = Module()
    trainer = pl.Trainer(
        max_epochs=1, accumulate_grad_batches=3, gradient_clip_val=clip, accelerator="cpu", logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        callbacks=callbacks,
    )  # fmt: skip
    trainer.fit(
        module, torch.utils.data.DataLoader(batches(3, 2, 4, 2, 3, dtype=torch.float32), batch_size=None)
    )
    return module


@pytest.mark.parametrize("clip", [None, 0.05])
def test_lightning_divides_by_the_full_k_and_clips_after(clip) -> None:
    pytest.importorskip("pytorch_lightning")
    callback = suite.watch.lightning.Audit(losses)
    lightning(clip, [callback])
    assert [update.microbatches for update in callback.audit.updates] == [3, 2]
    first, last = callback.audit.updates
    assert first.computes("mean-of-microbatch-means")
    assert last.computes("partial-window-over-full-k")
    assert last.last
    assert not callback.audit.failures


def test_a_loss_that_the_script_divides_too_is_named_under_lightning() -> None:
    pytest.importorskip("pytorch_lightning")
    callback = suite.watch.lightning.Audit(losses)
    lightning(0.05, [callback], lambda loss: loss / 3)
    assert callback.audit.updates[0].beneath.fault.name == "fault:divided-twice"
