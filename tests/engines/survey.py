"""What Opacus and torch.func get wrong: a table over all layers that Opacus lists as supported, and others.

`python -m tests.engines.survey` writes `results/reference/engines.md`. Three judges: the gradient of each
sample's own loss by plain autograd, Opacus' own checker, and `torch.func`.
"""

from __future__ import annotations

import platform
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from suite.engines.engine import engines
from suite.errors import one_line
from suite.loops.autograd import grad

FILE = Path(__file__).parents[2] / "results" / "reference" / "engines.md"
EXACT = 1e-9
"""A float64 gradient is right below this relative error: rounding is at 1e-15, known errors above 0.1."""


@dataclass(frozen=True)
class Layer:
    """One way to use a layer.

    Args:
        name: for the table.
        model: the expression that makes the model; its first axis is the samples.
        inputs: the expression that makes its inputs.
        kind: the class in Opacus' list that it belongs to; empty where it is in none.
    """

    name: str
    model: str
    inputs: str
    kind: str = ""

    @property
    def python(self) -> str:
        """Lines that make `model` and `x`."""
        return f"torch.manual_seed(0)\nmodel = {self.model}\nx = {self.inputs}"

    def build(self) -> tuple[nn.Module, Any]:
        """The model and its inputs, in float64."""
        made: dict[str, Any] = {}
        exec(f"{IMPORTS}\n{self.python}", made)  # noqa: S102  the table below
        x = made["x"]
        return made["model"].double(), x.double() if x.is_floating_point() else x


IMPORTS = """\
import torch
import torch.nn.functional as F
from torch import nn
from opacus import GradSampleModule
from opacus.layers import DPGRU, DPLSTM, DPMultiheadAttention, DPRNN
from opacus.layers.dp_multihead_attention import SequenceBias
from opacus.layers.dp_rnn import RNNLinear

class Then(nn.Module):
    def __init__(self, layer, what):
        super().__init__()
        self.layer, self.what = layer, what
    def forward(self, x):
        return self.what(self.layer, x)
"""

