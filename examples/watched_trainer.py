"""The Hugging Face Trainer with LoRA and checkpointing, unmodified: the audit is a callback."""

from __future__ import annotations

import tempfile

import numpy as np
from huggingface_trainer import COUNTS, DIVIDES, AveragingForCausalLM, K, network, text
from peft import LoraConfig, get_peft_model
from recipe import Row, show
from transformers import LlamaForCausalLM, PrinterCallback, Trainer, TrainingArguments

import gradsuite

LORA = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], lora_dropout=0.1, task_type="CAUSAL_LM")


def audited(kind: type[LlamaForCausalLM]) -> gradsuite.watch.RunAudit:
    """Four lines, one in each micro-batch, twice: two epochs of one update each."""
    batch = text(4)
    rows = [dict(zip(batch, row, strict=True)) for row in zip(*batch.values(), strict=True)]
    audit = gradsuite.watch.huggingface.AuditCallback(gradsuite.losses.causal_lm)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder, per_device_train_batch_size=1, gradient_accumulation_steps=K,
            num_train_epochs=2, train_sampling_strategy="sequential", activation_checkpointing=True,
            use_cpu=True, report_to=[], save_strategy="no", logging_strategy="no", disable_tqdm=True,
        )  # fmt: skip
        model = get_peft_model(network(kind), LORA)
        trainer = Trainer(model, arguments, train_dataset=rows, callbacks=[audit])
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return audit.audit


def row(kind: type[LlamaForCausalLM], done: str, convention: str, source: str) -> Row:
    """The second update: in the first, the adapters' second factor is zero."""
    update = audited(kind).updates[1]
    valid = update.units.elements
    lengths = np.bincount(update.units.sample, weights=valid)[update.units.sample]
    divisor = K * lengths if kind is AveragingForCausalLM else valid.sum()
    return Row("transformers", done, source, valid / divisor, convention, update.beneath or update)


def recipe() -> list[Row]:
    """A model that counts the tokens of the window, and one that averages."""
    return [
        row(LlamaForCausalLM, "LoRA, checkpointing, under watch", "token-mean", COUNTS),
        row(
            AveragingForCausalLM, "the same, accepts_loss_kwargs = False", "mean-of-microbatch-means", DIVIDES
        ),
    ]


if __name__ == "__main__":
    show(recipe())
