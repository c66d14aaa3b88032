"""Optimizers that torch has not, written as their papers and packages print them: small, slow, in float64."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from suite.equivalence.laws import law

Group = dict[str, Any]


class Published(torch.optim.Optimizer):
    """What all have: hyperparameters and defaults of the law, and one update a parameter."""

    of = ""

    def __init__(self, params: Any, **given: Any) -> None:
        super().__init__(params, law(self.of).settings(given))

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        with torch.enable_grad():
            loss = closure()
        self.before()
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                state["step"] = state.get("step", 0) + 1
                self.update(p, p.grad.clone(), state, group)
        return loss

    def before(self) -> None:
        """What is done to all gradients first."""

    def update(self, p: Tensor, g: Tensor, state: Group, group: Group) -> None:
        raise NotImplementedError

    def moments(
        self, g: Tensor, state: Group, group: Group, *, correct: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Adam's two averages."""
        b1, b2 = group["betas"]
        m = state["exp_avg"] = b1 * state.get("exp_avg", 0 * g) + (1 - b1) * g
        v = state["exp_avg_sq"] = b2 * state.get("exp_avg_sq", 0 * g) + (1 - b2) * g * g
        t = state["step"] if correct else 10**9
        return m / (1 - b1**t), v / (1 - b2**t)


class Lion(Published):
    of = "lion_pytorch:Lion"

    def update(self, p: Tensor, g: Tensor, state: Group, group: Group) -> None:
        b1, b2 = group["betas"]
        average = state.get("exp_avg", 0 * g)
        p.mul_(1 - group["lr"] * group["weight_decay"])
        p.sub_(group["lr"] * (b1 * average + (1 - b1) * g).sign())
        state["exp_avg"] = b2 * average + (1 - b2) * g


class Lamb(Published):
    of = "pytorch_optimizer:Lamb"

    def before(self) -> None:
        group = self.param_groups[0]
        if group["pre_norm"]:
            norm = torch.cat([p.grad.flatten() for p in group["params"]]).norm() + group["eps"]
            for p in group["params"]:
                p.grad.mul_((group["max_grad_norm"] / norm).clamp(max=1))

    def update(self, p: Tensor, g: Tensor, state: Group, group: Group) -> None:
        m, v = self.moments(g, state, group, correct=False)
        p.mul_(1 - group["lr"] * group["weight_decay"])
        step = m / (v.sqrt() + group["eps"])
        rate = group["lr"] / (1 - group["betas"][0] ** state["step"])  # the package corrects the first moment
        p.sub_(rate * p.norm().clamp(max=10) / (step.norm() + group["eps"]) * step)


class FusedLAMB(Published):
    of = "apex:FusedLAMB"

    def before(self) -> None:
        norm = torch.cat([p.grad.flatten() for group in self.param_groups for p in group["params"]]).norm()
        for group in self.param_groups:
            for p in group["params"]:
                p.grad.div_((norm / group["max_grad_norm"]).clamp(min=1))

    def update(self, p: Tensor, g: Tensor, state: Group, group: Group) -> None:
        coupled = 0 if group["adam_w_mode"] else group["weight_decay"]
        m, v = self.moments(g + coupled * p, state, group)
        step = m / (v.sqrt() + group["eps"]) + (group["weight_decay"] - coupled) * p
        p.sub_(group["lr"] * p.norm() / step.norm() * step)


class LARS(Published):
    of = "pytorch_optimizer:LARS"

    def update(self, p: Tensor, g: Tensor, state: Group, group: Group) -> None:
        if p.ndim > 1:
            decay = group["weight_decay"]
            ratio = group["trust_coefficient"] * p.norm() / (g.norm() + decay * p.norm())
            g = ratio * (g + decay * p)
        v = group["momentum"] * state.get("momentum_buffer", 0 * g) + (1 - group["dampening"]) * g
        state["momentum_buffer"] = v
        p.sub_(group["lr"] * (g + group["momentum"] * v if group["nesterov"] else v))


def power(matrix: Tensor, exponent: float) -> Tensor:
    """A power of a symmetric matrix."""
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * values**exponent @ vectors.T


