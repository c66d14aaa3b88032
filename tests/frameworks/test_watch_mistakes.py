"""Mistakes that people make in each framework, made on purpose: the audit names them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import suite
from tests.frameworks.test_watch import K, lightning, llama, pytestmark, rows
from tests.watch.runs import batches, losses, network

__all__ = ["pytestmark"]

Change = Callable[[Tensor], Tensor]
SHORT = (3, 2, 4, 2, 3)  # the samples of five micro-batches, three a window


def accelerated(change: Change, *, clip: str = "") -> suite.watch.RunAudit:
    """A loop of Accelerate; the loss is changed, or each micro-batch's gradient clipped."""
    accelerate = pytest.importorskip("accelerate")
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = accelerate.Accelerator(gradient_accumulation_steps=3, cpu=True)
    model = network(dtype=torch.float32)
    model, optimizer = accelerator.prepare(model, torch.optim.SGD(model.parameters(), lr=0.1))
    loader = batches(*SHORT, dtype=torch.float32)
    with suite.watch(model, losses, window=3) as audit:
        for number, (x, y) in enumerate(audit.see(loader), 1):
            accelerator.gradient_state._set_sync_gradients(number % 3 == 0 or number == len(loader))
            accelerator.backward(change(F.cross_entropy(model(x), y)))
            if clip == "inside":
                torch.nn.utils.clip_grad_norm_(model.parameters(), 0.05)
            optimizer.step()
            optimizer.zero_grad()
    return audit


def trained(change: Change, folder: Path, *, averages: bool = False) -> suite.watch.RunAudit:
    """transformers' Trainer, whose loss is changed."""
    transformers = pytest.importorskip("transformers")

    class Changed(transformers.Trainer):
        def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
            return change(super().compute_loss(*args, **kwargs))

    arguments = transformers.TrainingArguments(
        output_dir=str(folder), per_device_train_batch_size=1, gradient_accumulation_steps=K, max_steps=1,
        use_cpu=True, report_to=[], save_strategy="no", logging_strategy="no", disable_tqdm=True,
        max_grad_norm=0.0,
    )  # fmt: skip
    trainer = Changed(llama(averages=averages), arguments, train_dataset=rows())
    trainer.remove_callback(transformers.PrinterCallback)
    with suite.watch.huggingface.audited(trainer, suite.losses.causal_lm) as audit:
        trainer.train()
    return audit


def lit(change: Change) -> suite.watch.RunAudit:
    pytest.importorskip("pytorch_lightning")
    callback = suite.watch.lightning.Audit(losses)
    lightning(None, [callback], change)
    return callback.audit


def fit(change: Change) -> suite.watch.RunAudit:
    pytest.importorskip("keras")
    from tests.frameworks import test_watch_keras as keras

    callback = suite.watch.keras.Audit(keras.losses)
    divisor = float(1 / change(torch.ones(())))
    keras.trained(
        keras.keras().optimizers.SGD(0.1, gradient_accumulation_steps=4), [callback], divisor=divisor
    )
    return callback.audit


def unchanged(loss: Tensor) -> Tensor:
    return loss


def divided(loss: Tensor) -> Tensor:
    return loss / 3


def divided_by_4(loss: Tensor) -> Tensor:
    return loss / K


def multiplied(loss: Tensor) -> Tensor:
    return loss * 3


TWICE = "A known mistake: Script and framework both divided by the number of micro-batches"
SHORT_WINDOW = "the last, partial window was divided by the full K: its step is too small"
MEANS = "the token means of the micro-batches were averaged: tokens in short micro-batches count more"
SUMS = "nobody divided by the number of micro-batches: the gradient is K times too large"


@pytest.mark.parametrize(
    ("run", "says"),
    [
        (lambda _: accelerated(divided), TWICE),
        (lambda _: accelerated(unchanged), SHORT_WINDOW),
        (lambda _: accelerated(multiplied), SUMS),
        (lambda _: accelerated(unchanged, clip="inside"), "after micro-batch 0, 1 (from 0) the accumulated"),
        (lambda folder: trained(divided_by_4, folder, averages=True), TWICE),
        (
            lambda folder: trained(divided_by_4, folder),
            "The elements of the whole window were counted, and K",
        ),
        (lambda folder: trained(unchanged, folder, averages=True), MEANS),
        (lambda _: lit(divided), TWICE),
        (lambda _: lit(unchanged), SHORT_WINDOW),
        (lambda _: lit(multiplied), SUMS),
        (lambda _: fit(divided_by_4), TWICE),
    ],
)
def test_the_audit_names_the_mistake(run, says, tmp_path) -> None:
    audit = run(tmp_path)
    assert audit.updates
    assert not audit.failures
    assert says in str(audit)


def test_a_bf16_loop_whose_loss_is_divided_too_is_named_to_its_rounding() -> None:
    accelerate = pytest.importorskip("accelerate")
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = accelerate.Accelerator(mixed_precision="bf16", cpu=True)
    model = network(dtype=torch.float32)
    model, optimizer = accelerator.prepare(model, torch.optim.SGD(model.parameters(), lr=0.1))
    loader = batches(5, 2, 4, 1, dtype=torch.float32)
    with suite.watch(model, losses) as audit:
        for number, (x, y) in enumerate(audit.see(loader), 1):
            accelerator.backward(F.cross_entropy(model(x), y) / 4)  # K is 2
            if number % 2 == 0:
                optimizer.step()
                optimizer.zero_grad()
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    assert [update.rounding for update in audit.updates] == ["bfloat16 under autocast"] * 2
    assert all("fault:divided-twice" in update.names for update in audit.updates)
