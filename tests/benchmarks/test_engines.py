"""What every engine and its peers cost, as a multiple of one forward and backward pass of the batch.

Both are timed in the same process, in turn, so that the ratio holds on a noisy machine; the ratios
are in `extra_info` of the JSON that pytest-benchmark writes. The allocator decides much of what a
materialising engine costs: run once as it is, and once with `THP_MEM_ALLOC_ENABLE=1` and large
`MALLOC_MMAP_THRESHOLD_` and `MALLOC_TRIM_THRESHOLD_`.
"""

from __future__ import annotations

import functools
import os
import statistics
from collections.abc import Callable

import numpy as np
import pytest
import torch

import suite
from suite.engines import engines
from suite.engines.cost import peak, seconds
from suite.engines.engine import Refused
from tests.benchmarks.families import FAMILIES, Family

CPU = torch.device("cpu")
ROUNDS = int(os.environ.get("GRADSUITE_BENCH_ROUNDS", "7"))
SIZES = [32, 128, 512, 1024]
TUNED = os.environ.get("THP_MEM_ALLOC_ENABLE") == "1"

pytestmark = pytest.mark.filterwarnings("default")  # a warning of a peer is no failure of ours


WEIGHTS = np.random.default_rng(0).choice([1.0, 2.0, 5.0], max(SIZES))
"""Of the units' classes, say: known before anything is measured."""


