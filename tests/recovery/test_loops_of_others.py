"""Loops as people write them, a few lines each: what is said of each, and what is not."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from suite.algebra.units import Units
from suite.recovery import recover
from tests.recovery.others.kit import Case, classes, network, normal


def entropy(model: nn.Module, batch: Any) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1], reduction="none")


def rows(batch: Any, some: slice) -> Any:
    return tuple(part[some] for part in batch)


def reduced(losses: Callable[..., Tensor], how: Callable[[Tensor, Any], Tensor]) -> Callable[..., None]:
    return lambda model, batch: how(losses(model, batch), batch).backward()


# Sequences whose tokens are units.

LENGTHS = torch.tensor([3, 5, 2, 4])
MASK = (torch.arange(5)[None] < LENGTHS[:, None]).double()
TOKENS = (normal(4, 5, 6), classes(20).reshape(4, 5), MASK)


def token_losses(model: nn.Module, batch: Any) -> Tensor:
    return F.cross_entropy(model(batch[0]).transpose(1, 2), batch[1], reduction="none") * batch[2]


def tokens(how: Callable[[Tensor, Any], Tensor], pieces: int = 1, **known: Any) -> Case:
    """A loop over neighbouring sequences, each piece reduced by `how`."""
    columns = {name: known.pop(name) for name in ("microbatch", "rank") if name in known}

    def step(model: nn.Module, batch: Any) -> None:
        for start in range(0, 4, 4 // pieces):
            mine = rows(batch, slice(start, start + 4 // pieces))
            how(token_losses(model, mine), (mine[2], batch[2])).backward()

    units = Units.of(4, {"elements": MASK.numpy(), "positions": 1, **columns}, parts=tuple("abcde"), **known)
    return Case(step, network(), TOKENS, token_losses, {"units": units})


HALVES = [0, 0, 1, 1]


def grouped_clipping() -> Case:
    def step(model: nn.Module, batch: Any) -> None:
        entropy(model, batch).mean().backward()
        for last in (True, False):  # decay and no decay
            nn.utils.clip_grad_norm_([p for p in model.parameters() if (p.ndim > 1) is last], 0.05)

    return Case(step, network(), (normal(8, 6), classes(8)), entropy)


def clipped_once() -> Case:
    def step(model: nn.Module, batch: Any) -> None:
        for some in (slice(0, 3), slice(3, 8)):
            (entropy(model, rows(batch, some)).mean() / 2).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.1)

    units = Units.of(8, {"microbatch": [0] * 3 + [1] * 5}, window=2, max_norm=0.1)
    return Case(step, network(), (normal(8, 6), classes(8)), entropy, {"units": units})


def distilled() -> Case:
    """`kl_div(reduction="mean")` divides by the classes, too; the temperature multiplies."""

    def losses(model: nn.Module, batch: Any) -> Tensor:
        return F.kl_div((model(batch[0]) / 4).log_softmax(1), batch[1], reduction="none").sum(1)

    batch = (normal(7, 6), normal(7, 11, seed=4).softmax(1))
    return Case(
        reduced(losses, lambda each, batch: each.sum() / batch[1].numel() * 16),
        network(outputs=11), batch, losses,
    )  # fmt: skip


def proximal_policy() -> Case:
    """The clipped surrogate, half the value loss and a little entropy, each a mean."""
    model = nn.ModuleDict({"policy": network(), "value": network(outputs=1, seed=3)})
    batch = {
        "x": normal(8, 6),
        "a": classes(8),
        "old": -1.4 + 0.1 * normal(8, seed=5),
        "gain": normal(8, seed=6),
    }

    def losses(model: nn.Module, batch: Any) -> Tensor:
        policy = torch.distributions.Categorical(logits=model["policy"](batch["x"]))
        ratio = (policy.log_prob(batch["a"]) - batch["old"]).exp()
        surrogate = -torch.min(ratio * batch["gain"], ratio.clamp(0.8, 1.2) * batch["gain"])
        value = (model["value"](batch["x"]).squeeze(1) - batch["gain"]).square()
        return torch.stack([surrogate, value, -policy.entropy()], 1)

    def step(model: nn.Module, batch: Any) -> None:
        policy, value, less = losses(model, batch).mean(0)
        (policy + 0.5 * value + 0.01 * less).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1e3)

    units = Units.of(8, {"term_weight": [1.0, 0.5, 0.01]}, parts=("policy", "value", "entropy"))
    return Case(step, model, batch, losses, {"units": units})


def queue_of_keys() -> Case:
    """A momentum encoder and a queue of its keys move in each step; the losses depend on both."""
    query, keys, at = network(outputs=5), network(outputs=5, seed=7), [0]
    queue = F.normalize(normal(12, 5, seed=8), dim=1)

    def losses(model: nn.Module, batch: Any) -> Tensor:
        q = F.normalize(model(batch[0]), dim=1)
        with torch.no_grad():
            k = F.normalize(keys(batch[1]), dim=1)
        scores = torch.cat([(q * k).sum(1, keepdim=True), q @ queue.T], 1) / 0.2
        return F.cross_entropy(scores, torch.zeros(len(q), dtype=torch.long), reduction="none")

    def step(model: nn.Module, batch: Any) -> None:
        losses(model, batch).mean().backward()
        with torch.no_grad():
            for mine, theirs in zip(keys.parameters(), model.parameters(), strict=True):
                mine.mul_(0.9).add_(0.1 * theirs)
            queue[at[0] : at[0] + 4] = F.normalize(keys(batch[1]), dim=1)
            at[0] = (at[0] + 4) % 12

    return Case(step, query, (normal(4, 6), normal(4, 6, seed=9)), losses)


def synchronised_target() -> Case:
    """Temporal differences against a network that is replaced by the model after each step."""
    model = network()
    target, optimizer = copy.deepcopy(model), torch.optim.RMSprop(model.parameters())
    batch = (normal(8, 6), classes(8), normal(8, seed=3), normal(8, 6, seed=4))

    def losses(model: nn.Module, batch: Any) -> Tensor:
        with torch.no_grad():
            wanted = batch[2] + 0.99 * target(batch[3]).max(1).values
        return F.smooth_l1_loss(
            model(batch[0]).gather(1, batch[1][:, None]).squeeze(1), wanted, reduction="none"
        )

    def step(model: nn.Module, batch: Any) -> None:
        optimizer.zero_grad()
        losses(model, batch).mean().backward()
        optimizer.step()
        target.load_state_dict(model.state_dict())

    return Case(step, model, batch, losses)


def discrete_autoencoder() -> Case:
    """A Gumbel softmax between encoder and decoder."""
    model = nn.Sequential(network(6, 5), network(5, 6, seed=2))

    def losses(model: nn.Module, x: Tensor) -> Tensor:
        return (model[1](F.gumbel_softmax(model[0](x))) - x).square().sum(1)

    return Case(reduced(losses, lambda each, _: each.mean()), model, normal(7, 6), losses)


def meta_learning(first_order: bool = False) -> Case:
    """A task's loss after a step on its support set; the second order goes through that step."""

    def losses(model: nn.Module, batch: Any, second_order: bool = True) -> Tensor:
        found = []
        for x, y, new_x, new_y in zip(*batch, strict=True):
            fast = dict(model.named_parameters())
            inner = F.mse_loss(functional_call(model, fast, (x,)), y)
            slopes = torch.autograd.grad(inner, list(fast.values()), create_graph=second_order)
            fast = {name: p - 0.1 * g for (name, p), g in zip(fast.items(), slopes, strict=True)}
            found.append(F.mse_loss(functional_call(model, fast, (new_x,)), new_y))
        return torch.stack(found)

    batch = tuple(normal(4, 5, 1, seed=seed) for seed in range(4))
    return Case(
        lambda model, batch: losses(model, batch, not first_order).mean().backward(),
        network(1, 1),
        batch,
        losses,
    )