class Shampoo(Published):
    of = "pytorch_optimizer:Shampoo"

    def update(self, p: Tensor, g: Tensor, state: Group, group: Group) -> None:
        if not group["weight_decouple"]:
            g = g + group["weight_decay"] * p
        else:
            p.mul_(1 - group["lr"] * group["weight_decay"])
        matrix = g.reshape(len(g), -1)
        sides = [matrix @ matrix.T] + ([matrix.T @ matrix] if g.ndim > 1 else [])
        for axis, outer in enumerate(sides):
            start = group["matrix_eps"] * torch.eye(len(outer), dtype=g.dtype)
            state[f"pre_cond_{axis}"] = state.get(f"pre_cond_{axis}", start) + outer
        order = len(sides)
        step = power(state["pre_cond_0"], -1 / (2 * order)) @ matrix
        if order == 2:
            step = step @ power(state["pre_cond_1"], -1 / (2 * order))
        p.sub_(group["lr"] * step.reshape(p.shape))


class SOAP(Published):
    of = "pytorch_optimizer:SOAP"

    def update(self, p: Tensor, g: Tensor, state: Group, group: Group) -> None:
        b2 = group["betas"][1]
        matrix = g.reshape(len(g), -1)
        for side, outer in (("L", matrix @ matrix.T), ("R", matrix.T @ matrix)):
            state[side] = b2 * state.get(side, outer) + (1 - b2) * outer
            if f"Q{side}" not in state:
                state[f"Q{side}"] = torch.linalg.eigh(outer)[1]
        left, right = state["QL"], state["QR"]
        m, v = self.moments(left.T @ matrix @ right, state, group)
        step = left @ (m / (v.sqrt() + group["eps"])) @ right.T
        p.sub_(group["lr"] * step.reshape(p.shape))
        p.mul_(1 - group["lr"] * group["weight_decay"])


class SophiaG(Published):
    of = "sophia:SophiaG"

    def update(self, p: Tensor, g: Tensor, state: Group, group: Group) -> None:
        b1, b2 = group["betas"]
        m = state["exp_avg"] = b1 * state.get("exp_avg", 0 * g) + (1 - b1) * g
        h = state["hessian"] = b2 * state.get("hessian", 0 * g) + (1 - b2) * g * g
        p.mul_(1 - group["lr"] * group["weight_decay"])
        p.sub_(group["lr"] * m.sign() * (m.abs() / (group["rho"] * h + 1e-15)).clamp(max=1))


class Prodigy(Published):
    of = "prodigyopt:Prodigy"

    def before(self) -> None:
        group = self.param_groups[0]
        b1, b2 = group["betas"]
        d, lr = group.setdefault("d", group["d0"]), group["lr"]
        self.rate, b3 = d * lr, b2**0.5
        numerator, denominator = b3 * group.get("d_numerator", 0.0), 0.0
        for p in group["params"]:
            state, g = self.state[p], p.grad
            g.add_((0 if group["decouple"] else group["weight_decay"]) * p)
            start = state.setdefault("p0", p.clone())
            state["exp_avg"] = b1 * state.get("exp_avg", 0 * g) + d * (1 - b1) * g
            state["exp_avg_sq"] = b2 * state.get("exp_avg_sq", 0 * g) + d * d * (1 - b2) * g * g
            state["s"] = b3 * state.get("s", 0 * g) + d / group["d0"] * self.rate * g
            numerator += d / group["d0"] * self.rate * float((g * (start - p)).sum())
            denominator += float(state["s"].abs().sum())
        group["d_numerator"] = numerator
        group["d_before"], group["d"] = d, max(d, group["d_coef"] * numerator / denominator)

    def update(self, p: Tensor, g: Tensor, state: Group, group: Group) -> None:
        if group["decouple"]:
            p.mul_(1 - group["weight_decay"] * self.rate)
        p.sub_(self.rate * state["exp_avg"] / (state["exp_avg_sq"].sqrt() + group["d"] * group["eps"]))


class ScheduleFree(Published):
    """What both have: the weights are the point y at which gradients are taken."""

    def average(self, p: Tensor, step: Tensor, state: Group, group: Group, beta: float) -> None:
        z, lr = state.setdefault("z", p.clone()), group["lr"]
        weight = state["step"] ** group["r"] * lr ** group["weight_lr_power"]
        state["sum"] = state.get("sum", 0.0) + weight
        c = weight / state["sum"]
        x = (p - (1 - beta) * z) / beta
        z.sub_(lr * step)
        p.copy_((1 - beta) * z + beta * ((1 - c) * x + c * z))


class AdamWScheduleFree(ScheduleFree):
    of = "schedulefree:AdamWScheduleFree"

    def update(self, p: Tensor, g: Tensor, state: Group, group: Group) -> None:
        b1, b2 = group["betas"]
        v = state["exp_avg_sq"] = b2 * state.get("exp_avg_sq", 0 * g) + (1 - b2) * g * g
        step = g / ((v / (1 - b2 ** state["step"])).sqrt() + group["eps"])
        self.average(p, step + group["weight_decay"] * p, state, group, b1)


