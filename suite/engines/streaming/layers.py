"""How each kind of layer gives its pieces, from its input and the gradient of its output."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor, nn

from suite.engines.engine import Refused
from suite.engines.streaming.embedding import Lookup
from suite.engines.streaming.layer_gradients import Formed, Outer
from suite.engines.streaming.outer_product import Piece
from suite.engines.streaming.patches import Unfolded
from suite.engines.streaming.positions import Held, Positions

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
    first = uses[0]
    if len(uses) == 1 and first.input.ndim == 2 and first.folded == 1:
        return [Outer(names.get("weight"), names.get("bias"), first.input, first.b.flatten(0, 1))]
    inputs, outputs = module.in_features, module.out_features
    a = _joined([u.input.reshape(u.samples, -1, inputs) for u in uses], dim=1)
    parts = uses[0].b.shape[1]
    folded = [u.b.reshape(u.samples, u.folded, parts, -1, outputs).transpose(1, 2) for u in uses]
    b = _joined([rows.flatten(2, 3) for rows in folded], dim=2)  # [samples, parts, positions, outputs]
    if a.shape[1] == 1:
        return [Outer(names.get("weight"), names.get("bias"), a[:, 0], b[:, :, 0].flatten(0, 1))]
    pieces: list[Piece] = []
    if "weight" in names:
        held, shape = Held(a.transpose(1, 2)[:, None]), (outputs, inputs)
        pieces.append(Positions(names["weight"], shape, held, b.mT[:, :, None], uses[0].buffer))
    if "bias" in names:
        pieces.append(Formed({names["bias"]: b.sum(2).flatten(0, 1)}))
    return pieces


def _joined(parts: Sequence[Tensor], dim: int) -> Tensor:
    """The concatenation, which for a single tensor is no copy."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts), dim=dim)


def convolution(module: Any, uses: Sequence[Use], names: Names) -> list[Piece]:
    """Outer products over the places of the kernel, group by group."""
    pieces: list[Piece] = []
    for use in uses:
        b = use.b.unflatten(2, (module.groups, -1)).flatten(4)  # [rows, parts, groups, outputs, places]
        if use.folded > 1:
            b = b.unflatten(0, (use.samples, use.folded)).permute(0, 2, 3, 4, 1, 5).flatten(4)
        if "weight" in names:
            a = Unfolded(module, use.input, use.samples, tuple(use.b.shape[3:]))
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


def group_norm(module: nn.GroupNorm, uses: Sequence[Use], names: Names) -> list[Piece]:
    """The sums over places, channel by channel."""
    return [_channels(use, names, module.num_groups, module.eps) for use in uses]


def instance_norm(module: Any, uses: Sequence[Use], names: Names) -> list[Piece]:
    """The same, each channel being normalised by itself, or by what was tracked."""
    if module.track_running_stats and not module.training:
        return [_tracked(module, use, names) for use in uses]
    return [_channels(use, names, use.input.shape[1], module.eps) for use in uses]


def batch_norm(module: Any, uses: Sequence[Use], names: Names) -> list[Piece]:
    """Normalised by what was tracked.

    Raises:
        Refused: It is by the batch.
    """
    if module.training or module.running_mean is None:
        raise Refused(f"cannot separate the samples that {type(module).__name__} normalises together")
    return [_tracked(module, use, names) for use in uses]


def _channels(use: Use, names: Names, groups: int, eps: float) -> Piece:
    """With all rows' channels as the channels of one row, torch's own backward pass sums each by itself."""
    rows, channels = use.input.shape[:2]
    x = use.input.reshape(rows, channels, -1).contiguous()
    _, mean, scale = torch.native_group_norm(x, None, None, rows, channels, x.shape[2], groups, eps)
    mean, scale = mean.view(1, -1), scale.view(1, -1)
    wide = (1, rows * channels, x.shape[2], rows * groups)
    x = x.view(1, rows * channels, -1)
    by_part = []
    for part in use.b.unbind(1):
        b = part.reshape(1, rows * channels, -1).contiguous()
        _, weight, bias = torch.ops.aten.native_group_norm_backward(
            b, x, mean, scale, mean.new_ones(wide[1]), *wide, [False, True, True]
        )
        by_part.append({"weight": weight, "bias": bias})
    blocks = {}
    for kind, name in names.items():
        stacked = torch.stack([found[kind].view(rows, channels) for found in by_part], dim=1)
        blocks[name] = use.by_unit(stacked)
    return Formed(blocks)


def _tracked(module: Any, use: Use, names: Names) -> Piece:
    """The input is shifted and scaled channel by channel, by numbers that no sample has a part in."""
    b = use.b.flatten(3) if use.b.ndim > 3 else use.b[..., None]
    blocks = {}
    if "weight" in names:
        x = use.input.reshape(*use.input.shape[:2], -1)
        scale = (module.running_var + module.eps).rsqrt()
        x = (x - module.running_mean[:, None]) * scale[:, None]
        blocks[names["weight"]] = use.by_unit((b * x[:, None]).sum(3))
    if "bias" in names:
        blocks[names["bias"]] = use.by_unit(b.sum(3))
    return Formed(blocks)


def layer_norm(module: nn.LayerNorm, uses: Sequence[Use], names: Names) -> list[Piece]:
    """The sums over positions."""
    shape = module.normalized_shape
    return [_last_axes(use, names, F.layer_norm(use.input, shape, eps=module.eps), shape) for use in uses]


def rms_norm(module: nn.RMSNorm, uses: Sequence[Use], names: Names) -> list[Piece]:
    """The sums over positions."""
    shape = module.normalized_shape
    return [_last_axes(use, names, F.rms_norm(use.input, shape, eps=module.eps), shape) for use in uses]


def _last_axes(use: Use, names: Names, x: Tensor, shape: Sequence[int]) -> Piece:
    rows, parts = use.b.shape[:2]
    x, b = x.reshape(rows, 1, -1, *shape), use.b.reshape(rows, parts, -1, *shape)
    blocks = {}
    if "weight" in names:
        blocks[names["weight"]] = use.by_unit((b * x).sum(2))
    if "bias" in names:
        blocks[names["bias"]] = use.by_unit(b.sum(2))
    return Formed(blocks)


Layer = Callable[[Any, Sequence[Use], Names], list[Piece]]

LAYERS: dict[type[nn.Module], Layer] = {
    nn.Linear: linear,
    nn.Conv1d: convolution,
    nn.Conv2d: convolution,
    nn.Conv3d: convolution,
    nn.Embedding: embedding,
    nn.LayerNorm: layer_norm,
    nn.RMSNorm: rms_norm,
    nn.GroupNorm: group_norm,
    nn.InstanceNorm1d: instance_norm,
    nn.InstanceNorm2d: instance_norm,
    nn.InstanceNorm3d: instance_norm,
    nn.BatchNorm1d: batch_norm,
    nn.BatchNorm2d: batch_norm,
    nn.BatchNorm3d: batch_norm,
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
