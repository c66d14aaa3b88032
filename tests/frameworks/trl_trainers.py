"""TRL's trainers with what their losses look at, and nothing else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from tests.frameworks.alone import package_or_skip

SAPO = {"sapo_temperature_pos": 1.0, "sapo_temperature_neg": 1.05}
VESPO = {"vespo_k_pos": 2.0, "vespo_lambda_pos": 3.0, "vespo_k_neg": 3.0, "vespo_lambda_neg": 2.0}


def _loss(trainer: Any, model: nn.Module, found: Tensor, mask: Tensor, **inputs: Any) -> Tensor:
    trainer.__dict__ |= {
        "_get_per_token_logps_and_entropies": lambda *_, **__: (found, torch.zeros_like(found), None),
        "model": model,
        "_metrics": defaultdict(lambda: defaultdict(list)),
        "aux_loss_enabled": False,
        "epsilon_low": 0.2,
        "epsilon_high": 5.0,
        "beta": 0.0,
    }
    prompts = torch.zeros(len(found), 1, dtype=torch.long)
    return trainer._compute_loss(
        model,
        {
            "prompt_ids": prompts,
            "prompt_mask": prompts,
            "completion_mask": mask,
            "completion_ids": torch.zeros(found.shape, dtype=torch.long),
            "advantages": torch.ones(len(found)).double(),
            **inputs,
        },
    )


def _accelerator(processes: int, **other: object) -> SimpleNamespace:
    return SimpleNamespace(num_processes=processes, gather=lambda x: x, reduce=lambda x, **_: x, **other)


def grpo_loss(
    model: nn.Module,
    log_probabilities: Tensor,
    mask: Tensor,
    loss_type: str,
    tokens: Tensor,
    *,
    level: str = "token",
    accumulation: int = 2,
    processes: int = 1,
    longest: int,
) -> Tensor:
    """What `GRPOTrainer._compute_loss` gives for a micro-batch, at a ratio of 1 and advantages of 1.

    Args:
        model: whose loss it is.
        log_probabilities: `[sequences, positions]`.
        mask: `[sequences, positions]` where there are tokens.
        loss_type: as `GRPOConfig` has it.
        tokens: how many there are in all micro-batches and ranks.
        level: of `importance_sampling_level`.
        accumulation: micro-batches.
        processes: ranks.
        longest: `max_completion_length`.
    """
    trainer = object.__new__(package_or_skip("trl").GRPOTrainer)
    settings: Mapping[str, Any] = {"delta": None, "steps_per_generation": accumulation, **SAPO, **VESPO}
    trainer.__dict__ |= {
        "accelerator": _accelerator(processes),
        "args": SimpleNamespace(**settings),
        "loss_type": loss_type,
        "importance_sampling_level": level,
        "current_gradient_accumulation_steps": accumulation,
        "max_completion_length": longest,
        "top_entropy_quantile": 1.0,
        "off_policy_mask_threshold": None,
        "use_vllm": False,
        "_entropy_bonus_enabled": False,
    }
    return _loss(trainer, model, log_probabilities, mask, num_items_in_batch=tokens)


def rloo_backward(
    model: nn.Module, log_probabilities: Tensor, mask: Tensor, *, accumulation: int = 1
) -> None:
    """What `RLOOTrainer.training_step` leaves of a micro-batch, at a ratio of 1 and advantages of 1."""
    trainer = object.__new__(package_or_skip("trl").RLOOTrainer)
    old = (log_probabilities * mask).sum(1).detach()

    def compute_loss() -> Tensor:
        return _loss(trainer, model, log_probabilities, mask, old_logps=old)

    _backward(trainer, model, compute_loss, accumulation)


def dpo_backward(model: nn.Module, log_probabilities: Tensor, mask: Tensor, *, accumulation: int) -> None:
    """What the trainer leaves of a micro-batch of preferences, the model of the reference being the same.

    Args:
        model: whose loss it is.
        log_probabilities: `[2·pairs, positions]` those of the chosen, then those of the rejected; 0 where
            there is no token.
        mask: `[2·pairs, positions]` where there are tokens.
        accumulation: micro-batches.
    """
    trainer = object.__new__(package_or_skip("trl").DPOTrainer)
    outputs = fused_outputs(log_probabilities, mask)
    half = (log_probabilities.detach()).sum(1).chunk(2)
    whole = torch.cat([torch.zeros(len(mask), 1), mask], 1)

    def compute_loss() -> Tensor:
        trainer.__dict__ |= {
            "model": model,
            "aux_loss_enabled": False,
            "ld_alpha": None,
            "precompute_ref_logps": True,
            "f_divergence_type": "reverse_kl",
            "loss_types": ["sigmoid"],
            "loss_weights": [1.0],
            "label_smoothing": 0.0,
            "use_weighting": False,
            "beta": 0.1,
            "_metrics": defaultdict(lambda: defaultdict(list)),
            "_total_train_tokens": 0,
            "_tp_size": 1,
        }
        inputs = {"completion_mask": whole, "ref_chosen_logps": half[0], "ref_rejected_logps": half[1]}
        inputs |= {"input_ids": torch.zeros(whole.shape, dtype=torch.long), "attention_mask": whole}
        return type(trainer).compute_loss(trainer, lambda **_: outputs, inputs)

    _backward(trainer, model, compute_loss, accumulation)


def fused_outputs(log_probabilities: Tensor, mask: Tensor) -> SimpleNamespace:
    """What a model gives whose head is fused; what is logged of it is zero."""
    zero = torch.zeros_like(log_probabilities)
    return SimpleNamespace(
        log_probs=log_probabilities, label_mask=mask, entropy=zero, mean_logits=zero, is_top1=zero.bool()
    )


def sft_loss(model: nn.Module, log_probabilities: Tensor, mask: Tensor, tokens: Tensor) -> Tensor:
    """What `SFTTrainer.compute_loss` gives for a micro-batch, where two ranks have `tokens` in all.

    Args:
        model: whose loss it is.
        log_probabilities: `[sequences, positions]`, 0 where there is no token.
        mask: `[sequences, positions]` where there are tokens.
        tokens: how many there are in all micro-batches and ranks.
    """
    trainer = object.__new__(package_or_skip("trl").SFTTrainer)
    trainer.__dict__ |= {
        "model": model,
        "aux_loss_enabled": False,
        "accelerator": _accelerator(2, parallelism_config=None, gather_for_metrics=lambda x: x),
        "compute_loss_func": None,
        "label_smoother": None,
        "args": SimpleNamespace(loss_type="nll", average_tokens_across_devices=True),
        "is_deepspeed_enabled": False,
        "_metrics": defaultdict(lambda: defaultdict(list)),
        "_total_train_tokens": 0,
        "_tp_size": 1,
    }
    inputs = {"attention_mask": mask, "labels": torch.zeros(mask.shape, dtype=torch.long)}
    outputs = fused_outputs(log_probabilities, mask)
    return trainer.compute_loss(lambda **_: outputs, inputs, num_items_in_batch=tokens)


def _backward(trainer: Any, model: nn.Module, compute_loss: Callable[[], Tensor], accumulation: int) -> None:
    """`Trainer.training_step`, of a model that takes a count, which a batch without labels has not."""
    backward = SimpleNamespace(distributed_type="NO", backward=lambda loss: loss.backward())

    def computed(*_: Any, **__: Any) -> Tensor:
        trainer.accelerator = _accelerator(1, device="cpu", gather_for_metrics=lambda x: x)
        loss = compute_loss()
        trainer.accelerator = backward
        return loss

    trainer.__dict__ |= {
        "args": SimpleNamespace(torch_empty_cache_steps=None, optim="adamw_torch", n_gpu=1),
        "optimizer": None,
        "model_accepts_loss_kwargs": True,
        "compute_loss_func": None,
        "current_gradient_accumulation_steps": accumulation,
        "compute_loss": computed,
        "compute_loss_context_manager": nullcontext,
        "_prepare_context_parallel_inputs": lambda _, inputs: (nullcontext, inputs),
        "_prepare_inputs": lambda inputs: inputs,
    }
    transformers = package_or_skip("transformers")
    transformers.Trainer.training_step(trainer, model, {}, None)