class SGDScheduleFree(ScheduleFree):
    of = "schedulefree:SGDScheduleFree"

    def update(self, p: Tensor, g: Tensor, state: Group, group: Group) -> None:
        self.average(p, g + group["weight_decay"] * p, state, group, group["momentum"])


class FusedAdam(Published):
    of = "apex:FusedAdam"

    def update(self, p: Tensor, g: Tensor, state: Group, group: Group) -> None:
        coupled = 0 if group["adam_w_mode"] else group["weight_decay"]
        m, v = self.moments(g + coupled * p, state, group)
        p.sub_(group["lr"] * (m / (v.sqrt() + group["eps"]) + (group["weight_decay"] - coupled) * p))


class DeepSpeedAdam(FusedAdam):
    of = "deepspeed:FusedAdam"


def in_8_bits(numbers: Tensor) -> Tensor:
    """Rounded to 127 steps of the largest."""
    largest = numbers.abs().max().clamp(min=1e-300)
    return (numbers / largest * 127).round() / 127 * largest


class AdamW8bit(Published):
    of = "bitsandbytes:AdamW8bit"

    def update(self, p: Tensor, g: Tensor, state: Group, group: Group) -> None:
        m, v = self.moments(g, state, group)
        p.mul_(1 - group["lr"] * group["weight_decay"])
        p.sub_(group["lr"] * m / (v.sqrt() + group["eps"]))
        state["exp_avg"], state["exp_avg_sq"] = in_8_bits(state["exp_avg"]), in_8_bits(state["exp_avg_sq"])


class Adam8bit(AdamW8bit):
    of = "bitsandbytes:Adam8bit"


class Adafactor(Published):
    of = "transformers:Adafactor"

    def update(self, p: Tensor, g: Tensor, state: Group, group: Group) -> None:
        beta2 = 1 - state["step"] ** group["decay_rate"]
        squares = g * g + group["eps"][0]
        if p.ndim > 1:
            row, col = squares.mean(-1), squares.mean(-2)
            row = state["exp_avg_sq_row"] = beta2 * state.get("exp_avg_sq_row", 0 * row) + (1 - beta2) * row
            col = state["exp_avg_sq_col"] = beta2 * state.get("exp_avg_sq_col", 0 * col) + (1 - beta2) * col
            v = row[:, None] * col / row.mean()
        else:
            v = state["exp_avg_sq"] = beta2 * state.get("exp_avg_sq", 0 * g) + (1 - beta2) * squares
        step = g / v.sqrt()
        step = step / (step.square().mean().sqrt() / group["clip_threshold"]).clamp(min=1)
        rate = group["lr"] * (
            p.square().mean().sqrt().clamp(min=group["eps"][1]) if group["scale_parameter"] else 1
        )
        p.mul_(1 - group["weight_decay"] * rate)
        p.sub_(rate * step)


class SophiaH(Published):
    of = "pytorch_optimizer:SophiaH"

    def step(self, closure: Any = None, hessian: list[Tensor] | None = None) -> Any:
        self.curvature = dict(zip(self.param_groups[0]["params"], hessian, strict=True)) if hessian else {}
        return super().step(closure)

    def update(self, p: Tensor, g: Tensor, state: Group, group: Group) -> None:
        b1, b2 = group["betas"]
        if group["weight_decouple"]:
            p.mul_(1 - group["lr"] * group["weight_decay"])
        else:
            g = g + group["weight_decay"] * p
        m = state["momentum"] = b1 * state.get("momentum", 0 * g) + (1 - b1) * g
        h = b2 * state.get("hessian_moment", 0 * g) + (1 - b2) * self.curvature[p]
        state["hessian_moment"] = h
        p.sub_(group["lr"] * (m / h.clamp(min=group["eps"])).clamp(-group["p"], group["p"]))


PUBLISHED: dict[str, type[Published]] = {
    one.of: one
    for one in (
        *(Lion, Lamb, FusedLAMB, LARS, Shampoo, SOAP, SophiaG, SophiaH, Prodigy, AdamWScheduleFree),
        *(SGDScheduleFree, FusedAdam, DeepSpeedAdam, Adam8bit, AdamW8bit, Adafactor),
    )
}
"""By the name of the law."""
