"""TRL's GRPO trainer, unmodified, with each of its losses: what an update weighs each token with."""

from __future__ import annotations

import os
import tempfile
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
from datasets import Dataset
from recipe import Row, show
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, PrinterCallback
from trl import GRPOConfig, GRPOTrainer

import gradsuite

WORDS, LONGEST = 12, 12
SEQUENCES, K = 4, 2
SOURCE = "GRPOTrainer._compute_loss"
SEQUENCE = {"importance_sampling_level": "sequence"}
LOSSES: dict[str, tuple[str, dict[str, Any]]] = {
    "grpo": ("mean-of-sequence-means", {}),
    "sapo": ("mean-of-sequence-means", {}),
    "bnpo": ("mean-of-microbatch-means", {}),
    "dr_grpo": ("constant-normaliser", {}),
    "dapo": ("token-mean", {}),
    "vespo": ("token-mean", {}),
    "cispo": ("token-mean", {"epsilon_high": 5.0}),
    "luspo": ("sum-of-terms", SEQUENCE),
}
"""By `loss_type`: the convention where the policy is the one that sampled, and what has to be set."""


def tokenizer() -> PreTrainedTokenizerFast:
    """One word a number, made here: nothing is fetched."""
    words = {"<pad>": 0, "<eos>": 1, **{str(word): word for word in range(2, WORDS)}}
    made = Tokenizer(models.WordLevel(words, unk_token="<pad>"))  # noqa: S106  it is a word
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", eos_token="<eos>")  # noqa: S106


def network() -> LlamaForCausalLM:
    """So few words that completions end early, each at a length of its own."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=WORDS, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        eos_token_id=1, pad_token_id=0, bos_token_id=None,
    )  # fmt: skip
    return LlamaForCausalLM(config)


def rewarded(completion_ids: list[list[int]], **_: Any) -> list[float]:
    """Some reward that differs within a group."""
    return [sum(ids) % 7 + 0.3 * index for index, ids in enumerate(completion_ids)]


def audited(loss_type: str, **options: Any) -> gradsuite.watch.AuditedUpdate:
    """One update of two micro-batches of two completions."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = GRPOConfig(
            output_dir=folder, loss_type=loss_type, per_device_train_batch_size=SEQUENCES // K,
            gradient_accumulation_steps=K, num_generations=SEQUENCES, max_completion_length=LONGEST,
            max_grad_norm=0.0, max_steps=1, use_cpu=True, bf16=False, gradient_checkpointing=False,
            report_to=[], save_strategy="no", logging_strategy="no", disable_tqdm=True, **options,
        )  # fmt: skip
        trainer = GRPOTrainer(
            network(), reward_funcs=rewarded, args=arguments, processing_class=tokenizer(),
            train_dataset=Dataset.from_list([{"prompt": f"{k} {k + 1}"} for k in range(2, 9)]),
        )  # fmt: skip
        trainer.remove_callback(PrinterCallback)
        policy = gradsuite.losses.PolicyLosses(max_elements=LONGEST)
        with gradsuite.watch.huggingface.audited(trainer, policy) as audit:
            trainer.train()
    return audit.updates[0]


def weights(convention: str, units: gradsuite.Units) -> np.ndarray:
    """`[units]` what the source says of each token, worked out by hand."""
    valid = units.elements > 0
    own = np.bincount(units.sample[valid], minlength=SEQUENCES)[units.sample]
    micro = np.bincount(units.microbatch[valid])[units.microbatch]
    divisor = {
        "mean-of-sequence-means": SEQUENCES * own,
        "mean-of-microbatch-means": K * micro,
        "constant-normaliser": SEQUENCES * LONGEST,
        "token-mean": valid.sum(),
        "sum-of-terms": SEQUENCES,
    }[convention]
    return valid / divisor


def recipe() -> list[Row]:
    """Each loss that `loss_type` names."""
    rows = []
    for loss_type, (convention, options) in LOSSES.items():
        update = audited(loss_type, **options)
        expected = weights(convention, update.units)
        rows.append(Row("trl", f"GRPO, `{loss_type}`, under watch", SOURCE, expected, convention, update))
    return rows


if __name__ == "__main__":
    show(recipe())
