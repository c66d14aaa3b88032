"""How can a network be updated with the average gradient from a list of losses?

The page's three examples, each loop as published, on real data of the same shape: its `nn.Linear(10, 1)`
meets the ten measurements and the one target of the diabetes data.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor, nn

import cases
from suite.claim import Finding, claim, settle

if TYPE_CHECKING:
    from suite.recovery import Recovery

ROUNDING = 1e-12  # far above what float64 does here, and far below every real discrepancy
ROWS = 100
BATCHES = 5
Pair = tuple[Tensor, Tensor]


def problem(rows: int = ROWS) -> tuple[nn.Module, Pair]:
    """`nn.Linear(10, 1)` and the first patients of the diabetes data."""
    torch.manual_seed(0)
    x, y = cases.data.diabetes()
    return nn.Linear(10, 1).double(), (x[:rows], y[:rows])


def example_1(model: nn.Module, batch: Pair, sizes: Sequence[int]) -> None:
    """A backward pass of each batch's mean, then every gradient divided by the number of batches."""
    for x, y in zip(*(part.split(list(sizes)) for part in batch), strict=True):
        F.mse_loss(model(x), y).backward()
    divide(model, len(sizes))


def averaged_losses(model: nn.Module, batch: Pair, sizes: Sequence[int]) -> None:
    """What the page calls incorrect: the mean of the batches' losses, and one backward pass."""
    parts = zip(*(part.split(list(sizes)) for part in batch), strict=True)
    torch.stack([F.mse_loss(model(x), y) for x, y in parts]).mean().backward()


def example_2(model: nn.Module, batch: Pair, rate: float) -> None:
    """For each image: the mean gradient of its copies, then a step."""
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    for image, label in zip(*batch, strict=True):
        optimizer.zero_grad()
        for augmented in image:
            F.cross_entropy(model(augmented[None]), label[None]).backward()
        divide(model, len(image))
        optimizer.step()


def example_3(model: nn.Module, batch: Pair, *, retain_graph: bool = True) -> None:
    """Ten losses, two of each of five passes; the sum of their gradients is clipped, then divided.

    Published, no graph is retained.
    """
    x, y = batch
    losses = []
    for _ in range(BATCHES):
        output = model(x)
        losses += [F.mse_loss(output, y), F.l1_loss(output, y)]
    for loss in losses:
        loss.backward(retain_graph=retain_graph)
    nn.utils.clip_grad_norm_(model.parameters(), max_norm=1)
    divide(model, len(losses))


def divide(model: nn.Module, by: int) -> None:
    """Divide every gradient."""
    for parameter in model.parameters():
        assert parameter.grad is not None  # noqa: S101  a backward pass was made
        parameter.grad /= by


def gradient_of(loss: Tensor, model: nn.Module) -> Tensor:
    """`[params]` the gradient of `loss`."""
    parts = torch.autograd.grad(loss, list(model.parameters()))
    return torch.cat([part.flatten() for part in parts])


def recovered(sizes: Sequence[int], *, average_losses: bool = False) -> Recovery:
    """What recovery finds in example 1, or in its counterpart, with batches of these `sizes`."""
    from suite import Units
    from suite.recovery import recover

    loop = averaged_losses if average_losses else example_1
    units = Units.of(
        sum(sizes),
        {"microbatch": [k for k, size in enumerate(sizes) for _ in range(size)]},
        window=len(sizes),
    )
    return recover(
        lambda model, batch: loop(model, batch, sizes),
        *problem(sum(sizes)),
        cases.losses.squared_error,
        units=units,
    )


@claim("averaging the losses and one backward pass is incorrect: it distorts the gradient")
def averaging_losses() -> Finding:
    """Five batches of 20 patients, and batches of 20, 20, 20, 20 and 5: both ways of averaging."""
    apart = {}
    for name, sizes in (("equal", [20] * 5), ("ragged", [20] * 4 + [5])):
        gradients = []
        for loop in (example_1, averaged_losses):
            model, batch = problem(sum(sizes))
            loop(model, batch, sizes)
            gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))  # type: ignore[union-attr]
        apart[name] = float((gradients[0] - gradients[1]).norm() / gradients[0].norm())
    names = [_name(recovered([2, 2, 2, 2], average_losses=average)) for average in (True, False)]
    return settle(
        f"averaged losses and averaged gradients differ by {apart['equal']:.1g} of the gradient, and by "
        f"{apart['ragged']:.1g} with a small last batch; recovery finds {' and '.join(names)}",
        {f"the batches are {name}": size > ROUNDING for name, size in apart.items()},
        apart=apart,
        conventions=names,
    )