LAYERS = (
    Layer("Linear", "nn.Linear(3, 2)", "torch.randn(4, 3)", "Linear"),
    Layer("Linear, no bias", "nn.Linear(3, 2, bias=False)", "torch.randn(4, 3)", "Linear"),
    Layer("Linear on a sequence", "nn.Linear(3, 2)", "torch.randn(4, 5, 3)", "Linear"),
    Layer("Conv1d", "nn.Conv1d(2, 4, 3, stride=2, padding=1)", "torch.randn(4, 2, 9)", "Conv1d"),
    Layer(
        "Conv1d, groups and dilation",
        "nn.Conv1d(4, 4, 2, groups=2, dilation=2)",
        "torch.randn(4, 4, 9)",
        "Conv1d",
    ),
    Layer("Conv2d", "nn.Conv2d(2, 3, 3, stride=2, padding=1)", "torch.randn(4, 2, 6, 6)", "Conv2d"),
    Layer(
        "Conv2d, groups and dilation",
        "nn.Conv2d(4, 4, 2, groups=2, dilation=2)",
        "torch.randn(4, 4, 6, 6)",
        "Conv2d",
    ),
    Layer(
        "Conv2d, padding='same'", "nn.Conv2d(2, 3, 3, padding='same')", "torch.randn(4, 2, 6, 6)", "Conv2d"
    ),
    Layer(
        "Conv2d, circular padding",
        "nn.Conv2d(2, 3, 3, padding=1, padding_mode='circular')",
        "torch.randn(4, 2, 6, 6)",
        "Conv2d",
    ),
    Layer(
        "Conv2d, reflecting padding",
        "nn.Conv2d(2, 3, 3, padding=1, padding_mode='reflect')",
        "torch.randn(4, 2, 6, 6)",
        "Conv2d",
    ),
    Layer(
        "Conv2d on a permuted image",
        "nn.Conv2d(2, 3, 3)",
        "torch.randn(4, 6, 6, 2).permute(0, 3, 1, 2)",
        "Conv2d",
    ),
    Layer(
        "Conv2d on channels_last",
        "nn.Conv2d(2, 3, 3)",
        "torch.randn(4, 2, 6, 6).to(memory_format=torch.channels_last)",
        "Conv2d",
    ),
    Layer("Conv3d", "nn.Conv3d(2, 3, 2, stride=2)", "torch.randn(4, 2, 4, 4, 4)", "Conv3d"),
    Layer("Embedding", "nn.Embedding(5, 3)", "torch.randint(5, (4, 6))", "Embedding"),
    Layer(
        "Embedding, padding_idx", "nn.Embedding(5, 3, padding_idx=0)", "torch.randint(5, (4, 6))", "Embedding"
    ),
    Layer(
        "Embedding, scale_grad_by_freq",
        "nn.Embedding(5, 3, scale_grad_by_freq=True)",
        "torch.randint(5, (4, 6))",
        "Embedding",
    ),
    Layer("EmbeddingBag", "nn.EmbeddingBag(5, 3, mode='sum')", "torch.randint(5, (4, 6))", "EmbeddingBag"),
    Layer(
        "EmbeddingBag with offsets",
        "Then(nn.EmbeddingBag(5, 3, mode='mean'), lambda m, x: m(x.flatten(), torch.arange(4) * 6))",
        "torch.randint(5, (4, 6))",
        "EmbeddingBag",
    ),
    Layer("LayerNorm", "nn.LayerNorm(3)", "torch.randn(4, 5, 3)", "LayerNorm"),
    Layer("LayerNorm, no bias", "nn.LayerNorm(3, bias=False)", "torch.randn(4, 5, 3)", "LayerNorm"),
    Layer("RMSNorm", "nn.RMSNorm(3)", "torch.randn(4, 5, 3)", "RMSNorm"),
    Layer("RMSNorm, its eps given", "nn.RMSNorm(3, eps=0.1)", "torch.randn(4, 5, 3)", "RMSNorm"),
    Layer("GroupNorm", "nn.GroupNorm(2, 4)", "torch.randn(4, 4, 6, 6)", "GroupNorm"),
    Layer("GroupNorm on vectors", "nn.GroupNorm(2, 4)", "torch.randn(4, 4)", "GroupNorm"),
    Layer("InstanceNorm1d", "nn.InstanceNorm1d(2, affine=True)", "torch.randn(4, 2, 6)", "InstanceNorm1d"),
    Layer("InstanceNorm2d", "nn.InstanceNorm2d(2, affine=True)", "torch.randn(4, 2, 6, 6)", "InstanceNorm2d"),
    Layer(
        "InstanceNorm3d", "nn.InstanceNorm3d(2, affine=True)", "torch.randn(4, 2, 3, 3, 3)", "InstanceNorm3d"
    ),
    Layer(
        "SequenceBias (of DPMultiheadAttention)",
        "SequenceBias(3, batch_first=True)",
        "torch.randn(4, 5, 3)",
        "SequenceBias",
    ),
    Layer("RNNLinear", "RNNLinear(3, 2)", "torch.randn(4, 3)", "RNNLinear"),
    Layer(
        "DPRNN",
        "Then(DPRNN(3, 2, batch_first=True), lambda m, x: m(x)[0])",
        "torch.randn(4, 5, 3)",
        "RNNLinear",
    ),
    Layer(
        "DPGRU",
        "Then(DPGRU(3, 2, batch_first=True), lambda m, x: m(x)[0])",
        "torch.randn(4, 5, 3)",
        "RNNLinear",
    ),
    Layer(
        "DPLSTM",
        "Then(DPLSTM(3, 2, batch_first=True), lambda m, x: m(x)[0])",
        "torch.randn(4, 5, 3)",
        "RNNLinear",
    ),
    Layer(
        "DPMultiheadAttention",
        "Then(DPMultiheadAttention(4, 2, batch_first=True), lambda m, x: m(x, x, x)[0])",
        "torch.randn(4, 5, 4)",
    ),
    Layer(
        "Embedding, its weight used again",
        "Then(nn.Embedding(5, 3), lambda m, x: F.linear(m(x).mean(1), m.weight))",
        "torch.randint(5, (4, 6))",
    ),
    Layer("one Linear twice", "Then(nn.Linear(3, 3), lambda m, x: m(m(x).tanh()))", "torch.randn(4, 3)"),
    Layer(
        "position embedding on arange",
        "Then(nn.Embedding(6, 3), lambda m, x: x + m(torch.arange(6)))",
        "torch.randn(4, 6, 3)",
    ),
    Layer(
        "Linear on flattened positions",
        "Then(nn.Linear(3, 2), lambda m, x: m(x.flatten(0, 1)).unflatten(0, (4, 5)))",
        "torch.randn(4, 5, 3)",
    ),
    Layer(
        "ReLU in place after Linear",
        "nn.Sequential(nn.Linear(3, 2), nn.ReLU(inplace=True))",
        "torch.randn(4, 3)",
    ),
    Layer(
        "BatchNorm1d without running statistics",
        "nn.BatchNorm1d(3, track_running_stats=False)",
        "torch.randn(4, 3)",
    ),
    Layer("Bilinear", "Then(nn.Bilinear(3, 3, 2), lambda m, x: m(x, x.tanh()))", "torch.randn(4, 3)"),
    Layer("ConvTranspose2d", "nn.ConvTranspose2d(2, 3, 2)", "torch.randn(4, 2, 4, 4)"),
    Layer(
        "MultiheadAttention",
        "Then(nn.MultiheadAttention(4, 2, batch_first=True), lambda m, x: m(x, x, x)[0])",
        "torch.randn(4, 5, 4)",
    ),
    Layer("LSTM", "Then(nn.LSTM(3, 2, batch_first=True), lambda m, x: m(x)[0])", "torch.randn(4, 5, 3)"),
    Layer("PReLU", "nn.PReLU()", "torch.randn(4, 3)"),
)


