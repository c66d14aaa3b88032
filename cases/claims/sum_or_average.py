"""Sum or average of gradients in mini-batch gradient descent?

Claims of the question and of its answer, on real digits and a small network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

import cases
from suite.claim import Finding, claim, settle

ROUNDING = 1e-12  # far above what float64 does here, and far below every real discrepancy
BATCH = 32
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
Pair = tuple[Tensor, Tensor]


def model(seed: int = 0) -> nn.Module:
    """A small network."""
    torch.manual_seed(seed)
    return cases.models.mlp(64, 16, 10).double()


def batches(size: int, samples: int, seed: int = 0) -> Iterator[Pair]:
    """Shuffled batches of the first digits; the last may be smaller."""
    x, y = cases.data.digits()
    order = torch.randperm(samples, generator=torch.Generator().manual_seed(seed))
    for rows in order.split(size):
        yield x[rows], y[rows]


def train(net: nn.Module, size: int, rate: float, *, samples: int = 640, epochs: int = 1) -> float:
    """The mean loss of the trained samples after SGD on batch means; infinite where it diverges."""
    parameters = list(net.parameters())
    for epoch in range(epochs):
        for batch in batches(size, samples, seed=epoch):
            loss = cases.losses.cross_entropy(net, batch).mean()
            for parameter, part in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
                parameter.data -= rate * part
    with torch.no_grad():
        (whole,) = batches(samples, samples)
        after = float(cases.losses.cross_entropy(net, whole).mean())
    return after if np.isfinite(after) else float("inf")


def exponent(values: dict[int, float]) -> float:
    """The exponent b of the power law `a·n^b` fitted to values by batch size."""
    return float(np.polyfit(np.log(list(values)), np.log(list(values.values())), 1)[0])


def drawn(net: nn.Module, draws: int = 200) -> dict[int, tuple[float, float]]:
    """By batch size, the root mean square of the mean gradient's norm, and the variance of the mean.

    Batches are drawn with replacement; the variance is summed over parameters.
    """
    from suite import per_sample_gradients

    matrix = per_sample_gradients(net, cases.data.digits(), cases.losses.cross_entropy).matrix
    gram, count = matrix @ matrix.T, len(matrix)
    generator = torch.Generator().manual_seed(0)
    overall = float(gram.mean())  # ‖mean gradient of all‖²
    found = {}
    for size in SIZES:
        rows = torch.randint(count, (draws, size), generator=generator)
        squares = torch.stack([gram[r][:, r].mean() for r in rows])
        crosses = torch.stack([gram[r].mean() for r in rows])
        variance = float((squares - 2 * crosses + overall).mean())
        found[size] = (float(squares.mean()) ** 0.5, variance)
    return found


@claim("it is just a constant factor")
def constant_factor() -> Finding:
    """The scale between sum and mean on the batches of an epoch of 1797 digits, by the Gram matrix."""
    from suite import Units, per_sample_gradients
    from suite.algebra.discrepancy import compare
    from suite.conventions import conventions

    scales = []
    net = model()
    for batch in batches(BATCH, 1797):
        units = Units.of(len(batch[0]))
        gram = per_sample_gradients(net, batch, cases.losses.cross_entropy).gram()
        columns = [conventions[name].coefficients(units, gram) for name in ("sum", "mean")]
        scale = compare(gram, *columns).scale
        assert scale is not None  # noqa: S101  no batch of digits has a zero gradient
        scales.append(scale)
    full, last = set(scales[:-1]), scales[-1]
    return settle(
        f"sum is {', '.join(f'{s:g}' for s in sorted(full))} times mean on {len(scales) - 1} batches of "
        f"{BATCH}, and {last:g} times on the last one",
        {"all batches have one size": len(full) == 1, "the last batch is smaller": {last} == full},
        scales=scales,
    )


@claim("the optimal learning rate is much higher than for online gradient descent")
def higher_rate() -> Finding:
    """One epoch of SGD over 640 digits at learning rates 2^-7 to 2^3: the rate of least loss after it."""
    rates = [2.0**power for power in range(-7, 4)]
    best = {}
    for size in (1, BATCH):
        after = {rate: np.mean([train(model(seed), size, rate) for seed in (0, 1)]) for rate in rates}
        best[size] = min(after, key=lambda rate: after[rate])
    online, averaged = best[1], best[BATCH]
    return settle(
        f"least loss at lr {online:g} online, {averaged:g} for the average of {BATCH} and "
        f"{averaged / BATCH:g} for their sum",
        {
            "gradients are averaged": averaged >= 4 * online,
            "gradients are summed": averaged / BATCH >= 4 * online,
        },
        online=online,
        averaged=averaged,
        summed=averaged / BATCH,
    )


@claim("averaged, the magnitude of the gradient is independent of the batch size")
def independent_magnitude() -> Finding:
    """The exponent of n in the norm, fitted over n = 1 to 256, before training and after twenty epochs."""
    early, late = model(), model()
    train(late, BATCH, 0.5, samples=1797, epochs=20)
    exponents = {
        name: exponent({n: size for n, (size, _) in drawn(net).items()})
        for name, net in (("the network is untrained", early), ("the network is trained", late))
    }
    first, then = exponents.values()
    return settle(
        f"norm ∝ n^{first:.2f} before training and n^{then:.2f} after it; summed: n^{1 + first:.2f} and "
        f"n^{1 + then:.2f}",
        {name: abs(found) < 0.05 for name, found in exponents.items()},
        exponents=exponents,
    )


@claim("the larger the batch the smoother the gradient")
def smoother() -> Finding:
    """The exponent of n in the variance of the gradient, fitted over n = 1 to 256."""
    found = drawn(model())
    averaged = exponent({n: variance for n, (_, variance) in found.items()})
    summed = exponent({n: n**2 * variance for n, (_, variance) in found.items()})
    relative = exponent({n: variance / size**2 for n, (size, variance) in found.items()})
    return settle(
        f"variance ∝ n^{averaged:.2f} averaged, n^{summed:.2f} summed; relative to the squared norm n^"
        f"{relative:.2f} for both",
        {
            "gradients are averaged": averaged < 0,
            "smoothness is relative to the gradient": relative < 0,
            "gradients are summed": summed < 0,
        },
        averaged=averaged,
        summed=summed,
        relative=relative,
    )


@claim("with L2 regularisation, averaging keeps the weights from getting too large")
def l2_keeps_weights_small() -> Finding:
    """300 steps of SGD with weight_decay 0.01 on the average and on the sum of 32 digits, lr/n for it."""
    sizes = {
        "average": _size("mean", 0.5, 0.01),
        "sum, weight_decay kept": _size("sum", 0.5 / BATCH, 0.01),
        "sum, weight_decay × n": _size("sum", 0.5 / BATCH, 0.01 * BATCH),
    }
    average, kept, scaled = sizes.values()
    return settle(
        f"‖w‖ = {average:.4f} averaged; summed with lr/n {kept:.4f}, with weight_decay·n too {scaled:.4f}",
        {
            "weight_decay is left as it is": average < kept * (1 - ROUNDING),
            "weight_decay is multiplied by n for the sum": average < scaled * (1 - 1e-6),
        },
        norms=sizes,
    )


def _size(reduction: str, rate: float, decay: float) -> float:
    from suite.equivalence import trajectory as training

    settings = {"lr": rate, "weight_decay": decay}
    *_, last = training.trajectory(model(), _backward(reduction), "SGD", settings, steps=300)
    return float(last.norm())


def _backward(reduction: str) -> Callable[[nn.Module, int], Tensor]:
    (batch,) = batches(BATCH, BATCH)

    def backward(net: nn.Module, step: int) -> Tensor:
        del step
        losses = cases.losses.cross_entropy(net, batch)
        loss = losses.sum() if reduction == "sum" else losses.mean()
        loss.backward()
        return loss.detach()

    return backward


OPTIMIZERS: dict[str, list[tuple[str, dict[str, float]]]] = {
    "SGD, with or without momentum": [("SGD", {}), ("SGD", {"momentum": 0.9})],
    "SGD with weight decay": [("SGD", {"weight_decay": 0.01})],
    "SGD with clipping by norm": [("SGD", {"max_norm": 0.5})],
    "Adam": [("Adam", {})],
    "Adagrad": [("Adagrad", {})],
    "RMSprop": [("RMSprop", {})],
}


@claim("the factor can be balanced by the learning rate")
def balanced_by_the_rate() -> Finding:
    """Thirty steps on the average and on the sum of 32 digits; the rate of the latter lr/n, or lr."""
    from suite.equivalence import trajectory as training

    apart = {}
    for name, runs in OPTIMIZERS.items():
        worst = 0.0
        for optimizer, given in runs:
            given = dict(given)
            max_norm = given.pop("max_norm", None)

            def side(
                reduction: str,
                rate: float,
                optimizer: str = optimizer,
                given: dict[str, float] = given,
                max_norm: float | None = max_norm,
            ) -> list[Tensor]:
                settings = {"lr": rate, **given}
                return list(
                    training.trajectory(
                        model(), _backward(reduction), optimizer, settings, steps=30,
                        max_norm=max_norm, clip="plain",
                    )
                )  # fmt: skip

            average = side("mean", 0.01)
            worst = max(
                worst,
                min(training.distance(average, side("sum", rate)) for rate in (0.01 / BATCH, 0.01)),
            )
        apart[name] = worst
    told = ", ".join(f"{size:.1g} {name}" for name, size in apart.items())
    return settle(
        f"weights apart after 30 steps, with the better of lr/n and lr: {told}",
        {f"the optimizer is {name}": size <= ROUNDING for name, size in apart.items()},
        apart=apart,
    )


CLAIMS = (
    constant_factor,
    higher_rate,
    balanced_by_the_rate,
    independent_magnitude,
    smoother,
    l2_keeps_weights_small,
)
