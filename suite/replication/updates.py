"""Optimizers as papers' codes write them, one parameter at a time: oracles for the dialects of cards.

Each function takes the hyperparameters and gives `update(p, g, state, t)`, which moves the parameter `p`
by the gradient `g` in step `t` = 1, 2, …; `state` is a dictionary of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from suite.replication.step import Stepper, selected

if TYPE_CHECKING:
    from torch import nn

Update = Callable[[Tensor, Tensor, dict[str, Tensor], int], None]


def by_hand(update: Update, **groups: Update) -> Stepper:
    """A stepper with this update, and others for `groups` of parameters, by `suite.papers.schema.SELECT`."""

    def stepper(model: nn.Module) -> Callable[[], None]:
        of = {name: update for name, _ in model.named_parameters()}
        for select, other in groups.items():
            of |= dict.fromkeys(selected(model, select), other)
        states: dict[str, dict[str, Tensor]] = {name: {} for name in of}
        steps = 0

        def step() -> None:
            nonlocal steps
            steps += 1
            with torch.no_grad():
                for name, parameter in model.named_parameters():
                    assert parameter.grad is not None  # noqa: S101  the step leaves one for each
                    of[name](parameter, parameter.grad, states[name], steps)

        return step

    return stepper


def of_torch(
    cls: type[torch.optim.Optimizer], groups: Mapping[str, Mapping[str, Any]] | None = None, **settings: Any
) -> Stepper:
    """A stepper of torch's own optimizer; `groups` have other settings."""

    def stepper(model: nn.Module) -> Callable[[], None]:
        rest = dict(model.named_parameters())
        made = []
        for select, other in (groups or {}).items():
            made.append({"params": [rest.pop(n) for n in selected(model, select) if n in rest], **other})
        made.append({"params": list(rest.values())})
        optimizer = cls([group for group in made if group["params"]], **settings)

        def step() -> None:
            optimizer.step()

        return step

    return stepper


def sgd_rate_inside(lr: float, momentum: float = 0.0, weight_decay: float = 0.0) -> Update:
    """`v ← μv + η(g + λw), w ← w − v`: Caffe, Caffe2."""

    def update(p: Tensor, g: Tensor, state: dict[str, Tensor], _: int) -> None:
        v = momentum * state.get("v", torch.zeros_like(p)) + lr * (g + weight_decay * p)
        state["v"] = v
        p.sub_(v)

    return update


def sgd_darknet(lr: float, momentum: float, decay: float) -> Update:
    """`u ← u − g − λw, w ← w + ηu, u ← μu`, u without the batch that Darknet multiplies and divides by."""

    def update(p: Tensor, g: Tensor, state: dict[str, Tensor], _: int) -> None:
        u = state.get("u", torch.zeros_like(p)) - g - decay * p
        p.add_(lr * u)
        state["u"] = momentum * u

    return update


def adam_eps_hat(
    lr: float, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8, l2: float = 0.0
) -> Update:
    """`w ← w − η √(1−β2^t)/(1−β1^t) · m/(√v + ε̂)`: TensorFlow, Keras."""

    def update(p: Tensor, g: Tensor, state: dict[str, Tensor], t: int) -> None:
        g = g + l2 * p
        m = beta1 * state.get("m", torch.zeros_like(p)) + (1 - beta1) * g
        v = beta2 * state.get("v", torch.zeros_like(p)) + (1 - beta2) * g * g
        state["m"], state["v"] = m, v
        rate = lr * (1 - beta2**t) ** 0.5 / (1 - beta1**t)
        p.sub_(rate * m / (v.sqrt() + eps))

    return update


def adam_uncorrected(
    lr: float, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-6, weight_decay: float = 0.0
) -> Update:
    """`w ← w − η(m/(√v + ε) + λw)`, no bias correction: BERT."""

    def update(p: Tensor, g: Tensor, state: dict[str, Tensor], _: int) -> None:
        m = beta1 * state.get("m", torch.zeros_like(p)) + (1 - beta1) * g
        v = beta2 * state.get("v", torch.zeros_like(p)) + (1 - beta2) * g * g
        state["m"], state["v"] = m, v
        p.sub_(lr * (m / (v.sqrt() + eps) + weight_decay * p))

    return update


def rmsprop_root(
    lr: float,
    decay: float,
    eps: float,
    *,
    momentum: float = 0.0,
    start: float = 1.0,
    centered: bool = False,
    l2: float = 0.0,
) -> Update:
    """`v ← ρv + (1−ρ)g², b ← μb + ηg/√(v + ε), w ← w − b`, v from `start` on: TensorFlow 1; from 0: DQN."""

    def update(p: Tensor, g: Tensor, state: dict[str, Tensor], _: int) -> None:
        g = g + l2 * p
        v = decay * state.get("v", torch.full_like(p, start)) + (1 - decay) * g * g
        m = decay * state.get("m", torch.zeros_like(p)) + (1 - decay) * g
        root = v - m * m + eps if centered else v + eps
        b = momentum * state.get("b", torch.zeros_like(p)) + lr * g / root.sqrt()
        state["v"], state["m"], state["b"] = v, m, b
        p.sub_(b)

    return update


def lars(
    lr: float, momentum: float = 0.9, weight_decay: float = 0.0, eta: float = 0.001, *, adapted: bool = True
) -> Update:
    """`d ← g + λw, v ← μv + (η‖w‖/‖d‖)·d, w ← w − rate·v`; not `adapted`: a momentum step without decay."""

    def update(p: Tensor, g: Tensor, state: dict[str, Tensor], _: int) -> None:
        d = g
        if adapted:
            d = g + weight_decay * p
            d = d * (eta * p.norm() / d.norm() if p.norm() > 0 and d.norm() > 0 else 1.0)
        v = momentum * state.get("v", torch.zeros_like(p)) + d
        state["v"] = v
        p.sub_(lr * v)

    return update