@claim("example 1: dividing by the number of batches gives the average gradient")
def example_1_averages() -> Finding:
    """Five equal batches, and five of which the last is small, against the gradient of all rows' mean."""
    apart, weights = {}, {}
    for name, sizes in (
        ("the batches have equal sizes", [20] * 5),
        ("the last batch is smaller", [20] * 4 + [5]),
    ):
        model, (x, y) = problem(sum(sizes))
        whole = gradient_of(F.mse_loss(model(x), y), model)
        example_1(model, (x, y), sizes)
        got = torch.cat([p.grad.flatten() for p in model.parameters()])  # type: ignore[union-attr]
        apart[name] = float((got - whole).norm() / whole.norm())
    small = recovered([2, 2, 2, 1])
    weights = (small.weights * 7).tolist()
    equal, ragged = apart.values()
    return settle(
        f"off by {equal:.1g} with equal batches, by {ragged:.2f} with a last batch of 5 in place of 20; "
        f"in batches of 2, 2, 2, 1 the last sample has weight {weights[-1]:.4g}/n, others "
        f"{weights[0]:.4g}/n: {_name(small)}",
        {name: size <= ROUNDING for name, size in apart.items()},
        apart=apart,
        weights=small.weights.tolist(),
        convention=_name(small),
    )


@claim("example 2: every data point has an equal part in the averaged gradient")
def example_2_is_equal() -> Finding:
    """32 real digits in four copies each (a 10-vector cannot be flipped or rotated), and one step a digit."""
    from suite import Units
    from suite.recovery import recover

    x, y = cases.data.shifted_images()
    x, y = x[:32], y[:32]

    def model() -> nn.Module:
        torch.manual_seed(0)
        return cases.models.convolutional().double()

    found = recover(
        lambda model, batch: example_2(model, batch, 0.1),
        model(),
        (x[:1], y[:1]),
        cases.losses.cross_entropy_of_copies,
        units=Units.of(1, parts=("as it is", "left", "right", "up"), part_kind="copies"),
    )
    net = model()
    whole = gradient_of(cases.losses.cross_entropy_of_copies(net, (x, y)).mean(), net)
    before = nn.utils.parameters_to_vector(net.parameters()).detach()
    example_2(net, (x, y), 0.1 / 32)
    moved = nn.utils.parameters_to_vector(net.parameters()).detach() - before
    off = float((moved + 0.1 * whole).norm() / (0.1 * whole).norm())
    spread = float(max(abs(found.weights - 0.25)))
    return settle(
        f"within a step all four copies have weight 1/4 (to {spread:.1g}); 32 steps, one a digit, end "
        f"{off:.1%} away from the step along the average gradient",
        {
            "the data points are the copies of one image": spread <= ROUNDING,
            "the data points are the images": off <= ROUNDING,
        },
        weights=found.weights.tolist(),
        off=off,
    )


@claim("example 3: the loop runs")
def example_3_runs() -> Finding:
    """As published: both losses of a pass go back through one graph, which the first has freed."""
    runs, said = {}, ""
    for name, retain in (("as it is published", False), ("retain_graph=True is added", True)):
        try:
            example_3(*problem(), retain_graph=retain)
            runs[name] = True
        except RuntimeError as error:
            runs[name], said = False, str(error).partition(" (")[0]
    return settle(f"as published: {said or 'it runs'}", runs, error=said)


@claim("example 3: averaging after clipping keeps the clipped gradient at max_norm")
def example_3_keeps_the_threshold() -> Finding:
    """The norm that the loop leaves, against that of the same ten losses averaged first, then clipped."""
    from suite.recovery import recover

    model, batch = problem()
    example_3(model, batch)
    left = float(torch.cat([p.grad.flatten() for p in model.parameters()]).norm())  # type: ignore[union-attr]

    model, (x, y) = problem()
    raw = gradient_of(F.mse_loss(model(x), y) + F.l1_loss(model(x), y), model) * BATCHES
    model.zero_grad()
    (F.mse_loss(model(x), y) / 2 + F.l1_loss(model(x), y) / 2).backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm=1)
    other = float(torch.cat([p.grad.flatten() for p in model.parameters()]).norm())  # type: ignore[union-attr]

    model, (x, y) = problem(4)
    found = recover(example_3, model, (x, y), _both)
    return settle(
        f"raw norm {float(raw.norm()):.3g}; clipped to 1, then divided by 10: {left:.4f}; averaged, then "
        f"clipped: {other:.4f}; recovery: {found.cause.name if found.cause else 'no cause'}",
        {"the average is clipped": abs(left - 1) <= 1e-5},
        raw=float(raw.norm()),
        clipped_then_averaged=left,
        averaged_then_clipped=other,
        effective_threshold=left,
    )


def _both(model: nn.Module, batch: Pair) -> Tensor:
    x, y = batch
    output = model(x)
    return (F.mse_loss(output, y, reduction="none") + F.l1_loss(output, y, reduction="none")).sum(1)


def _name(found: Recovery) -> str:
    return found.convention.name if found.convention else "no convention"


CLAIMS = (
    averaging_losses,
    example_1_averages,
    example_2_is_equal,
    example_3_runs,
    example_3_keeps_the_threshold,
)
