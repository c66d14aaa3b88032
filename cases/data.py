"""Real data that scikit-learn ships inside its package: nothing is fetched.

Features and regression targets are standardised; everything floating-point is float64.
"""

from __future__ import annotations

from functools import cache
from pydoc_data.topics import topics

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn import datasets
from torch import Tensor

IGNORED = -100
"""The target of a position that has none: PyTorch's default `ignore_index`."""

LONGEST_LINE = 80

PAGE_WIDTH = 128
"""How many characters of the manual are a sequence."""


@cache
def digits() -> tuple[Tensor, Tensor]:
    """1797 images `[samples, 64]` of handwritten digits, in [0, 1], and their classes `[samples]`."""
    found = datasets.load_digits()
    return torch.from_numpy(found.data / 16), torch.from_numpy(found.target)


def images() -> tuple[Tensor, Tensor]:
    """The digits as images `[samples, 1, 8, 8]`, and their classes `[samples]`."""
    x, y = digits()
    return x.reshape(-1, 1, 8, 8), y


def shifted_images() -> tuple[Tensor, Tensor]:
    """Four copies `[samples, 4, 1, 8, 8]` of each digit: as it is, and moved left, right and up."""
    x, y = images()
    moves = [(0, 0), (0, -1), (0, 1), (-1, 0)]
    return torch.stack([x.roll(move, dims=(2, 3)) for move in moves], dim=1), y


@cache
def diabetes() -> tuple[Tensor, Tensor]:
    """442 patients: ten measurements `[samples, 10]` and the disease's progression `[samples, 1]`."""
    found = datasets.load_diabetes()
    return _standardised(found.data), _standardised(found.target[:, None])


@cache
def tumours() -> tuple[Tensor, Tensor, Tensor]:
    """569 breast tumours: ten mean measurements, the ten worst ones, and the class.

    Returns:
        `[samples, 10]`, `[samples, 10]`, `[samples]`.
    """
    found = datasets.load_breast_cancer()
    x = _standardised(found.data)
    return x[:, :10], x[:, 20:], torch.from_numpy(found.target)


@cache
def wine() -> tuple[Tensor, Tensor]:
    """178 wines: thirteen measurements `[samples, 13]` and the cultivar `[samples]`, one of three."""
    found = datasets.load_wine()
    return _standardised(found.data), torch.from_numpy(found.target)


@cache
def text() -> tuple[Tensor, Tensor]:
    """Lines of English text, from scikit-learn's descriptions of its data sets, as characters.

    Returns:
        Tokens and next tokens, each `[samples, 80]`: ASCII codes; padded tokens are 0 and the
        targets of padded positions are `IGNORED`. Lines are up to 81 characters long.
    """
    names = ("iris", "digits", "diabetes", "wine", "breast_cancer", "linnerud")
    pages = "\n".join(getattr(datasets, f"load_{name}")().DESCR for name in names)
    lines = [line.strip().encode("ascii", "replace") for line in pages.splitlines()]
    lines = [line[: LONGEST_LINE + 1] for line in lines if len(line) > 1]
    tokens = torch.zeros(len(lines), LONGEST_LINE, dtype=torch.long)
    targets = torch.full_like(tokens, IGNORED)
    for row, line in enumerate(lines):
        codes = torch.tensor(list(line))
        tokens[row, : len(line) - 1] = codes[:-1]
        targets[row, : len(line) - 1] = codes[1:]
    return tokens, targets


@cache
def manual() -> tuple[Tensor, Tensor]:
    """The pages of Python's own help on the language, as characters.

    Returns:
        Tokens and next tokens, each `[samples, 128]`: ASCII codes, none of them padded.
    """
    pages = "\n".join(page for _, page in sorted(topics.items()))
    codes = torch.from_numpy(np.frombuffer(pages.encode("ascii", "replace"), dtype=np.uint8).astype(np.int64))
    rows = (len(codes) - 1) // PAGE_WIDTH
    return tuple(codes[start : start + rows * PAGE_WIDTH].view(rows, -1) for start in (0, 1))  # type: ignore[return-value]


def _standardised(values: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy((values - values.mean(0)) / values.std(0))


def trimmed(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """A batch of text without the positions that are padding in all of its lines."""
    tokens, targets = batch
    width = int((targets != IGNORED).sum(1).max())
    return tokens[:, :width], targets[:, :width]


def token_columns(batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    """The valid tokens and the padded length of each line, for the units table."""
    _, targets = batch
    valid = (targets != IGNORED).sum(1).cpu()
    return {"elements": valid, "positions": torch.full_like(valid, targets.shape[1])}
