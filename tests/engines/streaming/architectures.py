"""Random models with a batch and losses, and the gradients of their units by definition."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from hypothesis import assume, reject
from hypothesis import strategies as st
from torch import Tensor, nn


@dataclass(frozen=True)
class Architecture:
    model: nn.Module
    batch: Any
    losses: Callable[[nn.Module, Any], Tensor]

    def cast(self, dtype: torch.dtype) -> Architecture:
        batch = tuple(t.to(dtype) if t.is_floating_point() else t for t in self.batch)
        return Architecture(copy.deepcopy(self.model).to(dtype), batch, self.losses)

    def unit_gradients(self) -> Tensor:
        """`[units, params]` one backward pass a unit."""
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        rows = []
        for loss in self.losses(self.model, self.batch).flatten():
            grads = torch.autograd.grad(loss, parameters, retain_graph=True, materialize_grads=True)
            rows.append(torch.cat([g.detach().flatten() for g in grads]))  # torch 2.6 leaves zeros attached
        return torch.stack(rows)


def one_term(model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
    return model(batch[0]).flatten(1).square().sum(1)


def two_terms(model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
    out = model(batch[0]).flatten(1)
    return torch.stack([out.square().sum(1), torch.cos(out).sum(1)], dim=1)


def copies(model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
    x = torch.stack([batch[0], batch[0].flip(-1)], dim=1)
    return model(x.flatten(0, 1)).flatten(1).square().sum(1).unflatten(0, (-1, 2))


class Residual(nn.Module):
    """Overwrites what the layer put out, and calls it again."""

    def __init__(self, inner: nn.Module, calls: int) -> None:
        super().__init__()
        self.inner, self.calls = inner, calls

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self.calls):
            x = x + self.inner(x).tanh_()
        return x


class Scaled(nn.Module):
    """A parameter of no layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(width) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


class Language(nn.Module):
    """Token and position tables, weights tied by module or by function or not at all."""

    def __init__(self, tied: str, shared_positions: bool, **options: Any) -> None:
        super().__init__()
        self.tied, self.shared_positions = tied, shared_positions
        self.token = nn.Embedding(6, 4, **options)
        self.position = nn.Embedding(3, 4)
        self.mix = nn.Linear(3, 3, bias=False)
        self.head = nn.Linear(4, 6)
        if tied == "module":
            self.head.weight = self.token.weight

    def forward(self, tokens: Tensor) -> Tensor:
        places = torch.arange(3) if self.shared_positions else torch.arange(3).expand(len(tokens), 3)
        x = torch.tanh(self.token(tokens) + self.position(places))
        x = x + self.mix(x.mT).mT
        return F.linear(x, self.token.weight) if self.tied == "function" else self.head(x)


@st.composite
def vectors(draw: st.DrawFn) -> tuple[nn.Module, tuple[Tensor, ...]]:
    n, width = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    middle = tuple(draw(st.lists(st.integers(1, 5), max_size=2)))
    layers: list[nn.Module] = []
    inputs = width
    for _ in range(draw(st.integers(1, 3))):
        outputs = draw(st.integers(1, 4))
        layers += [nn.Linear(inputs, outputs, bias=draw(st.booleans())), nn.Tanh()]
        inputs = outputs
        kind = draw(st.sampled_from(["", "", "layer", "rms", "residual", "scaled"]))
        if kind == "layer":
            layers.append(nn.LayerNorm(inputs, bias=draw(st.booleans())))
        elif kind == "rms":
            layers.append(nn.RMSNorm(inputs, eps=1e-5))  # None differs by dtype
        elif kind == "residual":
            layers.append(Residual(nn.Linear(inputs, inputs), draw(st.integers(1, 3))))
        elif kind == "scaled":
            layers.append(Scaled(inputs))
    return nn.Sequential(*layers), (torch.randn(n, *middle, width),)


@st.composite
def images(draw: st.DrawFn) -> tuple[nn.Module, tuple[Tensor, ...]]:
    dims = draw(st.integers(1, 3))
    conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dims - 1]
    n, channels = draw(st.integers(1, 4)), draw(st.sampled_from([1, 2, 4]))
    x = torch.randn(n, channels, *(draw(st.integers(4, 6)) for _ in range(dims)))
    layers: list[nn.Module] = []
    for _ in range(draw(st.integers(1, 2))):
        groups = draw(st.sampled_from([g for g in (1, 2, 4) if channels % g == 0]))
        outputs = groups * draw(st.integers(1, 2))
        mode = draw(st.sampled_from(["zeros", "zeros", "circular", "reflect", "replicate"]))
        padding = draw(st.sampled_from([0, 1, 2, "same", "valid"]))
        stride = 1 if padding == "same" else draw(st.integers(1, 2))
        layers.append(
            conv(
                channels, outputs, draw(st.integers(1, 2)), stride=stride, padding=padding,
                dilation=draw(st.integers(1, 2)), groups=groups, bias=draw(st.booleans()), padding_mode=mode,
            )
        )  # fmt: skip
        kind = draw(st.sampled_from(["", "group", "instance", "batch"]))
        if kind == "group":
            layers.append(nn.GroupNorm(draw(st.sampled_from([1, outputs])), outputs))
        elif kind == "instance":
            norm = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)[dims - 1]
            layers.append(norm(outputs, affine=True, track_running_stats=True).eval())
        elif kind == "batch":
            layers.append((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)[dims - 1](outputs).eval())
        layers.append(nn.Tanh())
        channels = outputs
    layout = draw(st.sampled_from(["contiguous", "channels last", "expanded"]))
    if layout == "channels last" and dims > 1:
        x = x.contiguous(memory_format=(torch.channels_last, torch.channels_last_3d)[dims - 2])
    elif layout == "expanded":
        x = x[:, :1].expand(x.shape)
    return nn.Sequential(*layers), (x,)


@st.composite
def languages(draw: st.DrawFn) -> tuple[nn.Module, tuple[Tensor, ...]]:
    options = {
        "padding_idx": draw(st.sampled_from([None, 0])),
        "scale_grad_by_freq": draw(st.booleans()),
    }
    tied = draw(st.sampled_from(["", "module", "function"]))
    if tied == "function":
        options = {}  # torch.func sees one sample: it has other frequencies, and no rows of padding
    model = Language(tied, draw(st.booleans()) and not options.get("scale_grad_by_freq"), **options)
    return model, (torch.randint(0, 6, (draw(st.sampled_from([1, 2, 4, 5])), 3)),)


@st.composite
def architectures(draw: st.DrawFn) -> Architecture:
    torch.manual_seed(draw(st.integers(0, 2**16)))
    model, batch = draw(st.one_of(vectors(), images(), languages()))
    trained = list(model.parameters())
    for parameter in trained:
        with torch.no_grad():
            parameter.copy_(torch.randn(parameter.shape) / parameter[0].numel() ** 0.5)
    keep = draw(st.integers(0, len(trained) - 1))
    for index, parameter in enumerate(trained):
        parameter.requires_grad_(index == keep or draw(st.integers(0, 4)) > 0)
    losses = draw(st.sampled_from([one_term, one_term, two_terms, copies]))
    found = Architecture(model, batch, losses).cast(torch.float64)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Using padding='same'")
            entries = losses(found.model, found.batch)
    except (RuntimeError, ValueError):  # a kernel or its padding is larger than the image has become
        reject()
    assume(entries.requires_grad)  # what is trained may not be used
    assume(found.unit_gradients().norm() > 1e-3)  # a norm of one or two numbers leaves rounding only
    return found
