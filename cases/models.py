"""Small models of the usual families; normalisation is per sample, so that samples stay apart."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor, nn


def mlp(*sizes: int) -> nn.Sequential:
    """Linear layers of these sizes with tanh between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.Tanh()]
    return nn.Sequential(*layers[:-1])


def convolutional(classes: int = 10) -> nn.Sequential:
    """Two convolutions with GroupNorm for images `[samples, 1, 8, 8]`."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.GroupNorm(2, 8),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.GroupNorm(2, 16),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * 4 * 4, classes),
    )


class ChannelsLast(nn.Module):
    """A model whose images are laid out in memory with the channels last, as cuDNN prefers them."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """The model of the same images in the other layout."""
        wide = images.expand(-1, 2, -1, -1)  # one channel has no layout of its own
        laid_out = wide.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
        result: Tensor = self.model(laid_out)
        return result


def channels_last(classes: int = 10) -> ChannelsLast:
    """A convolution on images `[samples, 1, 8, 8]`, their channel doubled, channels last."""
    return ChannelsLast(
        nn.Sequential(nn.Conv2d(2, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(512, classes))
    )


class Transformer(nn.Module):
    """A decoder of pre-norm blocks over tokens `[samples, positions]`.

    Args:
        vocabulary: how many tokens there are.
        longest: how many positions there are.
        width: of the residual stream.
        heads: of the attention.
        depth: how many blocks.
    """

    def __init__(
        self, vocabulary: int, longest: int, width: int = 32, heads: int = 4, depth: int = 2
    ) -> None:
        super().__init__()
        self.token = nn.Embedding(vocabulary, width)
        self.position = nn.Embedding(longest, width)
        self.blocks = nn.ModuleList(_Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, tokens: Tensor) -> Tensor:
        """`[samples, positions, vocabulary]` the logits of the next token."""
        # One row of positions a sample: a per-sample gradient needs a sample axis in every layer.
        places = torch.arange(tokens.shape[1], device=tokens.device).expand(tokens.shape)
        x = self.token(tokens) + self.position(places)
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.head(self.norm(x))
        return logits


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        split = self.qkv(self.norm_attention(x)).unflatten(2, (3, self.heads, -1))
        q, k, v = split.permute(2, 0, 3, 1, 4)
        # Padding comes last, so the causal mask hides it from every valid position.
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        result: Tensor = x + self.down(F.gelu(self.up(self.norm_mlp(x))))
        return result


class _Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        stride = 1 if inputs == outputs else 2
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
            nn.GroupNorm(8, outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.GroupNorm(8, outputs),
        )
        self.shortcut = nn.Identity() if stride == 1 else nn.Conv2d(inputs, outputs, 1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.shortcut(x))


def residual(*channels: int, classes: int = 10) -> nn.Sequential:
    """A residual network with GroupNorm for images `[samples, 1, …]`: two blocks for each of `channels`."""
    layers: list[nn.Module] = [
        nn.Conv2d(1, channels[0], 3, padding=1),
        nn.GroupNorm(8, channels[0]),
        nn.ReLU(),
    ]
    for inputs, outputs in pairwise((channels[0], *channels)):
        layers += [_Residual(inputs, outputs), _Residual(outputs, outputs)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels[-1], classes))
