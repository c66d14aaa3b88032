"""Several models, several calls, several losses in one update."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import suite
from suite.watch import RunAudit
from tests.watch.others.kit import Loops, judge, sgd
from tests.watch.runs import Pairs, batches, losses, network

LOOPS = Loops()


def zeros_and_ones(n: int) -> tuple[Tensor, Tensor]:
    return torch.zeros(n, dtype=torch.float64), torch.ones(n, dtype=torch.float64)


@LOOPS.add(
    "https://github.com/davda54/sam/issues/7",
    "the step is no weighting of them",
    "Parameters were changed between the model's call and the optimizer's step",
    "−set to zero",
)
def sharpness_aware() -> RunAudit:
    return climbing(by_hand=False)


@LOOPS.add(
    "https://github.com/skorch-dev/skorch/issues/785", "Parameters were changed between the model's call"
)
def sharpness_aware_handed_over() -> RunAudit:
    return climbing(by_hand=True)


def climbing(*, by_hand: bool) -> RunAudit:
    """Two passes over one batch, the second uphill."""
    model = Pairs(network())
    optimizer = sgd(model)
    given = (lambda m, b: losses(m.inside, b)) if by_hand else suite.losses.classification
    with suite.watch(model, given) as audit:
        for x, y in batches(4, 5):
            if by_hand:
                audit.microbatch((x, y))
            model(x, labels=y)["loss"].backward()
            before = [p.detach().clone() for p in model.parameters()]
            with torch.no_grad():
                for p in model.parameters():
                    p.add_(p.grad, alpha=0.05)
            optimizer.zero_grad()
            model(x, labels=y)["loss"].backward()
            for p, was in zip(model.parameters(), before, strict=True):
                p.data = was
            optimizer.step()
            optimizer.zero_grad()
    return audit


def triplets(model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
    return F.triplet_margin_loss(model(batch[0]), model(batch[1]), model(batch[2]), reduction="none")


@LOOPS.add(
    "https://github.com/adambielski/siamese-triplet/issues/16",
    "the weights are those of mean.",
    "4 units of 4 samples",
)
def three_calls_make_one_loss() -> RunAudit:
    return tripled(seen=True)


@LOOPS.add(
    "https://github.com/adambielski/siamese-triplet/issues/16",
    "losses(model, batch) gave []; for a micro-batch of 4 samples it must be unreduced",
    "the batch is a tensor [4, 6]",
    "Not audited: update 0 (and 1 more)",  # though the second has 5 samples
)
def three_calls_are_no_batch() -> RunAudit:
    return tripled(seen=False)


def tripled(*, seen: bool) -> RunAudit:
    model = network()
    optimizer = sgd(model)
    data = [tuple(torch.randn(n, 6, dtype=torch.float64) for _ in range(3)) for n in (4, 5)]
    with suite.watch(model, triplets) as audit:
        for anchor, near, far in audit.see(data) if seen else data:
            F.triplet_margin_loss(model(anchor), model(near), model(far)).backward()
            optimizer.step()
            optimizer.zero_grad()
    return audit


class ActorCritic(nn.Module):
    """Scores of actions, and a value."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.scores, self.value = nn.Linear(6, 12), nn.Linear(12, 3), nn.Linear(12, 1)
        self.double()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = torch.tanh(self.body(x))
        return self.scores(hidden), self.value(hidden).squeeze(-1)


def clipped_policy(model: nn.Module, batch: Any) -> Tensor:
    x, action, before, advantage, wanted = batch
    scores, value = model(x)
    policy = torch.distributions.Categorical(logits=scores)
    ratio = (policy.log_prob(action) - before).exp()
    gain = torch.min(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage)
    return torch.stack([-gain, (value - wanted).square(), -policy.entropy()], 1)


@LOOPS.add(
    "https://github.com/ikostrikov/pytorch-a2c-ppo-acktr-gail/issues/160",
    "the weights are 1/n for ",
    "; 1/(2·n) for ",
    "; 0.01/n for ",
    "then clipped by norm to 0.5.",
)
def policy_value_and_entropy() -> RunAudit:
    model = ActorCritic()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    torch.manual_seed(1)
    x, advantage, wanted = (torch.randn(s, dtype=torch.float64) for s in ((10, 6), (10,), (10,)))
    with torch.no_grad():
        policy = torch.distributions.Categorical(logits=model(x)[0])
        action = policy.sample()
        before = policy.log_prob(action)
    with suite.watch(model, clipped_policy) as audit:
        for rows in torch.arange(10).split(5):
            batch = tuple(part[rows] for part in (x, action, before, advantage, wanted))
            audit.microbatch(batch)
            gain, value, entropy = clipped_policy(model, batch).mean(0)
            (gain + 0.5 * value + 0.01 * entropy).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            optimizer.zero_grad()
    return audit