def differential_equation() -> Case:
    """The residual of u″ + u = 0 at points inside, and a boundary that is no sample."""

    def losses(model: nn.Module, x: Tensor) -> Tensor:
        x = x.clone().requires_grad_()
        u = model(x)
        (slope,) = torch.autograd.grad(u.sum(), x, create_graph=True)
        (bend,) = torch.autograd.grad(slope.sum(), x, create_graph=True)
        return (bend + u).square().squeeze(1)

    def boundary(model: nn.Module) -> Tensor:
        return model(torch.zeros(1, 1, dtype=torch.float64)).square().sum()

    x = torch.linspace(0, 1, 7, dtype=torch.float64)[:, None]
    return Case(
        lambda model, x: (losses(model, x).mean() + 10 * boundary(model)).backward(),
        network(1, 1), x, losses, {"regulariser": boundary},
    )  # fmt: skip


def matched_boxes() -> Case:
    """Boxes of positive anchors and classes of all, both over the number of positives in the batch."""
    count = torch.tensor([2, 0, 1, 3, 1, 0])
    batch = (normal(6, 6), normal(6, 4, seed=3), count)

    def losses(model: nn.Module, batch: Any) -> Tensor:
        out = model(batch[0])
        return F.smooth_l1_loss(out, batch[1], reduction="none").sum(1) * batch[2] + out.square().sum(1)

    return Case(reduced(losses, lambda each, batch: each.sum() / batch[2].sum()), network(), batch, losses)


