"""The gradients of each kind of layer, from its input and the gradient of its output."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor, nn

from suite.engines.engine import Refused
from suite.engines.streaming.embedding import EmbeddingRows
from suite.engines.streaming.layer_gradients import LayerGradients
from suite.engines.streaming.outer_product import Formed, OuterProduct
from suite.engines.streaming.patches import Unfolded
from suite.engines.streaming.positions import Positions, StoredPatches

Names = Mapping[str, str]


@dataclass(frozen=True)
class LayerCall:
    """One call of a layer, with what came back.

    Args:
        input: `[rows, …]`, rows being samples, or several consecutive rows for each sample.
        b: `[rows, parts, …]` the gradient of each part's losses by the output.
        samples: the number of samples.
        memory: how many bytes of gradients may be formed at a time.
    """

    input: Tensor
    b: Tensor
    samples: int
    memory: int

    @property
    def folded(self) -> int:
        """How many rows there are for each sample."""
        return len(self.input) // self.samples

    def by_unit(self, rows: Tensor) -> Tensor:
        """`[units, …]` of `[rows, parts, …]`, the rows of a sample added up."""
        if self.folded > 1:
            rows = rows.unflatten(0, (self.samples, self.folded)).sum(1)
        return rows.flatten(0, 1)


def _linear(module: nn.Linear, calls: Sequence[LayerCall], names: Names) -> list[LayerGradients]:
    """Outer products; calls, and rows of one sample, are so many positions."""
    first = calls[0]
    if len(calls) == 1 and first.input.ndim == 2 and first.folded == 1:
        return [OuterProduct(names.get("weight"), names.get("bias"), first.input, first.b.flatten(0, 1))]
    inputs, outputs = module.in_features, module.out_features
    a = _joined([u.input.reshape(u.samples, -1, inputs) for u in calls], dim=1)
    parts = calls[0].b.shape[1]
    folded = [u.b.reshape(u.samples, u.folded, parts, -1, outputs).transpose(1, 2) for u in calls]
    b = _joined([rows.flatten(2, 3) for rows in folded], dim=2)  # [samples, parts, positions, outputs]
    if a.shape[1] == 1:
        return [OuterProduct(names.get("weight"), names.get("bias"), a[:, 0], b[:, :, 0].flatten(0, 1))]
    found: list[LayerGradients] = []
    if "weight" in names:
        held, shape = StoredPatches(a.transpose(1, 2)[:, None]), (outputs, inputs)
        found.append(Positions(names["weight"], shape, held, b.mT[:, :, None], calls[0].memory))
    if "bias" in names:
        found.append(Formed({names["bias"]: b.sum(2).flatten(0, 1)}))
    return found


def _joined(parts: Sequence[Tensor], dim: int) -> Tensor:
    """The concatenation, which for a single tensor is no copy."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts), dim=dim)


def _convolution(module: Any, calls: Sequence[LayerCall], names: Names) -> list[LayerGradients]:
    """Outer products over the places of the kernel, group by group."""
    found: list[LayerGradients] = []
    for call in calls:
        b = call.b.unflatten(2, (module.groups, -1)).flatten(4)  # [rows, parts, groups, outputs, places]
        if call.folded > 1:
            b = b.unflatten(0, (call.samples, call.folded)).permute(0, 2, 3, 4, 1, 5).flatten(4)
        if "weight" in names:
            a = Unfolded(module, call.input, call.samples, tuple(call.b.shape[3:]))
            shape = tuple(module.weight.shape)
            found.append(Positions(names["weight"], shape, a, b, call.memory))
        if "bias" in names:
            found.append(Formed({names["bias"]: b.sum(4).flatten(2).flatten(0, 1)}))
    return found


def _embedding(module: nn.Embedding, calls: Sequence[LayerCall], names: Names) -> list[LayerGradients]:
    """Rows of a table."""
    found: list[LayerGradients] = []
    for call in calls:
        tokens = call.input.reshape(len(call.input), -1)
        b = call.b.reshape(*call.b.shape[:2], -1, module.embedding_dim)
        if module.scale_grad_by_freq:
            counts = tokens.unique(return_inverse=True, return_counts=True)
            b = b / counts[2][counts[1]][:, None, :, None]
        if module.padding_idx is not None:
            tokens = tokens.masked_fill(tokens == module.padding_idx, -1)
        tokens = tokens.reshape(call.samples, -1)
        b = b.unflatten(0, (call.samples, call.folded)).transpose(1, 2).flatten(2, 3)
        found.append(EmbeddingRows(names["weight"], tokens, b, module.num_embeddings, call.memory))
    return found


