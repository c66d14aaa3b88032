"""Why do the gradients of different reduction methods differ in PyTorch?

The four ways of the question, on real digits: one backward pass a loss (`none`), the sum divided by n,
the mean, and the samples one by one. What differs between the published experiment and a correct one is
a single word: whether the first gradient is copied before it is kept.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor, nn

import cases
from suite.claim import Finding, claim, settle

if TYPE_CHECKING:
    from suite.recovery import Recovery

SAMPLES = 16
ROUNDING = 1e-12  # far above what float64 does here, and far below every real discrepancy
Pair = tuple[Tensor, Tensor]
Way = Callable[[nn.Module, Pair], list[Tensor]]


def problem() -> tuple[nn.Module, Pair]:
    """A small network and 16 real digits."""
    torch.manual_seed(0)
    x, y = cases.data.digits()
    return cases.models.mlp(64, 32, 10).double(), (x[:SAMPLES], y[:SAMPLES])


def stacked(
    model: nn.Module, losses: Iterable[Tensor], *, copies: bool, retain_graph: bool = True
) -> list[Tensor]:
    """A backward pass a loss, the gradients in columns, their mean: the question's first and last way.

    Gradients are zeroed in place, which was the only way that PyTorch had in 2019.

    Args:
        model: whose gradients are taken.
        losses: one a sample.
        copies: whether the first gradient is copied. Published, it is a view of `.grad`.
        retain_graph: as in the question.
    """
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    columns: dict[nn.Parameter, Tensor] = {}
    for loss in losses:
        optimizer.zero_grad(set_to_none=False)
        loss.backward(retain_graph=retain_graph)
        for parameter in model.parameters():
            assert parameter.grad is not None  # noqa: S101  each layer has a part in each loss
            column = parameter.grad.view(-1, 1)
            if parameter in columns:
                columns[parameter] = torch.cat((columns[parameter], column), dim=1)
            else:
                columns[parameter] = column.clone() if copies else column
    return [column.mean(1).view_as(parameter) for parameter, column in columns.items()]


def one_loss_each(model: nn.Module, batch: Pair, *, copies: bool = False) -> list[Tensor]:
    """`reduction="none"`, then a backward pass for each loss."""
    x, y = batch
    return stacked(model, F.cross_entropy(model(x), y, reduction="none"), copies=copies)


def one_by_one(model: nn.Module, batch: Pair, *, copies: bool = False) -> list[Tensor]:
    """`reduction="mean"` of one output at a time."""
    x, y = batch
    output = model(x)
    losses = (F.cross_entropy(output[i : i + 1], y[i : i + 1]) for i in range(len(y)))
    return stacked(model, losses, copies=copies)


def summed(model: nn.Module, batch: Pair) -> list[Tensor]:
    """`reduction="sum"`, divided by n."""
    x, y = batch
    loss = F.cross_entropy(model(x), y, reduction="sum")
    return [part / len(y) for part in torch.autograd.grad(loss, list(model.parameters()))]


def averaged(model: nn.Module, batch: Pair) -> list[Tensor]:
    """`reduction="mean"`."""
    x, y = batch
    return list(torch.autograd.grad(F.cross_entropy(model(x), y), list(model.parameters())))


def ways(*, copies: bool) -> dict[str, Way]:
    """The four ways, as published or with the first gradient copied."""
    return {
        "none": lambda model, batch: one_loss_each(model, batch, copies=copies),
        "sum": summed,
        "avg": averaged,
        "one-by-one": lambda model, batch: one_by_one(model, batch, copies=copies),
    }


def discrepancies(*, copies: bool) -> dict[str, float]:
    """The six largest pairwise discrepancies of the four ways."""
    found = {name: way(*problem()) for name, way in ways(copies=copies).items()}
    return {f"{a}, {b}": largest(found[a], found[b]) for a, b in itertools.combinations(found, 2)}


def recovered(way: str, *, copies: bool) -> Recovery:
    """What recovery finds in one of the ways, with nothing but its gradient to go by."""
    from suite.recovery import recover

    return recover(ways(copies=copies)[way], *problem(), cases.losses.cross_entropy)


def largest(a: list[Tensor], b: list[Tensor]) -> float:
    """The largest difference of two gradients, over all parameters."""
    return max(float((p - q).detach().abs().max()) for p, q in zip(a, b, strict=True))


def flat(gradient: list[Tensor]) -> Tensor:
    """`[params]` the gradient as one vector."""
    return torch.cat([part.detach().flatten() for part in gradient])


@claim("the four ways give different gradients")
def the_ways_differ() -> Finding:
    """With the first gradient copied all six discrepancies are rounding; as published four are not."""
    right, published = discrepancies(copies=True), discrepancies(copies=False)
    return settle(
        f"largest of the six discrepancies: {max(right.values()):.1g} with a correct loop, "
        f"{max(published.values()):.3g} as published",
        {
            "kept gradients are overwritten by an in-place zero_grad": max(published.values()) > ROUNDING,
            "the loop is correct": max(right.values()) > ROUNDING,
        },
        correct=right,
        published=published,
    )


@claim("none equals one-by-one, sum equals avg, and the other four pairs differ by one number")
def the_published_pattern() -> Finding:
    """The experiment as published, and with the first gradient copied."""

    def has_pattern(found: dict[str, float]) -> bool:
        zero = {pair for pair, size in found.items() if size <= ROUNDING}
        others = [size for pair, size in found.items() if pair not in zero]
        same = max(others, default=0.0) - min(others, default=0.0) <= ROUNDING
        return zero == {"none, one-by-one", "sum, avg"} and same

    right, published = discrepancies(copies=True), discrepancies(copies=False)
    sizes = ", ".join(f"{size:.4f}" for size in published.values())
    return settle(
        f"as published: {sizes}, in the order of the question",
        {
            "kept gradients are overwritten by an in-place zero_grad": has_pattern(published),
            "the loop is correct": has_pattern(right),
        },
        published=published,
    )


@claim("retain_graph=True is the reason")
def retain_graph() -> Finding:
    """The published loop with a forward pass for each sample, so that no graph has to be retained."""
    model, (x, y) = problem()
    fresh = (F.cross_entropy(model(x[i : i + 1]), y[i : i + 1]) for i in range(SAMPLES))
    without = stacked(model, fresh, copies=False, retain_graph=False)
    mean = averaged(*problem())
    off, still_off = largest(one_by_one(*problem()), mean), largest(without, mean)
    return settle(
        f"off from the mean by {off:.4f} with it and by {still_off:.4f} without it",
        {"it is removed": abs(still_off - off) > ROUNDING},
        with_it=off,
        without_it=still_off,
    )


@claim("cross-entropy is not linear, so gradients of single losses do not add up to that of the sum")
def non_linearity() -> Finding:
    """A gradient is linear in the loss, whatever the loss. Recovery is given the gradient alone."""
    wrong = recovered("none", copies=False)
    apart = largest(one_loss_each(*problem(), copies=True), averaged(*problem()))
    shares = wrong.weights * SAMPLES
    return settle(
        f"they add up to {apart:.1g}; in the published gradient sample 0 has weight {abs(shares[0]):.0f}, "
        f"sample 1 {shares[1]:.0f}/n and the others {shares[2:].mean():.0f}/n: "
        f"{wrong.fault.name if wrong.fault else 'no known mistake'}",
        {"the loop is correct": apart > ROUNDING},
        rounding=apart,
        weights=wrong.weights.tolist(),
        fault=wrong.fault and wrong.fault.name,
    )


@claim("reduction='none' means an update for each sample, one composed with the next")
def none_composes_updates() -> Finding:
    """Backward passes add up at the same parameters; composed updates move them in between."""
    found = recovered("none", copies=True)
    model, (x, y) = problem()
    before = flat(list(model.parameters()))
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    for i in range(SAMPLES):
        optimizer.zero_grad()
        (F.cross_entropy(model(x[i : i + 1]), y[i : i + 1]) / SAMPLES).backward()
        optimizer.step()
    moved = flat(list(model.parameters())) - before
    step = -flat(averaged(*problem()))
    apart = float((moved - step).norm() / step.norm())
    return settle(
        f"all gradients are taken at the same parameters, with the weights of {_name(found)}; "
        f"composed updates at lr 1 end {apart:.1%} off",
        {"updates are composed": apart <= ROUNDING},
        apart=apart,
        convention=_name(found),
    )


@claim("the gradient of 'sum' is n times that of 'mean'")
def sum_is_n_times_mean() -> Finding:
    """PyTorch's mean divides by the weights of the targets, and ignored targets weigh nothing."""
    model, (x, y) = problem()
    every_fourth = torch.arange(SAMPLES) % 4 == 0
    options: dict[str, tuple[Tensor, dict[str, Any]]] = {
        "there are no class weights and no ignored targets": (y, {}),
        "there are class weights": (y, {"weight": torch.linspace(0.5, 2, 10, dtype=x.dtype)}),
        "targets are ignored": (y.masked_fill(every_fourth, cases.data.IGNORED), {}),
    }
    ratios = {}
    for name, (target, more) in options.items():
        norms = [
            float(flat(list(torch.autograd.grad(loss, list(model.parameters())))).norm())
            for loss in (
                F.cross_entropy(model(x), target, reduction=reduction, **more)
                for reduction in ("sum", "mean")
            )
        ]
        ratios[name] = norms[0] / norms[1]
    plain, weighted, ignored = ratios.values()
    return settle(
        f"n = {SAMPLES}: {plain:.6g} times; {weighted:.4g} times with class weights, {ignored:.4g} times "
        "with every fourth target ignored",
        {name: abs(ratio / SAMPLES - 1) <= ROUNDING for name, ratio in ratios.items()},
        ratios=ratios,
    )


