"""The patches of images that a convolution's kernel meets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor

CACHED = 1 << 20
"""How many numbers of patches are laid out at a time: they should stay in the processor's cache."""


@dataclass(frozen=True)
class Unfolded:
    """Patches of images, laid out some samples at a time when they are asked for.

    Args:
        module: the convolution.
        input: `[rows, channels, …]`, one row or several consecutive ones a sample.
        samples: the number of samples.
        places: `[…]` at how many places along each axis the kernel is put.
    """

    module: Any
    input: Tensor
    samples: int
    places: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """`(samples, groups, inputs, positions)`."""
        channels = self.module.in_channels // self.module.groups
        positions = self._folded * prod(self.places)
        return self.samples, self.module.groups, channels * self.grain, positions

    @property
    def grain(self) -> int:
        """The places in the kernel: channels are laid out whole."""
        return prod(self.module.kernel_size)

    @property
    def _folded(self) -> int:
        return len(self.input) // self.samples

    def slices(self, first: int, last: int) -> Iterator[tuple[slice, Tensor]]:
        """Some samples at a time: which, and `[some, groups, last − first, positions]` of their inputs."""
        groups, folded = self.module.groups, self._folded
        start, stop = first // self.grain, last // self.grain
        x = self.input.unflatten(1, (groups, -1))[:, :, start:stop]
        threads = torch.get_num_threads() if x.device.type == "cpu" else 1
        step = min(self.samples, max(1, CACHED // (folded * groups * (last - first) * prod(self.places))))
        step = min(self.samples, -(-step // threads) * threads)  # so that all have the same to do
        padded = _Padded(self.module, x[: step * folded])
        laid_out = None
        for begin in range(0, self.samples, step):
            end = min(begin + step, self.samples)
            rows = (end - begin) * folded
            view = self._view(padded.fill(x[begin * folded : end * folded]))
            if laid_out is None:
                laid_out = view.new_empty(view.shape)
            patches = laid_out[:rows].copy_(view).view(rows, groups, last - first, -1)
            if folded > 1:
                patches = patches.unflatten(0, (-1, folded)).permute(0, 2, 3, 1, 4).flatten(3)
            yield slice(begin, end), patches

    def _view(self, x: Tensor) -> Tensor:
        """`[rows, groups, channels, *kernel, *places]` without a copy: patches overlap in memory."""
        module = self.module
        outer, steps = x.stride()[:3], x.stride()[3:]
        dilated = (step * dilation for step, dilation in zip(steps, module.dilation, strict=True))
        strided = (step * stride for step, stride in zip(steps, module.stride, strict=True))
        size = (*x.shape[:3], *module.kernel_size, *self.places)
        return x.as_strided(size, (*outer, *dilated, *strided))


class _Padded:
    """Images with the convolution's padding around them, zeros being written once for all slices."""

    def __init__(self, module: Any, like: Tensor) -> None:
        self.padding = module._reversed_padding_repeated_twice  # noqa: SLF001  holds "same" in numbers
        self.mode = module.padding_mode
        self.zeros: Tensor | None = None
        if any(self.padding) and self.mode == "zeros":
            before, after = self.padding[0::2], self.padding[1::2]
            sizes = like.shape[3:]
            around = zip(reversed(before), reversed(after), sizes, strict=True)
            self.zeros = like.new_zeros(*like.shape[:3], *(b + size + a for b, a, size in around))
            self.inside = tuple(slice(b, b + size) for b, size in zip(reversed(before), sizes, strict=True))

    def fill(self, x: Tensor) -> Tensor:
        """`x` with its padding; overwritten by the next call."""
        if self.zeros is not None:
            rows = self.zeros[: len(x)]
            rows[(slice(None), slice(None), slice(None), *self.inside)] = x
            return rows
        if any(self.padding):
            padded = F.pad(x.flatten(1, 2), self.padding, mode=self.mode)
            return padded.view(*x.shape[:3], *padded.shape[2:])
        return x
