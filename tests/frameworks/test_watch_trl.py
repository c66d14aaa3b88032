"""TRL's trainers, unmodified, under watch: each update is what the source of its loss says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import suite
from suite.errors import UsageError
from tests.frameworks.test_watch import LENGTHS, K, llama, pytestmark, rows

__all__ = ["pytestmark"]

WORDS = 12
"""So few that a random model ends its completions early, each at a length of its own."""
UNKNOWN = {"unk_token": "<pad>"}
SPECIAL = {"pad_token": "<pad>", "eos_token": "<eos>"}
LONGEST = 12
QUIET = {
    "use_cpu": True, "report_to": [], "save_strategy": "no", "logging_strategy": "no", "disable_tqdm": True,
    "bf16": False, "gradient_checkpointing": False, "max_steps": 2,
}  # fmt: skip


def tokenizer(words: int = 64) -> Any:
    """One word a number, made here: nothing is fetched."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    known = {"<pad>": 0, "<eos>": 1, **{str(word): word for word in range(2, words)}}
    made = Tokenizer(models.WordLevel(known, **UNKNOWN))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=made, **SPECIAL)


def sft_trainer(folder: Path, model: Any, callbacks: list[Any]) -> Any:
    import trl
    from datasets import Dataset

    data = Dataset.from_list(
        [{"input_ids": row["input_ids"][:n].tolist()} for row, n in zip(rows(), LENGTHS, strict=True)]
    )
    arguments = trl.SFTConfig(
        output_dir=str(folder), per_device_train_batch_size=1, gradient_accumulation_steps=K,
        dataset_kwargs={"skip_prepare_dataset": True}, eos_token=None, **QUIET,
    )  # fmt: skip
    return trl.SFTTrainer(
        model, args=arguments, train_dataset=data, callbacks=callbacks, processing_class=tokenizer()
    )


def test_the_sft_trainer_divides_by_the_tokens_of_the_window(tmp_path) -> None:
    pytest.importorskip("trl")
    callback = suite.watch.huggingface.AuditCallback(suite.losses.causal_lm)
    sft_trainer(tmp_path, llama(), [callback]).train()
    assert len(callback.audit.updates) == 2
    callback.audit.assert_convention("token-mean")


def rewarded(completion_ids: list[list[int]], **_: Any) -> list[float]:
    """Some reward that differs within a group."""
    return [sum(ids) % 7 + 0.3 * index for index, ids in enumerate(completion_ids)]


def grpo_trainer(folder: Path, loss_type: str, **options: Any) -> Any:
    """Of two updates, two micro-batches of two completions each."""
    import trl
    from datasets import Dataset

    arguments = trl.GRPOConfig(
        output_dir=str(folder), per_device_train_batch_size=2, gradient_accumulation_steps=2,
        num_generations=4, max_completion_length=LONGEST, loss_type=loss_type, max_grad_norm=0.0,
        **QUIET, **options,
    )  # fmt: skip
    return trl.GRPOTrainer(
        llama(words=WORDS), reward_funcs=rewarded, args=arguments, processing_class=tokenizer(WORDS),
        train_dataset=Dataset.from_list([{"prompt": f"{k} {k + 1}"} for k in range(2, 9)]),
    )  # fmt: skip


def grpo(folder: Path, loss_type: str, **options: Any) -> suite.watch.RunAudit:
    trainer = grpo_trainer(folder, loss_type, **options)
    with suite.watch.huggingface.audited(trainer, suite.losses.PolicyLosses(max_elements=LONGEST)) as audit:
        trainer.train()
    assert "compute_loss" not in vars(trainer)
    assert not audit.failures
    return audit


SEQUENCE = {"importance_sampling_level": "sequence"}
# By `GRPOTrainer._compute_loss`, where the policy is the one that sampled: every ratio is 1.
LOSS_TYPES = [
    ("grpo", {}, "mean-of-sequence-means", lambda own, all_, micro: 1 / (4 * own)),
    ("sapo", {}, "mean-of-sequence-means", lambda own, all_, micro: 1 / (4 * own)),
    ("bnpo", {}, "mean-of-microbatch-means", lambda own, all_, micro: 1 / (2 * micro)),
    ("dr_grpo", {}, "constant-normaliser", lambda own, all_, micro: 1 / (4 * LONGEST)),
    ("dapo", {}, "token-mean", lambda own, all_, micro: 1 / all_),
    ("vespo", {}, "token-mean", lambda own, all_, micro: 1 / all_),
    # It clamps each ratio to at most epsilon_high, which is 0.2 by default.
    ("cispo", {}, "", lambda own, all_, micro: 0.2 / all_),
    ("cispo", {"epsilon_high": 5.0}, "token-mean", lambda own, all_, micro: 1 / all_),
    ("luspo", SEQUENCE, "sum-of-terms", lambda own, all_, micro: 1 / 4),
]


@pytest.mark.parametrize(("loss_type", "options", "name", "weight"), LOSS_TYPES)
def test_each_loss_of_the_grpo_trainer_weighs_tokens_as_its_source_says(
    loss_type, options, name, weight, tmp_path
) -> None:
    pytest.importorskip("trl")
    audit = grpo(tmp_path, loss_type, **options)
    assert [update.microbatches for update in audit.updates] == [2, 2]
    for update in audit.updates:
        valid = update.units.elements > 0
        own = np.bincount(update.units.sample[valid])[update.units.sample]
        micro = np.bincount(update.units.microbatch[valid])[update.units.microbatch]
        told = update.identifiable & valid
        assert told.sum() >= 4
        expected = np.broadcast_to(weight(own, valid.sum(), micro), told.shape)
        np.testing.assert_allclose(update.weights[told], expected[told], rtol=1e-3)
        assert not name or update.computes(name)


def test_what_is_no_trainer_is_one_line() -> None:
    with pytest.raises(UsageError, match="a list is no Trainer"), suite.watch.huggingface.audited([], None):
        pass
