"""Activation checkpointing in the model: torch's reentrant form, others' own, with dropout inside."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from suite.engines.per_sample_gradients import per_sample_gradients
from tests.recovery.others.kit import Case, Loop, Loops, classes, entropy, judge, network, normal

LOOPS = Loops("checkpointing")


def averaged(model: nn.Module, batch: Any) -> Case:
    return Case(lambda m, b: entropy(m, b).mean().backward(), model, batch, entropy)


class Deep(nn.Module):
    """Embeddings, two blocks that are computed once more in the backward pass, a head."""

    def __init__(self, p: float = 0.0, *, reentrant: bool = True) -> None:
        super().__init__()
        self.embed, self.reentrant = nn.Embedding(20, 8), reentrant
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(8, 8), nn.GELU(), nn.Dropout(p)) for _ in range(2)
        )
        self.head = nn.Linear(8, 4)
        self.double().train()

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x).mean(1)
        for block in self.blocks:
            x = x + checkpoint(block, x, use_reentrant=self.reentrant)
        return self.head(x)


WORDS = classes(6, 5, c=20)


@LOOPS.add("https://github.com/huggingface/transformers/issues/23170", "those of mean.")
def reentrant_blocks() -> Case:
    torch.manual_seed(0)
    return averaged(Deep(), (WORDS, classes(6)))


@LOOPS.add(
    "https://github.com/lucidrains/enformer-pytorch/issues/33",
    "(dropout: the rest is a weighting of the units without it)",
    "those of mean.",
)
def reentrant_blocks_with_dropout() -> Case:
    torch.manual_seed(0)
    return averaged(Deep(0.2), (WORDS, classes(6)))


class First(nn.Module):
    """The first layers are checkpointed, whose inputs are the samples."""

    def __init__(self, *, ask: bool, keep: bool = True, p: float = 0.0) -> None:
        super().__init__()
        self.ask, self.keep = ask, keep
        self.body, self.drop, self.head = network(6, 8), nn.Dropout(p), network(8, 4, seed=1)

    def forward(self, x: Tensor) -> Tensor:
        x = x.detach().requires_grad_() if self.ask else x
        inside = lambda x: self.drop(self.body(x))  # noqa: E731  one line
        return self.head(checkpoint(inside, x, use_reentrant=True, preserve_rng_state=self.keep))


@LOOPS.add("https://github.com/huggingface/transformers/pull/21598", "those of mean.", "−no gradient")
def samples_that_ask_for_a_gradient() -> Case:
    return averaged(First(ask=True), (normal(6, 6), classes(6)))


@LOOPS.add(
    "https://github.com/huggingface/transformers/issues/21381",
    "tensors without a gradient: 4 of 8 tensors have none (body.0.weight, body.0.bias, body.2.weight and 1 "
    "more)",
    "those of mean.",
)
def samples_that_ask_for_none() -> Case:
    """Torch warns, and what is inside learns nothing."""

    def step(model: nn.Module, batch: Any) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            entropy(model, batch).mean().backward()

    return averaged(First(ask=False), (normal(6, 6), classes(6)))._replace(step=step)


@LOOPS.add(
    "https://github.com/ankanbhunia/PIDM/pull/66",
    "(dropout: the rest is a weighting of the units without it)",
    "those of mean.",
)
def other_masks_in_the_backward_pass() -> Case:
    torch.manual_seed(0)
    return averaged(First(ask=True, keep=False, p=0.3).train(), (normal(6, 6), classes(6)))


class Again(torch.autograd.Function):
    """A checkpoint of somebody's own, which forgets the state of the random numbers."""

    @staticmethod
    def forward(ctx: Any, function: Any, x: Tensor, *parameters: Tensor) -> Tensor:
        ctx.function = function
        ctx.save_for_backward(x, *parameters)
        with torch.no_grad():
            return function(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:  # type: ignore[override]
        x, *parameters = ctx.saved_tensors
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            out = ctx.function(x)
        return None, *torch.autograd.grad(out, (x, *parameters), grad)


@LOOPS.add(
    "https://github.com/openai/guided-diffusion/issues/167",
    "(dropout: the rest is a weighting of the units without it)",
    "those of mean.",
)
def a_checkpoint_of_ones_own() -> Case:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(*network(6, 8), nn.Dropout(0.3))
            self.head = network(8, 4, seed=1)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(Again.apply(self.body, x, *self.body.parameters()))  # type: ignore[no-untyped-call]

    torch.manual_seed(0)
    return averaged(Own().train(), (normal(6, 6), classes(6)))


@pytest.mark.parametrize("loop", LOOPS.all, ids=LOOPS.names)
def test_what_is_computed_twice_has_its_weights(loop: Loop) -> None:
    judge(loop)


@pytest.mark.parametrize("engine", ["torch-func", "loop", "streaming"])
def test_every_engine_sees_through_reentrant_checkpoints(engine: str) -> None:
    torch.manual_seed(0)
    model = Deep().eval()
    found = per_sample_gradients(model, (WORDS, classes(6)), entropy, engine=engine)
    assert (found.engine, found.refused) == (engine, {})
    plain = Deep(reentrant=False).eval()
    plain.load_state_dict(model.state_dict())
    expected = torch.autograd.grad(entropy(plain, (WORDS, classes(6))).sum(), list(plain.parameters()))
    total = found.reduce([[1.0] * 6])[0]
    assert torch.allclose(total, torch.cat([part.flatten() for part in expected]))
