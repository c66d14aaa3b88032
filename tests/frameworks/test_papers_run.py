"""Cards that say `measured`: the code that they name is run, on the problem of their step, against the card.

The step of a card is written from its code; here the code itself is in its place.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import cases.data
from cases.papers import problems
from suite.papers.library import papers
from suite.replication.gradient import gradient_complaints
from suite.replication.step import PaperStep
from tests.frameworks import clip_ranks
from tests.frameworks.alone import package_or_skip, without_its_imports
from tests.frameworks.test_detection_run import DETECTORS
from tests.frameworks.trl_trainers import grpo_loss, rloo_backward
from tests.replication.test_steps import step_of


def log_probabilities(model: nn.Module, batch: Any) -> tuple[Tensor, Tensor]:
    """`[sequences, positions]` of the tokens, and where there are some."""
    losses, mask = problems.token_losses(model, batch)
    return -losses, mask.double()


def trl(loss_type: str, **settings: Any) -> Callable[..., None]:
    def run(model: nn.Module, batch: problems.Pair) -> None:
        tokens = problems.token_losses(model, batch)[1].sum()
        pieces = settings.get("accumulation", 2)
        for micro in problems.split(batch, pieces):
            found, mask = log_probabilities(model, micro)
            grpo_loss(model, found, mask, loss_type, tokens, longest=512, **settings).backward()

    return run


def rloo(model: nn.Module, batch: problems.Pair) -> None:
    rloo_backward(model, *log_probabilities(model, batch))


def espnet(model: nn.Module, batch: problems.Pair) -> None:
    module = package_or_skip("espnet.nets.pytorch_backend.transformer.label_smoothing_loss")
    ignored = cases.data.IGNORED
    criterion = module.LabelSmoothingLoss(128, ignored, smoothing=0.0)
    for tokens, targets in problems.split(batch, 2):
        (criterion(model(tokens), targets) / 2).backward()


def openrlhf(model: nn.Module, batch: problems.Pair) -> None:
    aggregate_loss = without_its_imports("openrlhf", "models/loss.py", "aggregate_loss")
    tokens = float(problems.token_losses(model, batch)[1].sum())
    for rank in problems.split(batch, 2):
        losses, mask = problems.token_losses(model, rank)
        # DeepSpeed averages over the ranks.
        (aggregate_loss(losses, mask, dp_size=2, batch_num_tokens=tokens) / 2).backward()


def opennmt(model: nn.Module, batch: problems.Pair) -> None:
    accumulate, batches = (
        without_its_imports("onmt", "trainer.py", f"Trainer.{name}", traceback=traceback)
        for name in ("_gradient_accumulation", "_accum_batches")
    )
    amp = torch.cuda.amp.autocast

    def train_loss(micro: dict[str, Any], *_: object, **__: object) -> tuple[Tensor, None]:
        return problems.token_losses(model, micro["batch"])[0].sum(), None

    statistics = SimpleNamespace(update=lambda _: None, n_src_words=0)
    trainer = SimpleNamespace(
        accum_count=2,
        _accum_count=lambda _: 2,
        norm_method="sents",
        trunc_size=0,
        zero_out_prompt_loss=False,
        with_align=False,
        train_loss=train_loss,
        n_gpu=0,
        model=SimpleNamespace(decoder=SimpleNamespace(state={})),
        optim=SimpleNamespace(
            amp=False,
            training_step=1,
            zero_grad=lambda **_: None,
            backward=lambda loss: loss.backward(),
            step=lambda: None,
        ),
    )
    trainer.model = _Called(trainer.model)
    torch.cuda.amp.autocast = lambda **_: nullcontext()
    try:
        micros = [
            ({"batch": micro, "tgt": micro[1][..., None], "src": micro[0], "srclen": None}, 0)
            for micro in problems.split(batch, 2)
        ]
        for window, normalization in batches(trainer, micros):
            accumulate(trainer, window, normalization, statistics, statistics)
    finally:
        torch.cuda.amp.autocast = amp


class _Called(SimpleNamespace):
    """A model whose outputs nobody looks at."""

    def __init__(self, other: SimpleNamespace) -> None:
        super().__init__(**vars(other))

    def __call__(self, *_: object, **__: object) -> tuple[None, None]:
        return None, None


def stable_baselines3(model: nn.Module, batch: problems.Triple, max_norm: float = 0.5) -> None:
    ppo = package_or_skip("stable_baselines3").PPO
    spaces = package_or_skip("gymnasium").spaces
    states, actions, advantages = batch

    def evaluate_actions(states: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        outputs = model(states)
        logp = outputs[:, :10].log_softmax(1)
        chosen = logp.gather(1, actions[:, None])[:, 0]
        return outputs[:, 10], chosen, -(logp.exp() * logp).sum(1)

    policy = SimpleNamespace(
        set_training_mode=lambda _: None,
        evaluate_actions=evaluate_actions,
        parameters=model.parameters,
        optimizer=SimpleNamespace(zero_grad=lambda: None, step=lambda: None, param_groups=[]),
    )
    rollout = SimpleNamespace(
        observations=states,
        actions=actions,
        advantages=advantages,
        returns=advantages,
        old_log_prob=evaluate_actions(states, actions)[1].detach(),
    )
    trainer = object.__new__(ppo)
    trainer.__dict__ |= {
        "policy": policy,
        "clip_range": lambda _: 0.2,
        "clip_range_vf": None,
        "n_epochs": 1,
        "batch_size": len(states),
        "action_space": spaces.Discrete(10),
        "normalize_advantage": False,  # they are as the card's problem has them
        "ent_coef": 0.0,
        "vf_coef": 0.5,
        "max_grad_norm": max_norm,
        "target_kl": None,
        "_current_progress_remaining": 1.0,
        "_n_updates": 0,
        "_logger": SimpleNamespace(record=lambda *_, **__: None),
        "lr_schedule": lambda _: 3e-4,
        "rollout_buffer": SimpleNamespace(get=lambda _: [rollout], values=np.ones(2), returns=np.ones(2)),
    }
    trainer.train()


RUN: dict[str, tuple[Callable[..., None], bool]] = {
    "trl-grpo-2025": (trl("dapo"), False),
    "trl-grpo-2025:grpo": (trl("grpo"), False),
    "trl-grpo-2025:bnpo": (trl("bnpo"), False),
    "trl-grpo-2025:dr-grpo": (trl("dr_grpo"), False),
    "gspo-2025": (trl("grpo", level="sequence", accumulation=1), False),
    "rloo-2024": (rloo, False),
    "espnet-transformer-2019": (espnet, False),
    "openrlhf-2024": (openrlhf, False),
    "opennmt-py": (opennmt, False),
    "ppo-2017:sb3": (stable_baselines3, True),
}
"""By the name of a card: its code, and whether that clips too."""


@pytest.mark.filterwarnings("ignore")  # of what packages import
@pytest.mark.parametrize("name", RUN)
def test_the_code_of_a_card_leaves_the_gradient_that_the_card_says(name: str) -> None:
    run, clips = RUN[name]
    paper, step = papers[name], step_of(f"papers/{name}")
    assert paper.verified == "measured"
    if not clips:
        paper = replace(paper, max_norm=None)
    assert gradient_complaints(paper, replace(step, step=run)) == []


@pytest.mark.filterwarnings("ignore")
def test_openclip_on_two_ranks_is_what_its_card_says(tmp_path: Path) -> None:
    name = "open-clip-2021"
    package_or_skip("open_clip")
    torch.multiprocessing.spawn(clip_ranks.train, args=(str(tmp_path),), nprocs=clip_ranks.RANKS)
    left = iter(torch.load(tmp_path / "gradients.pt"))

    def run(model: nn.Module, _: object) -> None:
        for parameter, gradient in zip(model.parameters(), next(left), strict=True):
            parameter.grad = gradient

    assert gradient_complaints(papers[name], replace(step_of(f"papers/{name}"), step=run)) == []
    assert next(left, None) is None


def test_a_card_that_is_said_to_be_measured_is_run() -> None:
    run = {*RUN, *DETECTORS, "open-clip-2021", "dp-sgd-2016:opacus"}  # the last by its step
    assert {paper.name for paper in papers if paper.verified == "measured"} == run


def test_code_that_computes_something_else_is_found() -> None:
    name = "trl-grpo-2025"
    step: PaperStep = replace(step_of(f"papers/{name}"), step=trl("bnpo"))
    assert gradient_complaints(replace(papers[name], max_norm=None), step) != []