def two_optimizers() -> Case:
    """An actor and a critic with an optimizer each; one mean, one sum."""
    model = nn.ModuleDict({"actor": network(outputs=1), "critic": network(outputs=1, seed=1)})
    actor, critic = (torch.optim.Adam(model[name].parameters(), 1e-3) for name in ("actor", "critic"))

    def losses(model: nn.Module, batch: Any) -> Tensor:
        value = model["critic"](batch[0]).squeeze(1)
        gain = (batch[1] - value).detach()
        return torch.stack([-gain * model["actor"](batch[0]).squeeze(1), (batch[1] - value).square()], 1)

    def step(model: nn.Module, batch: Any) -> None:
        actor.zero_grad()
        losses(model, batch)[:, 0].mean().backward()
        actor.step()
        critic.zero_grad()
        losses(model, batch)[:, 1].sum().backward()
        critic.step()

    return Case(
        step,
        model,
        (normal(6, 6), normal(6, seed=3)),
        losses,
        {"units": Units.of(6, parts=("actor", "critic"))},
    )


def weighted_classes(total: bool = False) -> Case:
    """Class weights in `cross_entropy(weight=)`, averaged in each micro-batch or over the window."""
    w = torch.tensor([1.0, 5.0, 20.0], dtype=torch.float64)
    y = torch.tensor([0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 1, 0])

    def step(model: nn.Module, batch: Any) -> None:
        for some in (slice(0, 4), slice(4, 8), slice(8, 12)):
            x, target = rows(batch, some)
            if total:
                loss = F.cross_entropy(model(x), target, w, reduction="sum") / w[batch[1]].sum()
            else:
                loss = F.cross_entropy(model(x), target, w) / 3
            loss.backward()

    units = Units.of(12, {"weight": w[y].numpy(), "microbatch": np.repeat(range(3), 4)}, window=3)
    return Case(step, network(outputs=3), (normal(12, 6), y), entropy, {"units": units})


def lengths_twice() -> Case:
    """A loss by length and by batch, as `CTCLoss(reduction="mean")` gives it, divided by the batch again."""
    lengths = torch.tensor([1, 2, 5, 3, 4])
    batch = (normal(5, 12, 7), torch.randint(1, 4, (5, 5)), torch.full((5,), 12), lengths)

    def losses(model: nn.Module, batch: Any, reduction: str = "none") -> Tensor:
        x, y, frames, symbols = batch
        scores = model(x).log_softmax(2).transpose(0, 1)
        return F.ctc_loss(scores, y, frames, symbols, reduction=reduction)

    return Case(
        lambda model, batch: (losses(model, batch, "mean") / len(batch[0])).backward(),
        network(7, 4), batch, losses, {"units": Units.of(5, {"elements": lengths.numpy()})},
    )  # fmt: skip


def contrasted(pieces: int) -> Case:
    """Pairs told from all others: in pieces there are fewer others."""

    def losses(model: nn.Module, batch: Any) -> Tensor:
        a, b = (F.normalize(model(view), dim=1) for view in batch)
        scores, own = a @ b.T / 0.1, torch.arange(len(a))
        ways = (F.cross_entropy(s, own, reduction="none") for s in (scores, scores.T))
        return torch.stack(list(ways)).mean(0)

    def step(model: nn.Module, batch: Any) -> None:
        size = 8 // pieces
        for start in range(0, 8, size):
            (losses(model, rows(batch, slice(start, start + size))).mean() / pieces).backward()

    x = normal(8, 6)
    return Case(step, network(), (x, x + 0.1 * normal(8, 6, seed=3)), losses)


def scaled(*, unscaled: bool, inside: bool = False) -> Case:
    """Autocast and a loss scale of 1024, in the step or in the losses."""
    model = network().float()
    batch = (normal(8, 6).float(), classes(8))
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)

    def losses(model: nn.Module, batch: Any) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            each = entropy(model, batch)
        return scaler.scale(each) if inside else each

    def step(model: nn.Module, batch: Any) -> None:
        loss = losses(model, batch).mean()
        (loss if inside else scaler.scale(loss)).backward()
        if unscaled:
            scaler.unscale_(optimizer)
        optimizer.step()

    return Case(step, model, batch, losses)


