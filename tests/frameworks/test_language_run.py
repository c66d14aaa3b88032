"""Training of language models, run: torchtune, torchtitan, OLMo, fairseq, Axolotl, verl's FSDP actor.

Each runs its own loop over the micro-batches of a rank; what it asks of other ranks is answered here.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.conventions.agreement import ROUNDING, distance, left_in, network
from tests.frameworks.alone import class_without_its_imports, older, package_or_skip, without_its_imports
from tests.frameworks.sequences import CELLS, INPUTS, LONGEST, PRESENT, expected, log_probabilities

IGNORED = -100
TOKENS = int(PRESENT.sum())
SINGLE = 1e-7
"""What is left where losses or their divisors are float32."""


def averaged(gradient_of_rank: Callable[[list[np.ndarray]], Tensor]) -> Tensor:
    """The mean over ranks of what each leaves."""
    ranks = [[np.flatnonzero(cell) for cell in cells] for cells in CELLS]
    return torch.stack([gradient_of_rank(cells) for cells in ranks]).mean(0)


def labels(rows: np.ndarray) -> Tensor:
    """`[sequences, positions]` 0 where there is a token."""
    return torch.where(PRESENT[rows] > 0, 0, IGNORED)


def lines(rows: np.ndarray) -> tuple[Tensor, Tensor]:
    """Inputs and labels before the shift by one: the first token of a line is none to be predicted."""
    end, start = torch.zeros(len(rows), 1, 4).double(), torch.full((len(rows), 1), IGNORED)
    return torch.cat([INPUTS[rows], end], 1), torch.cat([start, labels(rows)], 1)


def cross_entropy(logits: Tensor, targets: Tensor, reduction: str = "mean", **_: object) -> Tensor:
    return functional.cross_entropy(
        logits.flatten(0, -2), targets.flatten(), ignore_index=IGNORED, reduction=reduction
    )


def test_torchtune_divides_by_the_tokens_of_all_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    def all_reduce(tensor: Tensor) -> None:
        if not tensor.is_floating_point():  # the count; the loss is reduced for the log
            tensor.fill_(TOKENS)

    monkeypatch.setattr(torch.distributed, "all_reduce", all_reduce)
    scale_grads = without_its_imports("torchtune", "training/_grad_scaler.py", "scale_grads")
    known = {
        "training": SimpleNamespace(cleanup_before_training=lambda: None, scale_grads=scale_grads),
        "utils": SimpleNamespace(batch_to_device=lambda *_: None),
        "tqdm": MagicMock(),
        "TrainingProgress": MagicMock(),
        "get_lr": MagicMock(),
        "time": time,
    }
    path = "full_finetune_distributed.py"
    train = without_its_imports("recipes", path, "FullFinetuneRecipeDistributed.train", **known)

    def of_rank(cells: list[np.ndarray]) -> Tensor:
        model, left = network(), []
        recipe = MagicMock(
            epochs_run=0, total_epochs=1, world_size=2, global_step=0, activations_handling_ctx=nullcontext(),
            ignore_labels_cache=torch.full((len(INPUTS), 1), IGNORED), _optimizer_in_bwd=False,
            _gradient_accumulation_steps=2, _is_rank_zero=False, _clip_grad_norm=None, _log_every_n_steps=1,
        )  # fmt: skip
        recipe._model = MagicMock(side_effect=lambda tokens: model(tokens), parameters=model.parameters)
        recipe._loss_fn = MagicMock(side_effect=cross_entropy, ignore_index=IGNORED)
        recipe._optimizer.step = lambda: left.append(left_in(model))
        recipe._dataloader = MagicMock()
        batches = [dict(zip(("tokens", "labels"), lines(rows), strict=True)) for rows in cells]
        recipe._dataloader.__iter__.return_value = iter(batches)
        train(recipe)
        return left[0]

    assert distance(averaged(of_rank), expected("torchtune:num_tokens")) < SINGLE


def test_torchtitan_divides_by_the_valid_tokens_of_all_ranks() -> None:
    backend = {"get_spmd_backend": lambda: "default", "DTensor": (), "F": functional, "IGNORE_INDEX": IGNORED}
    cross_entropy_loss = without_its_imports(
        "torchtitan", "components/loss.py", "cross_entropy_loss", **backend
    )
    spmd = SimpleNamespace(is_type_checking=lambda: False, no_typecheck=nullcontext)
    call = without_its_imports("torchtitan", "components/loss.py", "CrossEntropyLoss.__call__", spmd=spmd)
    loss = SimpleNamespace(fn=cross_entropy_loss, global_vocab_size=None)
    traces = SimpleNamespace(log_trace_span=lambda _: nullcontext(), log_trace_scalar=lambda _: None)
    reduced = SimpleNamespace(
        dist_sum_tensor=lambda *_: torch.tensor(TOKENS), clip_grad_norm_=lambda *_, **__: None
    )
    names = {"sl": traces, "dist_utils": reduced, "IGNORE_INDEX": IGNORED}
    train_step = without_its_imports("torchtitan", "trainer.py", "Trainer.train_step", **names)

    def of_rank(cells: list[np.ndarray]) -> Tensor:
        model = network()

        def forward_backward_step(*, input_dict: Any, labels: Tensor, global_valid_tokens: Tensor) -> Tensor:
            found, _ = call(loss, model(input_dict["input"]), labels, global_valid_tokens)
            found.backward()
            return found

        trainer = MagicMock(
            gradient_accumulation_steps=2, num_pipeline_parallel_microbatches=1, device="cpu",
            model_parts=[model], forward_backward_step=forward_backward_step,
        )  # fmt: skip
        trainer.parallel_dims.pp_enabled = False
        trainer.metrics_processor.should_log.return_value = False
        train_step(trainer, iter([({"input": INPUTS[rows]}, labels(rows)) for rows in cells]))
        return left_in(model)

    # Ranks are summed: FSDP's division is switched off.
    assert distance(2 * averaged(of_rank), expected("torchtitan:global_valid_tokens")) < SINGLE


@pytest.mark.filterwarnings("ignore")  # of what a GPU would bring
def test_olmo_divides_by_all_positions_of_a_rank() -> None:
    methods = ("get_labels", "model_forward", "train_micro_batch", "train_batch", "split_batch")
    loss_fn = without_its_imports("olmo", "train.py", "cross_entropy_loss", F=functional)
    known = {"nullcontext": nullcontext, "math": math, "DistributedStrategy": SimpleNamespace(ddp="ddp")}
    base = type("Base", (), {"_setup_module_output_save_hooks": lambda *_: []})
    trainer = class_without_its_imports("olmo", "train.py", "Trainer", methods, base, **known)()
    trainer.device, trainer.loss_fn = "cpu", loss_fn
    trainer.cfg = MagicMock(
        softmax_auxiliary_loss=False, device_train_microbatch_size=2, distributed_strategy="fsdp",
        autocast_precision=torch.bfloat16,
    )  # fmt: skip

    def of_rank(cells: list[np.ndarray]) -> Tensor:
        rows = np.concatenate(cells)
        model, given = network(), iter(lines(rows)[0].split(2))
        trainer.dist_model = lambda **_: SimpleNamespace(logits=model(next(given)))
        mask = lines(rows)[1] != IGNORED
        trainer.train_batch({"input_ids": torch.zeros(mask.shape, dtype=torch.long), "label_mask": mask})
        return left_in(model)

    said = expected("olmo:batch_size_in_tokens", positions=LONGEST + 1)
    assert distance(averaged(of_rank), said) < ROUNDING


@pytest.mark.filterwarnings("ignore")  # of what a GPU would bring
@pytest.mark.parametrize(
    ("word", "by_sentences"), [("fairseq:sample_size", False), ("fairseq:sentence-avg", True)]
)
def test_fairseq_divides_once_by_the_sample_size_of_all_ranks(word: str, by_sentences: bool) -> None:
    fairseq, path = older("fairseq"), "criterions/cross_entropy.py"
    criterion = class_without_its_imports(
        fairseq, path, "CrossEntropyCriterion", ("forward", "compute_loss"), nn.Module, F=functional
    )()
    criterion.sentence_avg, criterion.padding_idx = by_sentences, IGNORED
    task_step = without_its_imports(
        fairseq, "tasks/fairseq_task.py", "FairseqTask.train_step", AMPOptimizer=()
    )
    multiply = without_its_imports(fairseq, "optim/fairseq_optimizer.py", "FairseqOptimizer.multiply_grads")
    known = {"metrics": MagicMock(), "contextlib": contextlib}
    known["utils"] = SimpleNamespace(has_parameters=lambda _: False)
    kind = class_without_its_imports(fairseq, "trainer.py", "Trainer", ("train_step",), **known)
    total = len(PRESENT) if by_sentences else TOKENS

    def of_rank(cells: list[np.ndarray]) -> Tensor:
        inside = network()
        model = MagicMock(side_effect=lambda rows: log_probabilities_of(inside, rows), spec=["train"])
        model.set_num_updates = lambda _: None
        model.get_normalized_probs = lambda output, **_: output
        model.get_targets = lambda sample, _: sample["target"]
        optimizer = MagicMock(params=list(inside.parameters()), backward=lambda loss: loss.backward())
        optimizer.multiply_grads = lambda factor: multiply(optimizer, factor)
        trainer = MagicMock(
            model=model, criterion=criterion, optimizer=optimizer, data_parallel_world_size=2, cuda=False,
            tpu=False, _prepare_sample=lambda sample: (sample, False), cuda_env=None,
            clip_grad_norm=lambda _: torch.tensor(1.0),
            _aggregate_logging_outputs=lambda *_, **__: ([], (total, 0, 1.0)),
        )  # fmt: skip
        trainer.get_num_updates.return_value = 1
        trainer.cfg.optimization.use_bmuf = trainer.cfg.common.amp = trainer.cfg.ema.store_ema = False
        trainer.cfg.common.fp16 = trainer.cfg.common.empty_cache_freq = 0
        trainer.task.train_step = lambda **inputs: task_step(None, **inputs)
        samples = [
            {"net_input": {"rows": rows}, "target": labels(rows), "ntokens": int(PRESENT[rows].sum())}
            for rows in cells
        ]
        kind.train_step(trainer, samples)
        return left_in(inside)

    assert distance(averaged(of_rank), expected(word)) < ROUNDING


def log_probabilities_of(model: nn.Module, rows: np.ndarray) -> Tensor:
    return model(INPUTS[rows]).log_softmax(-1)


@pytest.mark.parametrize(
    ("word", "package", "across"),
    [
        ("trainer:num_items_in_batch", "transformers", True),
        ("trainer:own-count-a-rank", "transformers", False),
        ("axolotl:num_items_in_batch", "axolotl", True),
    ],
)
def test_the_trainer_and_axolotl_upon_it_count_tokens_of_all_ranks_or_of_one(
    word: str, package: str, across: bool
) -> None:
    transformers = package_or_skip("transformers")
    loss_utils = package_or_skip("transformers.loss.loss_utils")
    kind = transformers.Trainer
    if package == "axolotl":
        path = "core/trainers/base.py"
        kind = class_without_its_imports("axolotl", path, "AxolotlTrainer", ("compute_loss",), kind)

    def of_rank(cells: list[np.ndarray]) -> Tensor:
        model = network()

        def with_loss(inputs: Tensor, labels: Tensor, **settings: Any) -> dict[str, Tensor]:
            scores = model(inputs).flatten(0, 1)
            return {"loss": loss_utils.fixed_cross_entropy(scores, labels.flatten(), **settings)}

        trainer = object.__new__(kind)
        accelerator = SimpleNamespace(
            num_processes=2, gather=lambda count: torch.tensor([0, TOKENS]), unwrap_model=lambda model: model
        )
        trainer.__dict__ |= {
            "args": SimpleNamespace(
                include_tkps=False, sample_packing=False, orpo_alpha=None, past_index=-1, n_gpu=1,
                average_tokens_across_devices=across, world_size=2,
            ),
            "accelerator": accelerator,
            "model": model,
            "label_smoother": None,
            "compute_loss_func": None,
            "model_accepts_loss_kwargs": True,
            "_loss_shifts_labels": False,
            "is_deepspeed_enabled": False,
        }  # fmt: skip
        batches = [{"inputs": INPUTS[rows], "labels": labels(rows)} for rows in cells]
        count = trainer._get_num_items_in_batch(batches, torch.device("cpu"))
        for inputs in batches:
            trainer.compute_loss(with_loss, dict(inputs), num_items_in_batch=count).backward()
        return left_in(model)

    assert distance(averaged(of_rank), expected(word)) < ROUNDING


class Data:
    """What verl hands to its actor: sequences that are chosen, split and moved."""

    def __init__(self, rows: np.ndarray) -> None:
        self.rows, self.non_tensor_batch = rows, dict[str, Any]()
        self.meta_info = {"temperature": 1.0, "pad_token_id": 0}
        ones = torch.ones(len(rows), LONGEST).double()
        self.batch = {"rows": rows, "response_mask": PRESENT[rows], "old_log_probs": ones, "advantages": ones}

    def select(self, **_: object) -> Data:
        return self

    def to(self, _: object) -> Data:
        return self

    def split(self, size: int) -> list[Data]:
        return [Data(self.rows[k : k + size]) for k in range(0, len(self.rows), size)]


@pytest.mark.parametrize(
    ("word", "dynamic"),
    [("verl:token-mean-fsdp-actor", False), ("verl:token-mean-fsdp-actor-dynamic", True)],
)
def test_the_actor_of_verl_averages_micro_batches_or_weighs_them_by_their_sequences(
    word: str, dynamic: bool
) -> None:
    verl = older("verl")
    functions, core = "utils/torch_functional.py", "trainer/ppo/core_algos.py"
    masked_sum = without_its_imports(verl, functions, "masked_sum")
    masked_mean = without_its_imports(verl, functions, "masked_mean", masked_sum=masked_sum)
    known: dict[str, Any] = {"verl_F": SimpleNamespace(masked_sum=masked_sum, masked_mean=masked_mean)}
    known["agg_loss"] = without_its_imports(verl, core, "agg_loss", **known)
    known |= {"AlgoConfig": (), "register_policy_loss": lambda _: lambda function: function}
    vanilla = without_its_imports(verl, core, "compute_policy_loss_vanilla", **known)
    ranks = [np.arange(3), np.arange(3, 6)]  # in a micro-batch of one sequence, and one of two
    own = {"get_device_id": lambda: "cpu", "append_to_dict": lambda *_: None}
    own["get_policy_loss_fn"] = lambda _: vanilla
    own["prepare_dynamic_batch"] = lambda data, **_: ([Data(data.rows[:1]), Data(data.rows[1:])], None)
    actor = class_without_its_imports(
        verl, "workers/actor/dp_actor.py", "DataParallelPPOActor", ("update_policy",), **own
    )

    def of_rank(rows: np.ndarray) -> Tensor:
        model, left = network(), []

        def optimizer_step() -> Tensor:
            left.append(left_in(model))
            return torch.tensor(0.0)

        class Config(SimpleNamespace):
            get = dict[str, float]().get  # defaults only

        config = Config(
            use_kl_loss=False, ppo_mini_batch_size=3, ppo_epochs=1, use_dynamic_bsz=dynamic,
            ppo_max_token_len_per_gpu=1, ppo_micro_batch_size_per_gpu=1, entropy_coeff=0,
            loss_agg_mode="token-mean", calculate_entropy=False, policy_loss={}, clip_ratio=0.2,
            clip_ratio_low=None, clip_ratio_high=None, global_batch_info={},
        )  # fmt: skip
        own = object.__new__(actor)
        own.__dict__ |= {
            "config": config,
            "actor_module": model,
            "actor_optimizer": MagicMock(),
            "ulysses_sequence_parallel_size": 1,
            "use_prefix_grouper": False,
            "scaler": None,
            "_forward_micro_batch": lambda inputs, **_: {
                "log_probs": log_probabilities(model, INPUTS[inputs["rows"]])
            },
            "_optimizer_step": optimizer_step,
        }
        own.update_policy(Data(rows))
        return left[0]

    microbatch = [0, 1, 1, 0, 1, 1] if dynamic else [0, 1, 2, 0, 1, 2]
    window = max(microbatch) + 1
    said = expected(word, microbatch=np.array(microbatch), rank=np.repeat([0, 1], 3), window=window)
    # A masked mean adds 1e-8 to counts.
    assert distance(torch.stack([of_rank(rows) for rows in ranks]).mean(0), said) < 2e-8