def columns(gram: np.ndarray, count: int) -> np.ndarray:
    """`[count, units]` of rank 3: multiples of a mean, of a weighted mean, and a quarter of them clip."""
    n = len(gram)
    norms = np.sqrt(np.diagonal(gram))
    weight = WEIGHTS[:n]
    mean, weighted = np.full(n, 1 / n), weight / weight.sum()
    threshold = np.median(norms)
    clipped = np.minimum(1, threshold / norms) / n
    norm = np.sqrt(mean @ gram @ mean)
    few = [clipped, mean * min(1, threshold / norm), mean * min(1, threshold / norm / n)]
    return np.stack([(few if k % 4 == 0 else [mean, weighted])[k // 4 % 2] * (k + 1) for k in range(count)])


def sweep(gram: np.ndarray) -> np.ndarray:
    """`[12, units]` of rank 12: eight clip thresholds, and four means of any other weights."""
    n = len(gram)
    norms = np.sqrt(np.diagonal(gram))
    clipped = np.minimum(1, np.quantile(norms, np.linspace(0.1, 0.9, 8))[:, None] / norms) / n
    classes, lengths = WEIGHTS[:n] / WEIGHTS[:n].sum(), 1 / np.random.default_rng(1).integers(1, 20, n) / n
    windows = np.repeat(1 / np.arange(1, 9), -(-n // 8))[:n] / 8
    return np.stack([*clipped, np.full(n, 1 / n), classes, lengths, windows])


COEFFICIENTS = {
    "tables": None,
    "rank 3": lambda gram: columns(gram, 12),
    "rank 12": sweep,
}
"""What is made of the Gram matrix: nothing, or 12 conventions that span few directions, or as many."""


def compare(benchmark, family: Family, units: int, action: Callable, rounds: int = ROUNDS) -> float:
    torch.manual_seed(0)
    model, batch = family.model(), family.batch(units)

    def ordinary() -> None:
        model.zero_grad()
        family.losses(model, batch).mean().backward()

    def act() -> object:
        return action(model, batch)

    ordinary()
    benchmark.pedantic(act, rounds=1, warmup_rounds=1)
    ratios = []
    for _ in range(rounds):
        before, between, after = (seconds(a, CPU) for a in (ordinary, act, ordinary))
        ratios.append(2 * between / (before + after))
    ratio = statistics.median(ratios)
    benchmark.extra_info |= {
        "times one forward and backward pass": ratio,
        "peak bytes": peak(act, CPU),
        "peak bytes of that pass": peak(ordinary, CPU),
        "tuned allocator": TUNED,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    return ratio


def whole_job(name: str, family: Family, conventions: int) -> Callable:
    """Gram matrix, coefficients and, for any conventions, reduced gradients."""

    def act(model, batch) -> object:
        found = engines[name].compute(model, batch, family.losses)
        gram = found.gram()
        if not conventions:
            return gram
        return (found.directions if name == "streaming" else found.reduce)(columns(gram, conventions))

    return act


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
@pytest.mark.parametrize("conventions", [0, 12, 100], ids=["tables", "12 conventions", "100 conventions"])
@pytest.mark.parametrize("engine", ["streaming", "opacus", "torch-func"])
def test_engines_at_the_reference_size(benchmark, engine: str, conventions: int, family: Family) -> None:
    if engine != "streaming" and conventions == 100 and family.name == "mlp-10m":
        pytest.skip("100 dense gradients of 10 million parameters, and 64 more of the units, take 7 GB")
    compare(benchmark, family, family.units, whole_job(engine, family, conventions))


def dense(made: str, compute: Callable, family: Family) -> Callable:
    """Gram matrix, coefficients, and each reduced gradient written out."""

    def act(model, batch) -> object:
        found = compute(model, batch, family.losses)
        gram = found.gram()
        make = COEFFICIENTS[made]
        return gram if make is None else found.reduce(make(gram))

    return act


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
@pytest.mark.parametrize("made", COEFFICIENTS)
@pytest.mark.parametrize("engine", ["streaming", "opacus"])
def test_alone(benchmark, engine: str, made: str, family: Family) -> None:
    compare(benchmark, family, family.units, dense(made, engines[engine].compute, family))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
@pytest.mark.parametrize("made", COEFFICIENTS)
@pytest.mark.parametrize("engine", ["streaming", "opacus"])
def test_with_its_check(benchmark, engine: str, made: str, family: Family) -> None:
    """What is paid: `suite.per_sample_gradients`, sizes and check included."""
    compute = functools.partial(suite.per_sample_gradients, engine=engine)
    compare(benchmark, family, family.units, dense(made, compute, family))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_recover_whole(benchmark, family: Family) -> None:
    """A healthy step's weights, from the call of `suite.recover` to its answer."""

    def act(model, batch) -> None:
        def step(model, batch) -> None:
            family.losses(model, batch).mean().backward()

        suite.recover(step, model, batch, family.losses, engine="streaming")

    compare(benchmark, family, family.units, act, rounds=3)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
@pytest.mark.parametrize("units", SIZES)
def test_the_streaming_engine_at_other_sizes(benchmark, units: int, family: Family) -> None:
    if units * (3 << 20) > 1 << 30 and family.name == "resnet-groupnorm":
        pytest.skip("the ordinary pass alone takes more than 1 GB")
    compare(benchmark, family, units, whole_job("streaming", family, 12))


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
@pytest.mark.parametrize("conventions", [1, 10, 100])
@pytest.mark.parametrize("units", SIZES)
@pytest.mark.parametrize("engine", engines.names)
def test_the_grid(benchmark, engine: str, units: int, conventions: int, family: Family) -> None:
    numbers = sum(p.numel() for p in family.model().parameters())
    if engines[engine].materialises and 4 * units * numbers > 2 << 30:
        pytest.skip("the units' gradients take more than 2 GB")
    if units * (3 << 20) > 1 << 30 and family.name == "resnet-groupnorm":
        pytest.skip("the ordinary pass alone takes more than 1 GB")
    if engine == "loop" and units > SIZES[0]:
        pytest.skip("one backward pass a unit: the cost is known from the smallest batch")
    compare(benchmark, family, units, whole_job(engine, family, conventions), rounds=3)


@pytest.mark.parametrize("family", FAMILIES[:4], ids=lambda f: f.name)
def test_separate_backward_passes(benchmark, family: Family) -> None:
    """What people do: one backward pass a convention, clipping left out because it needs the norms."""

    def act(model, batch) -> None:
        entries = family.losses(model, batch)
        weights = torch.from_numpy(columns(np.eye(len(entries)), 12)).float()
        for row in weights:
            torch.autograd.grad((row * entries).sum(), list(model.parameters()), retain_graph=True)

    compare(benchmark, family, family.units, act)


@pytest.mark.parametrize("family", FAMILIES[:4], ids=lambda f: f.name)
def test_one_by_one(benchmark, family: Family) -> None:
    def act(model, batch) -> None:
        for row in range(len(batch[0])):
            one = (batch[0][row : row + 1], batch[1][row : row + 1])
            torch.autograd.grad(family.losses(model, one).sum(), list(model.parameters()))

    compare(benchmark, family, family.units, act)


@pytest.mark.parametrize("family", [FAMILIES[0], FAMILIES[3]], ids=lambda f: f.name)
def test_compiled_torch_func(benchmark, family: Family) -> None:
    model, batch = family.model(), family.batch(family.units)
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def loss(weights, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        def call(given: torch.Tensor) -> torch.Tensor:
            return torch.func.functional_call(model, weights, (given,))

        return family.losses(call, (x[None], y[None])).sum()

    one_by_one = torch.compile(torch.func.vmap(torch.func.grad(loss), (None, 0, 0)))

    def act(_, batch) -> None:
        found = one_by_one(parameters, *batch)
        gram = sum(block.flatten(1) @ block.flatten(1).T for block in found.values())
        weights = torch.from_numpy(columns(gram.double().numpy(), 12)).float()
        [weights @ block.flatten(1) for block in found.values()]

    try:
        compiling = seconds(lambda: one_by_one(parameters, *batch), CPU)
    except Exception as error:  # noqa: BLE001  no C++ compiler, or a model that it cannot do
        pytest.skip(f"torch.compile cannot: {type(error).__name__}")
    compare(benchmark, family, family.units, act)
    benchmark.extra_info["seconds to compile"] = compiling


@pytest.mark.parametrize("mode", ["functorch", "ew"])
@pytest.mark.parametrize("family", FAMILIES[:4], ids=lambda f: f.name)
def test_other_modes_of_opacus(benchmark, family: Family, mode: str) -> None:
    grad_sample = pytest.importorskip("opacus.grad_sample")

    def act(model, batch) -> None:
        wrapped = grad_sample.wrap_model(model, grad_sample_mode=mode, loss_reduction="sum", strict=False)
        try:
            family.losses(wrapped, batch).sum().backward()
            rows = [p.grad_sample.flatten(1) for p in model.parameters()]
            sum(block @ block.T for block in rows)
        finally:
            wrapped.to_standard_module()

    try:
        compare(benchmark, family, family.units, act)
    except (RuntimeError, NotImplementedError, ValueError, AttributeError, TypeError) as error:
        pytest.skip(f"this mode cannot do this model: {error}")


@pytest.mark.parametrize("family", [FAMILIES[0], FAMILIES[4]], ids=lambda f: f.name)
def test_backpack(benchmark, family: Family) -> None:
    backpack = pytest.importorskip("backpack")
    from backpack.extensions import BatchGrad

    loss = backpack.extend(torch.nn.CrossEntropyLoss(reduction="sum"))

    def act(model, batch) -> None:
        with backpack.backpack(BatchGrad()):
            loss(backpack.extend(model)(batch[0]), batch[1]).backward()
        rows = [p.grad_batch.flatten(1) for p in model.parameters()]
        sum(block @ block.T for block in rows)

    compare(benchmark, family, family.units, act)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_dattri(benchmark, family: Family) -> None:
    """The Gram matrix from captured factors, as data attribution has it; unchecked, in float32."""
    dattri = pytest.importorskip("dattri_llm")

    def act(model, batch) -> object:
        capture = dattri.CaptureCallback()
        config = dattri.HookManagerConfig(linear_io=dattri.REGISTER_ALL)
        with dattri.HookManager(model, config=config, callbacks=[capture]).collect(deregister_on_exit=True):
            family.losses(model, batch).sum().backward()
        gradient = capture.record.gradient
        return gradient.similarity(gradient, reduce="all")

    compare(benchmark, family, family.units, act)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_no_engine_is_refused_on_a_family(benchmark, family: Family) -> None:
    model, batch = family.model(), family.batch(2)

    def act() -> None:
        for name in ("streaming", "opacus"):
            try:
                engines[name].compute(model, batch, family.losses).gram()
            except Refused as reason:
                pytest.fail(f"{name} {reason}")

    benchmark.pedantic(act, rounds=1)
