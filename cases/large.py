"""The size people train: millions of parameters, on real text and images. Only on request: `large/*`."""

from __future__ import annotations

import cases
from suite.case import Problem, case

BATCH_SIZES = (8,)


@case(
    name="large/text-transformer",
    dataset="the manual of the Python language, which ships with Python: half a million characters",
    batch_sizes=BATCH_SIZES,
)
def text_transformer() -> Problem:
    """Next-token cross-entropy of a transformer of width 256 and depth 4 on sequences of 128 characters."""
    data = cases.data.manual()
    return Problem(
        model=lambda: cases.models.Transformer(128, data[0].shape[1], width=256, depth=4),
        data=data,
        losses=cases.losses.next_token,
        columns=cases.data.token_columns,
    )


@case(
    name="large/image-resnet",
    dataset="scikit-learn's digits: 1797 images of 8 × 8 pixels",
    batch_sizes=BATCH_SIZES,
)
def image_resnet() -> Problem:
    """Cross-entropy of a residual network with GroupNorm, of up to 256 channels."""
    return Problem(
        model=lambda: cases.models.residual(64, 128, 256),
        data=cases.data.images(),
        losses=cases.losses.cross_entropy,
    )


@case(
    name="large/ten-million-mlp",
    dataset="scikit-learn's digits: 1797 images of 8 × 8 pixels",
    batch_sizes=BATCH_SIZES,
)
def ten_million_mlp() -> Problem:
    """Cross-entropy of three layers of 2250 units: ten million parameters."""
    return Problem(
        model=lambda: cases.models.mlp(64, 2250, 2250, 2250, 10),
        data=cases.data.digits(),
        losses=cases.losses.cross_entropy,
    )