def _group_norm(module: nn.GroupNorm, calls: Sequence[LayerCall], names: Names) -> list[LayerGradients]:
    """The sums over places, channel by channel."""
    return [_channels(call, names, module.num_groups, module.eps) for call in calls]


def _instance_norm(module: Any, calls: Sequence[LayerCall], names: Names) -> list[LayerGradients]:
    """The same, each channel being normalised by itself, or by what was tracked."""
    if module.track_running_stats and not module.training:
        return [_tracked(module, call, names) for call in calls]
    return [_channels(call, names, call.input.shape[1], module.eps) for call in calls]


def _batch_norm(module: Any, calls: Sequence[LayerCall], names: Names) -> list[LayerGradients]:
    """Normalised by what was tracked.

    Raises:
        Refused: It is by the batch.
    """
    if module.training or module.running_mean is None:
        raise Refused(f"cannot separate the samples that {type(module).__name__} normalises together")
    return [_tracked(module, call, names) for call in calls]


def _channels(call: LayerCall, names: Names, groups: int, eps: float) -> LayerGradients:
    """With all rows' channels as the channels of one row, torch's own backward pass sums each by itself."""
    rows, channels = call.input.shape[:2]
    x = call.input.reshape(rows, channels, -1).contiguous()
    _, mean, scale = torch.native_group_norm(x, None, None, rows, channels, x.shape[2], groups, eps)
    mean, scale = mean.view(1, -1), scale.view(1, -1)
    wide = (1, rows * channels, x.shape[2], rows * groups)
    x = x.view(1, rows * channels, -1)
    by_part = []
    for part in call.b.unbind(1):
        b = part.reshape(1, rows * channels, -1).contiguous()
        _, weight, bias = torch.ops.aten.native_group_norm_backward(
            b, x, mean, scale, mean.new_ones(wide[1]), *wide, [False, True, True]
        )
        by_part.append({"weight": weight, "bias": bias})
    blocks = {}
    for kind, name in names.items():
        stacked = torch.stack([found[kind].view(rows, channels) for found in by_part], dim=1)
        blocks[name] = call.by_unit(stacked)
    return Formed(blocks)


def _tracked(module: Any, call: LayerCall, names: Names) -> LayerGradients:
    """The input is shifted and scaled channel by channel, by numbers that no sample has a part in."""
    b = call.b.flatten(3) if call.b.ndim > 3 else call.b[..., None]
    blocks = {}
    if "weight" in names:
        x = call.input.reshape(*call.input.shape[:2], -1)
        scale = (module.running_var + module.eps).rsqrt()
        x = (x - module.running_mean[:, None]) * scale[:, None]
        blocks[names["weight"]] = call.by_unit((b * x[:, None]).sum(3))
    if "bias" in names:
        blocks[names["bias"]] = call.by_unit(b.sum(3))
    return Formed(blocks)


def _layer_norm(module: nn.LayerNorm, calls: Sequence[LayerCall], names: Names) -> list[LayerGradients]:
    """The sums over positions."""
    shape = module.normalized_shape
    return [_last_axes(call, names, F.layer_norm(call.input, shape, eps=module.eps), shape) for call in calls]


def _rms_norm(module: nn.RMSNorm, calls: Sequence[LayerCall], names: Names) -> list[LayerGradients]:
    """The sums over positions."""
    shape = module.normalized_shape
    return [_last_axes(call, names, F.rms_norm(call.input, shape, eps=module.eps), shape) for call in calls]


def _last_axes(call: LayerCall, names: Names, x: Tensor, shape: Sequence[int]) -> LayerGradients:
    rows, parts = call.b.shape[:2]
    x, b = x.reshape(rows, 1, -1, *shape), call.b.reshape(rows, parts, -1, *shape)
    blocks = {}
    if "weight" in names:
        blocks[names["weight"]] = call.by_unit((b * x).sum(2))
    if "bias" in names:
        blocks[names["bias"]] = call.by_unit(b.sum(2))
    return Formed(blocks)


Layer = Callable[[Any, Sequence[LayerCall], Names], list[LayerGradients]]

LAYERS: dict[type[nn.Module], Layer] = {
    nn.Linear: _linear,
    nn.Conv1d: _convolution,
    nn.Conv2d: _convolution,
    nn.Conv3d: _convolution,
    nn.Embedding: _embedding,
    nn.LayerNorm: _layer_norm,
    nn.RMSNorm: _rms_norm,
    nn.GroupNorm: _group_norm,
    nn.InstanceNorm1d: _instance_norm,
    nn.InstanceNorm2d: _instance_norm,
    nn.InstanceNorm3d: _instance_norm,
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.BatchNorm3d: _batch_norm,
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
