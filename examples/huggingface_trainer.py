"""The Hugging Face Trainer on lines of unequal length: what does each token weigh?"""

from __future__ import annotations

import os
import tempfile
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
import torch.nn.functional as F
from recipe import Row, show
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PrinterCallback, Trainer, TrainingArguments

import cases
import gradsuite

K = 4
LINES = (11, 1, 38, 3)  # of the text, with 7, 18, 23 and 28 tokens to predict
PLACE = "(transformers/trainer.py)"
COUNTS = f"Trainer._get_num_items_in_batch, the tokens of the window {PLACE}"
DIVIDES = f"Trainer.training_step, over the micro-batches that there are {PLACE}"
TRUSTS = f"Trainer.training_step, which leaves division to models that accept num_items_in_batch {PLACE}"
NAMED = f"Trainer._loss_shifts_labels, by the name of the class: a line's first token is counted too {PLACE}"

Batch = dict[str, Tensor]


class AveragingForCausalLM(LlamaForCausalLM):
    """Its loss is a mean over the micro-batch, and it says so."""

    accepts_loss_kwargs = False


class IgnoringForCausalLM(LlamaForCausalLM):
    """Its loss is a mean too, but it accepts what it ignores: the Trainer takes it for one that counts."""

    def forward(self, input_ids: Tensor, labels: Tensor | None = None, **rest: Any) -> Any:
        """As it comes, without the count."""
        rest.pop("num_items_in_batch", None)
        return super().forward(input_ids, labels=labels, **rest)


class Renamed(LlamaForCausalLM):
    """As it comes, under a name that does not tell the Trainer that its loss shifts the labels."""


def network(kind: type[LlamaForCausalLM]) -> LlamaForCausalLM:
    """A tiny random language model of characters."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    return kind(LlamaConfig(vocab_size=128, **sizes))


def text(samples: int) -> Batch:
    """The first lines, as characters; padding is 0, and its labels are ignored."""
    tokens, targets = cases.data.text()
    rows = list(LINES[:samples])
    labels = torch.cat([tokens[rows, :1], cases.data.trimmed((tokens[rows], targets[rows]))[1]], dim=1)
    return {"input_ids": labels.clamp(min=0), "labels": labels}


def losses(model: LlamaForCausalLM, batch: Batch) -> Tensor:
    """`[samples, positions]` the loss of each token that is predicted; 0 where it is padding."""
    scores = model(batch["input_ids"]).logits[:, :-1].transpose(1, 2)
    return F.cross_entropy(scores, batch["labels"][:, 1:], reduction="none")


def step(model: LlamaForCausalLM, batch: Batch) -> None:
    """An epoch of the Trainer over the batch, which is one window, full or not, and so one update."""
    rows = [dict(zip(batch, row, strict=True)) for row in zip(*batch.values(), strict=True)]
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder, per_device_train_batch_size=1, gradient_accumulation_steps=K,
            num_train_epochs=1, train_sampling_strategy="sequential", max_grad_norm=0.0, use_cpu=True,
            report_to=[], save_strategy="no", logging_strategy="no", disable_tqdm=True,
        )  # fmt: skip
        trainer = Trainer(model, arguments, train_dataset=rows)
        trainer.remove_callback(PrinterCallback)
        trainer.train()


def row(kind: type[LlamaForCausalLM], samples: int, done: str, convention: str | None, source: str) -> Row:
    """The step on so many lines, each a micro-batch."""
    batch = text(samples)
    valid = batch["labels"][:, 1:].ge(0).double().numpy()
    units = gradsuite.Units.of(
        samples, {"elements": valid, "positions": 1, "microbatch": np.arange(samples)},
        parts=tuple(f"token {i}" for i in range(1, 1 + valid.shape[1])), window=K,
    )  # fmt: skip
    lengths = valid.sum(1, keepdims=True)
    divisors = {
        LlamaForCausalLM: lengths.sum(), AveragingForCausalLM: samples * lengths,
        IgnoringForCausalLM: lengths, Renamed: lengths.sum() + samples,
    }  # fmt: skip
    weights = valid / divisors[kind]
    found = gradsuite.recover(step, network(kind), batch, losses, units=units, engine="loop")
    return Row("transformers", done, source, weights.ravel(), convention, found)


def recipe() -> list[Row]:
    """Four lines fill the window, three leave it unfilled."""
    means, averaging = "mean-of-microbatch-means", "a model with accepts_loss_kwargs = False"
    return [
        row(LlamaForCausalLM, 4, "LlamaForCausalLM, K = 4, one line each", "window-exact", COUNTS),
        row(LlamaForCausalLM, 3, "the last window of an epoch: three lines", "window-exact", COUNTS),
        row(AveragingForCausalLM, 4, averaging, means, DIVIDES),
        row(AveragingForCausalLM, 3, f"{averaging}, three lines", means, DIVIDES),
        row(
            IgnoringForCausalLM,
            4,
            "a model that ignores num_items_in_batch",
            "sum-of-microbatch-means",
            TRUSTS,
        ),
        row(Renamed, 4, "a subclass whose name lacks ForCausalLM", None, NAMED),
    ]


if __name__ == "__main__":
    show(recipe())
