"""How each kind of layer gives its pieces, from its input and the gradient of its output."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor, nn

from suite.engines.engine import Refused
from suite.engines.streaming.pieces import Formed, Held, Lookup, Outer, Piece, Positions

Names = Mapping[str, str]


@dataclass(frozen=True)
class Use:
    """One call of a layer, with what came back.

    Args:
        input: `[rows, …]`, rows being samples, or several consecutive rows for each sample.
        b: `[rows, parts, …]` the gradient of each part's losses by the output.
        samples: the number of samples.
        buffer: how many numbers may be formed at a time.
    """

    input: Tensor
    b: Tensor
    samples: int
    buffer: int

    @property
    def folded(self) -> int:
        """How many rows there are for each sample."""
        return len(self.input) // self.samples

    def by_unit(self, rows: Tensor) -> Tensor:
        """`[units, …]` of `[rows, parts, …]`, the rows of a sample added up."""
        if self.folded > 1:
            rows = rows.unflatten(0, (self.samples, self.folded)).sum(1)
        return rows.flatten(0, 1)


def linear(module: nn.Linear, uses: Sequence[Use], names: Names) -> list[Piece]:
    """Outer products; calls, and rows of one sample, are so many positions."""
    inputs, outputs = module.in_features, module.out_features
    a = torch.cat([u.input.reshape(u.samples, -1, inputs) for u in uses], dim=1)
    parts = uses[0].b.shape[1]
    folded = [u.b.reshape(u.samples, u.folded, parts, -1, outputs).transpose(1, 2) for u in uses]
    b = torch.cat([rows.flatten(2, 3) for rows in folded], dim=2)  # [samples, parts, positions, outputs]
    if a.shape[1] == 1:
        return [Outer(names.get("weight"), names.get("bias"), a[:, 0], b[:, :, 0].flatten(0, 1))]
    pieces: list[Piece] = []
    if "weight" in names:
        held, shape = Held(a.transpose(1, 2)[:, None]), (outputs, inputs)
        pieces.append(Positions(names["weight"], shape, held, b.mT[:, :, None], uses[0].buffer))
    if "bias" in names:
        pieces.append(Formed({names["bias"]: b.sum(2).flatten(0, 1)}))
    return pieces


@dataclass(frozen=True)
class Unfolded:
    """The patches that a convolution's kernel meets, laid out when they are asked for.

    Args:
        module: the convolution.
        input: `[rows, channels, …]`.
        samples: the number of samples.
        places: the number of places that the kernel is put at.
    """

    module: Any
    input: Tensor
    samples: int
    places: int

    @property
    def shape(self) -> tuple[int, int, int, int]:  # type: ignore[override]
        """`(samples, groups, inputs, positions)`."""
        module = self.module
        inputs = module.in_channels // module.groups * prod(module.kernel_size)
        return self.samples, module.groups, inputs, len(self.input) // self.samples * self.places

    def take(self, start: int, stop: int) -> Tensor:
        """`[stop − start, groups, inputs, positions]`, in one copy out of a view by strides."""
        module, folded = self.module, len(self.input) // self.samples
        x = self.input[start * folded : stop * folded]
        padding = module._reversed_padding_repeated_twice  # noqa: SLF001  "same" is in it, already in numbers
        if any(padding):
            mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
            x = F.pad(x, padding, mode=mode)
        channels = module.in_channels // module.groups
        out = [
            (size - dilation * (kernel - 1) - 1) // stride + 1
            for size, kernel, stride, dilation in zip(
                x.shape[2:], module.kernel_size, module.stride, module.dilation, strict=True
            )
        ]
        rows, channel, *steps = x.stride()
        view = x.as_strided(
            (len(x), module.groups, channels, *module.kernel_size, *out),
            (
                rows,
                channels * channel,
                channel,
                *(s * d for s, d in zip(steps, module.dilation, strict=True)),
                *(s * d for s, d in zip(steps, module.stride, strict=True)),
            ),
        )
        patches = view.reshape(len(x), module.groups, channels * prod(module.kernel_size), -1)
        if folded > 1:
            patches = patches.unflatten(0, (-1, folded)).permute(0, 2, 3, 1, 4).flatten(3)
        return patches


def convolution(module: Any, uses: Sequence[Use], names: Names) -> list[Piece]:
    """Outer products over the places of the kernel, group by group."""
    pieces: list[Piece] = []
    for use in uses:
        places = prod(use.b.shape[3:])
        b = use.b.unflatten(2, (module.groups, -1)).flatten(4)  # [rows, parts, groups, outputs, places]
        if use.folded > 1:
            b = b.unflatten(0, (use.samples, use.folded)).permute(0, 2, 3, 4, 1, 5).flatten(4)
        if "weight" in names:
            a = Unfolded(module, use.input, use.samples, places)
            shape = tuple(module.weight.shape)
            pieces.append(Positions(names["weight"], shape, a, b, use.buffer))
        if "bias" in names:
            pieces.append(Formed({names["bias"]: b.sum(4).flatten(2).flatten(0, 1)}))
    return pieces


def embedding(module: nn.Embedding, uses: Sequence[Use], names: Names) -> list[Piece]:
    """Rows of a table."""
    pieces: list[Piece] = []
    for use in uses:
        tokens = use.input.reshape(len(use.input), -1)
        b = use.b.reshape(*use.b.shape[:2], -1, module.embedding_dim)
        if module.scale_grad_by_freq:
            counts = tokens.unique(return_inverse=True, return_counts=True)
            b = b / counts[2][counts[1]][:, None, :, None]
        if module.padding_idx is not None:
            tokens = tokens.masked_fill(tokens == module.padding_idx, -1)
        tokens = tokens.reshape(use.samples, -1)
        b = b.unflatten(0, (use.samples, use.folded)).transpose(1, 2).flatten(2, 3)
        pieces.append(Lookup(names["weight"], tokens, b, module.num_embeddings, use.buffer))
    return pieces


def _affine(normalised: Callable[[Any, Tensor], Tensor], *, channels: bool) -> Layer:
    """A layer that normalises, then multiplies by its weight and adds its bias."""

    def pieces(module: Any, uses: Sequence[Use], names: Names) -> list[Piece]:
        found: list[Piece] = []
        for use in uses:
            shape = (use.input.shape[1],) if channels else tuple(module.normalized_shape)

            def added(values: Tensor, use: Use = use, shape: tuple[int, ...] = shape) -> Tensor:
                if channels:
                    values = values.flatten(3).sum(3) if values.ndim > 3 else values
                else:
                    values = values.flatten(1 + 1, -len(shape) - 1) if values.ndim > 2 + len(shape) else values
                    values = values.sum(2) if values.ndim > 2 + len(shape) else values
                return use.by_unit(values)

            blocks = {}
            if "weight" in names:
                x = normalised(module, use.input)
                blocks[names["weight"]] = added(use.b * x[:, None])
            if "bias" in names:
                blocks[names["bias"]] = added(use.b)
            found.append(Formed(blocks))
        return found

    return pieces


def _instance(module: Any, x: Tensor) -> Tensor:
    if module.track_running_stats and not module.training:
        return F.instance_norm(
            x, module.running_mean, module.running_var, use_input_stats=False, eps=module.eps
        )
    return F.instance_norm(x, eps=module.eps)


def _batch(module: Any, x: Tensor) -> Tensor:
    if module.training or module.running_mean is None:
        raise Refused(f"cannot separate the samples that {type(module).__name__} normalises together")
    return F.batch_norm(x, module.running_mean, module.running_var, eps=module.eps)


Layer = Callable[[Any, Sequence[Use], Names], list[Piece]]

LAYERS: dict[type[nn.Module], Layer] = {
    nn.Linear: linear,
    nn.Conv1d: convolution,
    nn.Conv2d: convolution,
    nn.Conv3d: convolution,
    nn.Embedding: embedding,
    nn.LayerNorm: _affine(
        lambda m, x: F.layer_norm(x, m.normalized_shape, eps=m.eps), channels=False
    ),
    nn.RMSNorm: _affine(lambda m, x: F.rms_norm(x, m.normalized_shape, eps=m.eps), channels=False),
    nn.GroupNorm: _affine(lambda m, x: F.group_norm(x, m.num_groups, eps=m.eps), channels=True),
    nn.InstanceNorm1d: _affine(_instance, channels=True),
    nn.InstanceNorm2d: _affine(_instance, channels=True),
    nn.InstanceNorm3d: _affine(_instance, channels=True),
    nn.BatchNorm1d: _affine(_batch, channels=True),
    nn.BatchNorm2d: _affine(_batch, channels=True),
    nn.BatchNorm3d: _affine(_batch, channels=True),
}
"""By exact type: a subclass may compute something else."""

BATCHED = {
    nn.Conv1d: 3, nn.Conv2d: 4, nn.Conv3d: 5,
    nn.InstanceNorm1d: 3, nn.InstanceNorm2d: 4, nn.InstanceNorm3d: 5,
}  # fmt: skip
"""The number of axes of an input that has rows, where one without is allowed too."""


def supported(module: nn.Module) -> bool:
    """Whether the layer's unit gradients follow from its input and its output's gradient."""
    if type(module) not in LAYERS:
        return False
    return not (isinstance(module, nn.Embedding) and (module.max_norm is not None or module.sparse))


def rows(module: nn.Module, given: Tensor) -> int:
    """How many rows an input has; 0 where it has none."""
    if given.ndim != BATCHED.get(type(module), given.ndim):
        return 0
    own = len(module.normalized_shape) if isinstance(module, nn.LayerNorm | nn.RMSNorm) else 0
    least = {nn.Linear: 2, nn.LayerNorm: own + 1, nn.RMSNorm: own + 1}.get(type(module), 1)
    return len(given) if given.ndim >= least else 0
