"""Parts at positions that no layer mixes: one backward pass for all of them, not one each."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from math import ceil, log

import torch
from torch import Tensor, nn

from suite.engines.streaming.capture import ForwardCall

ALONG_LAST_AXES = (nn.Linear, nn.LayerNorm, nn.RMSNorm, nn.Embedding)
"""Layers that may have positions as the second axis."""

WEIGHT_LEVELS = 32


def unmixed(
    entries: Tensor, calls: Sequence[ForwardCall]
) -> tuple[list[ForwardCall], list[list[Tensor | None]]] | None:
    """The calls and their outputs' gradients with a row for each unit, or None where positions mix.

    If part `t` reaches the layers at position `t` alone, the gradient of the sum of all parts by a
    layer's output holds the gradient of part `t` at position `t`. Whether that is so, backward passes
    of `Σ_t w_t e_t` tell: at position `s` it is `w_s` times that of the sum just if
    `Σ_t (w_t - w_s) ∂e_t/∂y_s = 0`. The weights are powers of two, so that the comparison is exact;
    any two positions differ in one of the passes, and which weight a position has is drawn.

    Args:
        entries: `[samples, parts]` the unreduced losses; their graph is kept.
        calls: of layers.
    """
    samples, parts = entries.shape
    passes = ceil(log(parts, WEIGHT_LEVELS)) if parts > 1 else 0
    if parts <= passes + 1 or not all(_by_position(call, samples, parts) for call in calls):
        return None
    edges = [call.edge for call in calls]

    def backward(weights: Tensor) -> list[Tensor | None]:
        chosen = weights.expand_as(entries)
        return list(torch.autograd.grad(entries, edges, chosen, retain_graph=True, allow_unused=True))

    together = backward(torch.ones_like(entries[0]))
    drawn = torch.randperm(parts, generator=torch.Generator().manual_seed(parts), device="cpu")
    for digit in range(passes):
        level = drawn // WEIGHT_LEVELS**digit % WEIGHT_LEVELS - WEIGHT_LEVELS // 2
        weights = torch.exp2(level.to(entries))
        for whole, weighted in zip(together, backward(weights), strict=True):
            if whole is None or weighted is None:
                continue
            if not torch.equal(whole * weights.view(-1, *[1] * (whole.ndim - 2)), weighted):
                return None
    return [_flat(call) for call in calls], [[None if g is None else g.flatten(0, 1)] for g in together]


def _by_position(call: ForwardCall, samples: int, parts: int) -> bool:
    axes = (samples, parts)
    return isinstance(call.module, ALONG_LAST_AXES) and call.input.shape[:2] == call.shape[:2] == axes


def _flat(call: ForwardCall) -> ForwardCall:
    call.require_untouched()
    flat = call.input.flatten(0, 1)
    return dataclasses.replace(call, input=flat, version=flat._version)  # noqa: SLF001  as in `captured`