JUDGED = ("opacus", "torch-func", "streaming")


def losses(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """`[samples]` half the squared distance of each sample's outputs from 1, summed."""
    return 0.5 * (model(x) - 1).flatten(1).square().sum(1)


def expected(layer: Layer) -> torch.Tensor:
    """`[samples, params]` by plain autograd, one backward pass a sample."""
    model, x = layer.build()
    trained = list(model.parameters())
    return torch.stack([
        torch.cat([part.flatten() for part in grad(loss, trained, keep_graph=True)])
        for loss in losses(model, x)
    ])  # fmt: skip


def judged(layer: Layer, engine: str) -> str:
    """`right`, `wrong (relative error)`, or what it said; the engine alone, without the suite's check."""
    model, x = layer.build()
    wanted = expected(layer)
    try:
        found = engines[engine].compute(model, x, losses)
        got = found.reduce(np.eye(len(wanted)))
    except Exception as error:  # noqa: BLE001  what it says is the answer
        return f"refused: {one_line(error).partition(': ')[2][:90]}"
    if got.shape != wanted.shape:
        return f"wrong: shape {list(got.shape)} instead of {list(wanted.shape)}"
    error = float((got - wanted).norm() / wanted.norm())
    return "right" if error <= EXACT else f"**wrong** ({error:.2g})"


def by_checker(layer: Layer) -> str:
    """What Opacus' own `check_per_sample_gradients_are_correct` says."""
    from opacus.utils.per_sample_gradients_utils import check_per_sample_gradients_are_correct

    model, x = layer.build()
    if layer.model.startswith("Then("):
        return "–"
    try:
        passed = check_per_sample_gradients_are_correct(x, model)
    except Exception as error:  # noqa: BLE001  what it says is the answer
        return f"raises {type(error).__name__}"
    return "passes" if passed else "fails"


def rows() -> list[tuple[Layer, dict[str, str]]]:
    """Each layer with the verdicts on it."""
    return [
        (layer, {engine: judged(layer, engine) for engine in JUDGED} | {"checker": by_checker(layer)})
        for layer in LAYERS
    ]


def example(layer: Layer) -> str:
    """A runnable script for a report upstream."""
    return f"""\
{IMPORTS if "DP" in layer.model or "Then" in layer.model else SHORT}
{layer.python}
wrapped = GradSampleModule(model, loss_reduction="sum", strict=False)
loss = lambda x: 0.5 * (wrapped(x) - 1).square().sum()
loss(x).backward()
summed = [p.grad.clone() for p in wrapped.parameters() if p.grad is not None]
samples = [p.grad_sample.clone() for p in wrapped.parameters() if p.grad is not None]
for whole, each in zip(summed, samples):
    print("grad:", whole.flatten()[:4], "sum of grad_sample:", each.sum(0).flatten()[:4])
"""


SHORT = """\
import torch
from torch import nn
from opacus import GradSampleModule
"""


def report() -> str:
    """The whole document."""
    from opacus import GradSampleModule

    found = rows()
    listed = sorted({kind.__name__ for kind in GradSampleModule.GRAD_SAMPLERS})
    versions = ", ".join(f"{p} {metadata.version(p)}" for p in ("torch", "opacus"))
    table = "\n".join(
        " ".join(["|", " | ".join([layer.name, "yes" if layer.kind else "no", *verdicts.values()]), "|"])
        for layer, verdicts in found
    )
    wrong = "\n".join(
        f"### {layer.name}: {v['opacus'].replace('**', '')}\n\n```python\n{example(layer)}```\n"
        for layer, v in found
        if "wrong" in v["opacus"]
    )
    python = platform.python_version()
    return TEXT.format(versions=versions, python=python, listed=", ".join(listed), table=table, wrong=wrong)


TEXT = """\
# Engines: which layers they get right

Written by `python -m tests.engines.survey` with {versions}, Python {python}, in float64.

Each engine alone, without the check by which the suite refuses it, against the gradient of each sample's own
loss (half the squared distance of its outputs from 1) by plain autograd. *Checker* is Opacus' own
`check_per_sample_gradients_are_correct` in hooks mode, which takes a sample alone in its batch for the truth;
– where it cannot take the model, because it pickles it. A relative error is that of the whole matrix of
per-sample gradients.

*Streaming* is this suite's own engine. Opacus lists as supported: {listed}.

| layer | listed | Opacus | torch.func | streaming | checker |
|---|---|---|---|---|---|
{table}

The checker passes `padding_idx`: its loss, the distance from 0, has no gradient at a row of zeros.

## What Opacus gets wrong, to be run

Each script prints the gradient of the summed loss beside the sum of the per-sample gradients, which must be
the same.

{wrong}
### The checker itself: its tolerances are exchanged

`_check_per_sample_gradients_are_correct_with_reduction` calls `torch.allclose(a, b, atol, rtol)`; by position
these are `rtol, atol`. Its defaults, an absolute 1e-5 and a relative 1e-4, become a relative 1e-5 and an
absolute 1e-4, under which gradients are equal whose entries are all below that:

```python
import torch
from opacus.utils.per_sample_gradients_utils import check_per_sample_gradients_are_correct
from torch import nn

torch.manual_seed(0)
x = torch.randn(4, 2, 6, 6)
model = nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular")  # wrong, see above
print(check_per_sample_gradients_are_correct(x, model))  # False
print(check_per_sample_gradients_are_correct(1e-6 * x, model))  # True: as wrong, but small
```
"""


def main(write: Callable[[str], object] = sys.stdout.write) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of hooks on inputs without gradients, and of slow vmaps
        text = report()
    FILE.write_text(text, encoding="utf-8")
    write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
