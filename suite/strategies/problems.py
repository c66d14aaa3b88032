"""Models with batches and losses, drawn as the Python that makes them: what fails is what is printed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from suite.errors import unknown

if TYPE_CHECKING:
    from torch import nn

    from suite.loops.batch import Batch
    from suite.loops.loop import Losses

HEADER = """\
import torch
import torch.nn.functional as F
from torch import nn
"""


@dataclass(frozen=True)
class DrawnProblem:
    """A model, a batch and unreduced losses in float64.

    Args:
        python: lines of Python that define `model`, `batch` and `losses(model, batch)`.
    """

    python: str

    def build(self) -> tuple[nn.Module, Batch, Losses]:
        """The model, the batch and the losses, the same each time; random states are left alone."""
        import torch

        made: dict[str, Any] = {}
        with torch.random.fork_rng(devices=[]):
            exec(self.python, made)  # noqa: S102  it was put together below, of nothing from outside
        return made["model"], made["batch"], made["losses"]


@dataclass(frozen=True)
class DrawnModel:
    """What a problem needs to know of its model.

    Args:
        python: the expression that makes it.
        inputs: the expression that makes its inputs, for `{n}` samples.
        outputs: how many numbers a sample gives.
        parameters: how many parameters (tensors) it has.
        needs: what the lines above must import.
    """

    python: str
    inputs: str
    outputs: int
    parameters: int
    needs: str = ""


def _vectors(width: int) -> str:
    return f"torch.randn({{n}}, {width})"


@st.composite
def _linear(draw: st.DrawFn, outputs: int) -> DrawnModel:
    width, bias = draw(st.integers(1, 3)), draw(st.booleans())
    end = "" if bias else ", bias=False"
    return DrawnModel(f"nn.Linear({width}, {outputs}{end})", _vectors(width), outputs, 1 + bias)


@st.composite
def _mlp(draw: st.DrawFn, outputs: int) -> DrawnModel:
    width, hidden = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    act = draw(st.sampled_from(["Tanh()", "ReLU()", "GELU()", "Softplus()"]))
    layers = f"nn.Linear({width}, {hidden}), nn.{act}, nn.Linear({hidden}, {outputs})"
    return DrawnModel(f"nn.Sequential({layers})", _vectors(width), outputs, 4)


@st.composite
def _convolutional(draw: st.DrawFn, outputs: int) -> DrawnModel:
    dimensions = draw(st.integers(1, 2))
    groups = draw(st.sampled_from([1, 2]))
    channels = groups * draw(st.integers(1, 2))
    options = {
        "stride": draw(st.sampled_from([1, 2])),
        "padding": draw(st.sampled_from([0, 1])),
        "dilation": draw(st.sampled_from([1, 2])),
        "groups": groups,
    }
    given = "".join(f", {k}={v}" for k, v in options.items() if v != (k != "padding"))
    mode = ', padding_mode="circular"' if options["padding"] and draw(st.booleans()) else ""
    layers = (
        f"nn.Conv{dimensions}d({channels}, {2 * groups}, 2{given}{mode}), nn.Tanh(), "
        f"nn.AdaptiveAvgPool{dimensions}d(1), nn.Flatten(), nn.Linear({2 * groups}, {outputs})"
    )
    size = ", ".join(["4"] * dimensions)
    return DrawnModel(f"nn.Sequential({layers})", f"torch.randn({{n}}, {channels}, {size})", outputs, 4)


@st.composite
def _embedding(draw: st.DrawFn, outputs: int) -> DrawnModel:
    length, width = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    padding = draw(st.sampled_from(["", ", padding_idx=0"]))
    layers = f"nn.Embedding(3, {width}{padding}), nn.Flatten(), nn.Linear({length * width}, {outputs})"
    return DrawnModel(f"nn.Sequential({layers})", f"torch.randint(3, ({{n}}, {length}))", outputs, 3)


@st.composite
def _normalised(draw: st.DrawFn, outputs: int) -> DrawnModel:
    norm = draw(st.sampled_from([
        "LayerNorm(4)", "GroupNorm(2, 4)", "RMSNorm(4)", "BatchNorm1d(4).eval()",
    ]))  # fmt: skip
    width = draw(st.integers(1, 3))
    layers = f"nn.Linear({width}, 4), nn.{norm}, nn.Tanh(), nn.Linear(4, {outputs})"
    return DrawnModel(f"nn.Sequential({layers})", _vectors(width), outputs, 5 if "RMS" in norm else 6)


@st.composite
def _attention(draw: st.DrawFn, outputs: int) -> DrawnModel:
    heads, length = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    width = 2 * heads
    layers = f"SelfAttention({width}, {heads}), nn.Flatten(), nn.Linear({length * width}, {outputs})"
    return DrawnModel(
        f"nn.Sequential({layers})",
        f"torch.randn({{n}}, {length}, {width})",
        outputs,
        6,
        "from suite.strategies.layers import SelfAttention",
    )


@st.composite
def _shared(draw: st.DrawFn, outputs: int) -> DrawnModel:
    width = draw(st.integers(1, 2))
    if draw(st.booleans()):
        return DrawnModel(
            f"nn.Sequential(Tied(3, {width}), nn.Linear(3, {outputs}))",
            f"torch.randint(3, ({{n}}, {draw(st.integers(1, 3))}))",
            outputs,
            3,
            "from suite.strategies.layers import Tied",
        )
    layers = f"Twice(nn.Linear({width}, {width})), nn.Linear({width}, {outputs})"
    return DrawnModel(
        f"nn.Sequential({layers})",
        _vectors(width),
        outputs,
        4,
        "from suite.strategies.layers import Twice",
    )


def _sparse(outputs: int) -> st.SearchStrategy[DrawnModel]:
    python = f"nn.Sequential(nn.Embedding(3, {outputs}, sparse=True), nn.Flatten())"
    return st.just(DrawnModel(python, "torch.randint(3, ({n}, 1))", outputs, 1))


MODEL_KINDS = {
    "linear": _linear,
    "mlp": _mlp,
    "convolutional": _convolutional,
    "embedding": _embedding,
    "norms": _normalised,
    "attention": _attention,
    "shared": _shared,
    "sparse": _sparse,
}
DENSE = tuple(kind for kind in MODEL_KINDS if kind != "sparse")
"""Few optimizers take gradients that are sparse tensors: these kinds are drawn only where asked for."""


def models(*kinds: str, outputs: int = 1) -> st.SearchStrategy[DrawnModel]:
    """Small models of these kinds, of all but `sparse` where none is named.

    Args:
        *kinds: of `linear`, `mlp`, `convolutional`, `embedding`, `norms`, `attention`, `shared`, `sparse`.
        outputs: how many numbers a sample gives.

    Raises:
        UsageError: There is no such kind.
    """
    for kind in kinds:
        if kind not in MODEL_KINDS:
            raise unknown("kind of model", kind, MODEL_KINDS)
    return st.one_of([MODEL_KINDS[kind](outputs) for kind in kinds or DENSE])


REGRESSION = (
    'F.mse_loss(out, y, reduction="none").sum(1)',
    'F.l1_loss(out, y, reduction="none").sum(1)',
    'F.smooth_l1_loss(out, y, reduction="none").sum(1)',
    'F.huber_loss(out, y, reduction="none", delta=0.5).sum(1)',
    'F.binary_cross_entropy_with_logits(out, y.sigmoid(), reduction="none").sum(1)',
)
CLASSIFICATION = (
    'F.cross_entropy(out, y, reduction="none")',
    'F.cross_entropy(out, y, reduction="none", label_smoothing=0.1)',
    'F.cross_entropy(out, y, reduction="none", weight=torch.arange(out.size(1)).to(out))',
)
TERMS = ("out.square().sum(1)", "out.tanh().sum(1)")


@st.composite
def loss_expressions(draw: st.DrawFn, *, classes: bool = False, terms: bool = True) -> str:
    """The expression of unreduced losses of the outputs `out` and the targets `y`.

    Args:
        draw: given by Hypothesis.
        classes: whether targets are class indices rather than numbers.
        terms: whether a second term may be drawn; losses are `[samples, 2]` then, else `[samples]`.
    """
    first = draw(st.sampled_from(CLASSIFICATION if classes else REGRESSION))
    if terms and draw(st.booleans()):
        return f"torch.stack([{first}, {draw(st.sampled_from(TERMS))}], dim=1)"
    return first


CHANGES = ("", "x[-1] = x[0]", "x[0] = 0")


@st.composite
def problems(draw: st.DrawFn, *kinds: str, max_samples: int = 4, terms: bool = True) -> DrawnProblem:
    """A model, a batch of numbers of the right kind, and losses.

    At times two samples are the same, one is zero, or the first parameter is frozen.

    Args:
        draw: given by Hypothesis.
        *kinds: of the model, as `models` takes them.
        max_samples: the largest batch.
        terms: whether the loss may have two terms.
    """
    samples = draw(st.integers(1, max_samples))
    classes = draw(st.booleans())
    outputs = draw(st.integers(2, 3) if classes else st.integers(1, 2))
    model = draw(models(*kinds, outputs=outputs))
    expression = draw(loss_expressions(classes=classes, terms=terms))
    change = draw(st.sampled_from(CHANGES))
    frozen = model.parameters > 1 and draw(st.booleans())
    inputs = model.inputs.format(n=samples)
    target = f"torch.randint({outputs}, ({samples},))" if classes else f"torch.randn({samples}, {outputs})"
    lines = [
        *([model.needs] if model.needs else []),
        "",
        f"torch.manual_seed({draw(st.integers(0, 255))})",
        f"model = {model.python}.double()",
        *(["next(model.parameters()).requires_grad_(False)"] if frozen else []),
        f"x = {inputs}{'' if 'randint' in inputs else '.double()'}",
        *([change] if change else []),
        f"y = {target}{'' if classes else '.double()'}",
        "batch = x, y",
        "",
        "",
        "def losses(model, batch):",
        "    x, y = batch",
        "    out = model(x)",
        f"    return {expression}",
    ]
    return DrawnProblem(HEADER + "\n".join(lines) + "\n")