@claim("'mean' keeps the gradient the same for the same data, whatever the batch size")
def mean_is_constant() -> Finding:
    """The same 16 digits once, twice and eight times in a batch."""
    model, (x, y) = problem()
    once = averaged(model, (x, y))
    apart = {times: largest(averaged(model, (x.repeat(times, 1), y.repeat(times))), once) for times in (2, 8)}
    return settle(
        f"the data twice, eight times: the gradient changes by {max(apart.values()):.1g}",
        {"the data are repeated": max(apart.values()) <= ROUNDING},
        apart={str(times): size for times, size in apart.items()},
    )


@claim("an optimizer such as Adam accounts for the constant between sum and mean")
def adam_accounts_for_it() -> Finding:
    """Thirty steps on the sum and on the mean, all hyperparameters the same."""
    from suite.equivalence import trajectory as training

    model, batch = problem()

    def backward(reduction: str) -> training.Backward:
        def loss_of(model: nn.Module, step: int) -> Tensor:
            del step
            loss = F.cross_entropy(model(batch[0]), batch[1], reduction=reduction)
            loss.backward()
            return loss.detach()

        return loss_of

    def apart(eps: float) -> float:
        sides = [
            list(training.trajectory(model, backward(kind), "Adam", {"eps": eps}, steps=30))
            for kind in ("sum", "mean")
        ]
        return training.distance(*sides)

    sizes = {f"eps is {eps:g}": apart(eps) for eps in (1e-30, 1e-8, 1e-3)}
    told = ", ".join(f"{size:.1g} where {name}" for name, size in sizes.items())
    return settle(
        f"weights apart after 30 steps of Adam: {told}",
        {name: size <= ROUNDING for name, size in sizes.items()},
        apart=sizes,
    )


def _name(found: Recovery) -> str:
    return found.convention.name if found.convention else "no convention"


CLAIMS = (
    the_ways_differ,
    the_published_pattern,
    retain_graph,
    none_composes_updates,
    sum_is_n_times_mean,
    adam_accounts_for_it,
    mean_is_constant,
    non_linearity,
)