@LOOPS.add("https://github.com/caogang/wgan-gp/issues/59", "the step is no weighting of them", "−mistake")
def three_backward_passes_and_a_penalty() -> RunAudit:
    torch.manual_seed(0)
    judge = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1)).double()
    optimizer = torch.optim.Adam(judge.parameters(), 1e-2)

    def signed(judge: nn.Module, batch: Any) -> Tensor:
        return batch[1] * judge(batch[0]).squeeze(1)

    with suite.watch(judge, signed) as audit:
        for _ in range(2):
            optimizer.zero_grad()
            real, fake = (torch.randn(4, 6, dtype=torch.float64) for _ in range(2))
            for x, sign in ((real, -1.0), (fake, 1.0)):
                audit.microbatch((x, torch.full((4,), sign, dtype=torch.float64)))
                (sign * judge(x).mean()).backward()
            between = torch.lerp(real, fake, torch.rand(4, 1, dtype=torch.float64)).requires_grad_()
            (slope,) = torch.autograd.grad(judge(between).sum(), between, create_graph=True)
            (10 * (slope.norm(2, dim=1) - 1).square().mean()).backward()
            optimizer.step()
    return audit


class Judge(nn.Module):
    """It is called with what it is to say."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inside = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1)).double()

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(self.inside(x).squeeze(1), labels, reduction="none")


def judged(judge: nn.Module, batch: Any) -> Tensor:
    found: Tensor = judge(batch["x"], batch["labels"])
    return found


def adversarial(*, zeroed: bool, frozen: bool = False, by_hand: bool = False) -> RunAudit:
    """A generator's step, whose gradient reaches the judge too, then the judge's."""
    judge, maker = Judge(), nn.Linear(2, 6).double()
    first, second = sgd(maker), sgd(judge)
    no, yes = zeros_and_ones(4)
    torch.manual_seed(1)
    with suite.watch(judge, judged) as audit:
        for _ in range(3):
            judge.requires_grad_(requires_grad=not frozen)
            maker.zero_grad()
            judge(maker(torch.randn(4, 2, dtype=torch.float64)), labels=yes).mean().backward()
            first.step()
            judge.requires_grad_(requires_grad=True)
            if zeroed:
                second.zero_grad()
            real, made = torch.randn(4, 6, dtype=torch.float64), maker(torch.randn(4, 2).double()).detach()
            if by_hand:
                audit.microbatch({"x": torch.cat([real, made]), "labels": torch.cat([yes, no])})
            ((judge(real, labels=yes).mean() + judge(made, labels=no).mean()) / 2).backward()
            second.step()
            if not zeroed:
                second.zero_grad()
    return audit


@LOOPS.add(
    "https://github.com/Lightning-AI/pytorch-lightning/issues/591",
    "Updates 0 – 2 (3 audited): the weights are those of mean.",
    "8 units of 8 samples",
    "−mistake",
)
def a_judge_that_is_zeroed_first() -> RunAudit:
    return adversarial(zeroed=True)


@LOOPS.add(
    "https://github.com/Lightning-AI/pytorch-lightning/issues/591",
    "Updates 0 – 2 (3 audited): the weights are those of mean.",
    "Micro-batch 0 (from 0) has weight 0 and is left out",
    "−mistake",
)
def a_judge_that_is_frozen_meanwhile() -> RunAudit:
    return adversarial(zeroed=True, frozen=True)


@LOOPS.add(
    "https://github.com/Lightning-AI/pytorch-lightning/issues/557",
    "Updates 0 – 2 (3 audited): the step is no weighting of them",
    "A mistake, in update 0: the gradient was not zero before the first micro-batch",
    "In what was added to it the weights are those of mean.",
)
def a_judge_with_the_generators_gradient() -> RunAudit:
    return adversarial(zeroed=False, by_hand=True)


@LOOPS.add(
    "https://github.com/Lightning-AI/pytorch-lightning/issues/557",
    "Weights: 0.25 for samples 0 – 3; 0.125 for samples 4 – 11.",
    "−mistake",  # each call is told with its weight
)
def a_judge_whose_calls_are_all_seen() -> RunAudit:
    return adversarial(zeroed=False)


@LOOPS.add(
    "https://bowen0701.github.io/research-eng/Why-not-model.forward()-but-model()",
    "as model(x), not model.forward(x)",
)
def forward_is_called() -> RunAudit:
    model = Pairs(network())
    optimizer = sgd(model)
    with suite.watch(model, suite.losses.classification) as audit:
        for x, y in batches(3, 2):
            model.forward(x, labels=y)["loss"].backward()
            optimizer.step()
    return audit


@pytest.mark.parametrize("name", LOOPS.all)
def test_what_is_said_of_a_loop_is_so(name) -> None:
    judge(LOOPS.all[name])