LOOPS: list[tuple[str, Case, tuple[str, ...]]] = [
    (
        "distillation",
        distilled(),
        ("weights are 16/77", "16 is a constant", "77, the number of entries of batch[1]"),
    ),
    (
        "sequence means",
        tokens(lambda each, here: (each.sum(1) / here[0].sum(1)).mean()),
        ("those of mean-of-sample-means", "1/(n·V_i)"),
    ),
    (
        "a normaliser of the longest length",
        tokens(lambda each, here: each.sum() / (4 * 16), max_elements=16),
        ("those of constant-normaliser", "1/(n·Lmax)"),
    ),
    (
        "samples' share of token means",
        tokens(lambda each, here: each.sum() / here[0].sum() / 2, 2, microbatch=HALVES, window=2),
        ("those of mean-of-microbatch-means", "1/(K·V_k)"),
    ),
    (
        "the window's tokens and then the micro-batches",
        tokens(lambda each, here: each.sum() / here[1].sum() / 4, 4, microbatch=range(4), window=4),
        ("A known mistake", "fault:window-count-over-k", "1/(V·K)"),
    ),
    (
        "all ranks' tokens and then the ranks",
        tokens(lambda each, here: each.sum() / here[1].sum() / 2, 2, rank=HALVES, world_size=2),
        ("A known mistake", "fault:global-count-over-ranks", "1/(V·R)"),
    ),
    (
        "all ranks' tokens, the averaging of ranks undone",
        tokens(lambda each, here: each.sum() / here[1].sum(), 2, rank=HALVES, world_size=2),
        ("those of element-mean", "1/V"),
    ),
    ("policy gradients", proximal_policy(), ("those of weighted-sum-of-terms", "λ_t/n")),
    ("clipping once", clipped_once(), ("min(1, C/‖g‖)/(K·n_k), mean-of-microbatch-means clipped once",)),
    ("clipping by groups", grouped_clipping(), ("clipped in groups of tensors", "to 0.05")),
    ("a queue", queue_of_keys(), ("those of mean", "Changed, and put back after each run: ")),
    ("a target network", synchronised_target(), ("those of mean", "put back after each run: target")),
    ("a discrete autoencoder", discrete_autoencoder(), ("those of mean", "were given the same ones")),
    ("meta-learning", meta_learning(), ("those of mean",)),
    (
        "meta-learning of the first order",
        meta_learning(first_order=True),
        ("the gradient of no function", "detached"),
    ),
    (
        "a differential equation",
        differential_equation(),
        ("weights are 1/n", "\n  regulariser              10\n"),
    ),
    ("matched boxes", matched_boxes(), ("weights are 1/7", "7, the sum of batch[2]")),
    ("two optimizers", two_optimizers(), ("1/n for actor; 1 for critic",)),
    ("class weights", weighted_classes(), ("w_u/(K·Σw_k), those of no registered convention",)),
    ("class weights of the window", weighted_classes(total=True), ("those of weighted-mean",)),
    ("lengths and batch twice", lengths_twice(), ("1/(n²·m_i), 1/n × mean-of-sample-means",)),
    ("pairs of the batch", contrasted(1), ("those of mean",)),
    ("pairs of a piece", contrasted(4), ("coupled losses", "takes them in pieces of 2", "those of mean")),
    (
        "a loss scale taken back",
        scaled(unscaled=True),
        ("those of mean", "rounding of bfloat16 under autocast"),
    ),
    (
        "a loss scale left in",
        scaled(unscaled=False),
        ("weights are 102", "rounding of bfloat16 under autocast"),
    ),
    (
        "a loss scale in the losses",
        scaled(unscaled=False, inside=True),
        ("those of mean", "rounding of bfloat16"),
    ),
]
"""A name, the loop, and what is said of it."""


@pytest.mark.parametrize(("case", "said"), [row[1:] for row in LOOPS], ids=[row[0] for row in LOOPS])
def test_a_loop_is_called_what_it_is(case: Case, said: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    text = f"{recover(case.step, case.model, case.batch, case.losses, **case.options)}\n"
    missing = [part for part in said if part not in text]
    assert not missing, text
    if "A known mistake" not in said:
        assert "A known mistake" not in text
