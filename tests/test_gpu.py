"""What only a GPU can show, on a real one (`tox -e gpu`) or on the pretend one (`tox -e pretend-cuda`)."""

from __future__ import annotations

import contextlib
import copy
import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from torch import nn

import suite
from suite.algebra.units import Units
from suite.cli.main import main
from suite.engines import cost, engines
from suite.engines.chunks import Chunked
from suite.engines.per_sample_gradients import per_sample_gradients
from suite.equivalence.laws import LAWS
from suite.equivalence.register import _require_holds
from suite.errors import CaseError
from suite.loops import batch as batches
from suite.machine.environment import describe
from suite.machine.global_state import pinned
from suite.records.diff import diff
from suite.strategies.problems import problems

pytestmark = pytest.mark.gpu

two_devices = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")


def losses(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    return F.cross_entropy(model(batch[0]), batch[1], reduction="none")


def convolutional(device: str = "cuda") -> tuple[nn.Module, tuple[torch.Tensor, torch.Tensor]]:
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 8, 3, padding=1), nn.Tanh(), nn.Conv2d(8, 8, 3), nn.Tanh(), nn.Flatten()
    model = nn.Sequential(*layers, nn.Linear(8 * 36, 3)).to(device)
    return model, (torch.randn(6, 1, 8, 8).to(device), torch.randint(3, (6,)).to(device))


@pytest.fixture
def _tf32() -> Iterator[None]:
    """TF32 wherever torch has it; for convolutions that is torch's default."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    yield
    assert torch.backends.cuda.matmul.allow_tf32
    assert torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def test_verdicts_on_the_gpu_are_those_of_the_processor() -> None:
    names = ["mse-several-outputs", "cross-entropy-convolution", "next-token"]
    here, there = (suite.run(names, batch_sizes=[8], device=d) for d in ("cpu", "cuda"))
    found = diff(here.rows, there.rows)
    assert found.changes == []
    assert any(note.startswith("rounding_tf32: only the run has it") for note in found.notes)
    assert set(there.discrepancies.device) == {"cuda"}


def test_the_rounding_of_tf32_is_shown_where_the_device_has_it() -> None:
    found = suite.run(["cross-entropy-mlp"], ["sum", "half-mean"], device="cuda").discrepancies
    has = torch.cuda.get_device_capability() >= (8, 0)
    assert ("rounding_tf32" in found) == has


@pytest.mark.parametrize("engine", engines.names)
def test_engines_run_on_the_gpu(engine: str) -> None:
    found = suite.run(["cross-entropy-mlp"], ["sum"], batch_sizes=[8], engine=engine, device="cuda")
    assert set(found.discrepancies.engine) == {engine}


@pytest.mark.parametrize("engine", engines.names)
@pytest.mark.parametrize("memory", [None, 2_600_000])
@settings(max_examples=10, suppress_health_check=list(HealthCheck), deadline=None)
@given(problem=problems())
def test_engines_find_on_the_gpu_what_they_find_on_the_processor(engine, memory, problem) -> None:
    model, batch, unreduced = problem.build()
    found = []
    for device in ("cpu", "cuda"):
        there, moved = copy.deepcopy(model).to(device), batches.to(batch, device, torch.float64)
        try:
            with warnings.catch_warnings(), pinned(torch.device(device)):
                warnings.simplefilter("ignore")
                one = per_sample_gradients(there, moved, unreduced, engine=engine, memory=memory)
                reduced = one.reduce(np.ones((1, one.shape[0]))).cpu().numpy()
            found.append((one.engine, one.gram(), reduced))
        except CaseError:
            found.append(None)
    if None in found:
        assert found == [None, None]
        return
    (name, gram, reduced), (other, on_device, also) = found
    assert name == other
    assert on_device == pytest.approx(gram, rel=1e-7, abs=1e-9)
    assert also == pytest.approx(reduced, rel=1e-7, abs=1e-9)


@pytest.mark.usefixtures("_tf32")
@pytest.mark.parametrize("engine", engines.names)
def test_tf32_refuses_no_engine(engine: str) -> None:
    found = per_sample_gradients(*convolutional(), losses, engine=engine)
    assert (found.engine, dict(found.refused)) == (engine, {})
    here = per_sample_gradients(*convolutional("cpu"), losses, engine=engine)
    assert found.gram() == pytest.approx(here.gram(), rel=1e-3, abs=1e-4)


@pytest.mark.usefixtures("_tf32")
def test_tf32_hides_no_step_from_recovery() -> None:
    def step(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> None:
        assert not torch.backends.cudnn.allow_tf32
        losses(model, batch).mean().backward()

    model, batch = convolutional()
    found = suite.recover(step, model, batch, losses)
    assert found.weights == pytest.approx(np.full(6, 1 / 6), rel=1e-3)
    suite.assert_convention(step, model, batch, losses, "mean")


COLUMNS = '''
from cases import data, losses, models
from suite.case import Problem, case

@case(dataset="digits", batch_sizes=(8,))
def with_a_column_from_the_batch() -> Problem:
    """Cross-entropy with weights that are a tensor made of the batch."""
    return Problem(
        model=lambda: models.mlp(64, 8, 10),
        data=data.digits(),
        losses=losses.cross_entropy,
        columns=lambda batch: {"elements": 1, "weight": 1.0 + batch[1]},
    )
'''


def test_columns_of_a_case_may_be_tensors_made_of_its_batch(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(COLUMNS)
    asked = {"conventions": ["weighted-*"], "from_files": [tmp_path / "own.py"], "prove": 0}
    here, there = (suite.run(["with-a-column*"], device=d, **asked) for d in ("cpu", "cuda"))
    assert not there.failures
    assert diff(here.rows, there.rows).changes == []


def test_a_units_table_takes_tensors_of_any_device() -> None:
    units = Units.of(3, {"weight": torch.tensor([1, 2, 3], device="cuda")})
    assert units.require("weight").tolist() == [1.0, 2.0, 3.0]


@two_devices
def test_what_runs_on_the_second_device_is_timed_there(monkeypatch: pytest.MonkeyPatch) -> None:
    used = []
    record = torch.cuda.Event.record

    def noted(self, *given) -> None:
        used.append(torch.cuda.current_device())
        record(self, *given)

    monkeypatch.setattr(torch.cuda.Event, "record", noted)
    x = torch.ones(3, device="cuda:1")
    assert cost.seconds(lambda: x + x, x.device) > 0
    assert used == [1, 1]
    assert torch.cuda.current_device() == 0


@two_devices
@pytest.mark.usefixtures("_tf32")
def test_bench_times_engines_on_their_own_device_and_tf32_refuses_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    used, record = set(), torch.cuda.Event.record

    def noted(self, *given) -> None:
        used.add(torch.cuda.current_device())
        record(self, *given)

    monkeypatch.setattr(torch.cuda.Event, "record", noted)
    asked = ["bench", "--case=cross-entropy-convolution", "--units=4", "--rounds=1", "--conventions=2"]
    assert main([*asked, "--device=cuda:1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["environment"]["device"] == "cuda:1"
    assert used == {1}
    assert all("refused" not in row and row["peak"] > 0 for row in found["rows"]), found["rows"]


class Spread(nn.Module):
    """Layers on two devices, as pipelines and `device_map` lay them."""

    def __init__(self, *, last: str = "cuda:1", frozen: bool = False, p: float = 0.0) -> None:
        super().__init__()
        self.p = p
        self.first = nn.Linear(3, 64).to("cuda:0").requires_grad_(not frozen)
        self.second = nn.Linear(64, 64).to(last)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = F.dropout(torch.tanh(self.first(x)), self.p).to(self.second.weight.device)
        return F.dropout(self.second(hidden), self.p)

    @staticmethod
    def losses(model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
        return model(batch).square().sum(1)


@two_devices
@pytest.mark.parametrize("engine", engines.names)
def test_random_numbers_of_every_device_of_a_model_are_left_as_they_were(engine: str) -> None:
    model, batch = Spread(frozen=True, p=0.5), torch.randn(4, 3, device="cuda:0")
    before = torch.cuda.get_rng_state_all()
    with contextlib.suppress(CaseError):  # a model that draws has no gradients that could be checked twice
        per_sample_gradients(model, batch, Spread.losses, engine=engine)
    assert all(map(torch.equal, before, torch.cuda.get_rng_state_all()))


@two_devices
def test_recovery_leaves_the_random_numbers_of_every_device_as_the_step_left_them() -> None:
    def step(model: nn.Module, batch: torch.Tensor) -> None:
        model.losses(model, batch).mean().backward()

    model, batch = Spread(p=0.5), torch.randn(4, 3, device="cuda:0")
    before = torch.cuda.get_rng_state_all()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        suite.recover(step, model, batch, Spread.losses)
    assert all(map(torch.equal, before, torch.cuda.get_rng_state_all()))


@two_devices
@pytest.mark.parametrize("memory", [None, 2_350_000])
@pytest.mark.parametrize("engine", engines.names)
def test_layers_on_two_devices_have_the_gradients_that_they_have_on_one(
    engine: str, memory: int | None
) -> None:
    model, one, batch = Spread(), Spread(last="cuda:0"), torch.randn(5, 3, device="cuda:0")
    one.load_state_dict(model.state_dict())
    expected = per_sample_gradients(one, batch, Spread.losses)
    found = per_sample_gradients(
        model, batch, Spread.losses, engine=engine, memory=memory, regulariser=lambda m: m.second.bias.sum()
    )
    assert isinstance(found.gradients, Chunked) == (memory is not None)
    if memory is None:
        torch.testing.assert_close(found.matrix[:5].cpu(), expected.matrix.cpu())
    assert found.gram()[:5, :5] == pytest.approx(expected.gram(), rel=1e-5)
    column = np.arange(1.0, 6)
    reduced = found.reduce(np.append(column, 0)[None]).cpu()
    torch.testing.assert_close(reduced, expected.reduce(column[None]).cpu())


@two_devices
def test_the_weights_of_a_step_are_found_for_layers_on_two_devices() -> None:
    def step(model: nn.Module, batch: torch.Tensor) -> None:
        (Spread.losses(model, batch) * torch.tensor([1, 2, 3, 4, 5.0], device="cuda:1")).mean().backward()

    found = suite.recover(step, Spread(), torch.randn(5, 3, device="cuda:0"), Spread.losses)
    assert found.weights == pytest.approx(np.arange(1, 6) / 5, rel=1e-4)


@pytest.fixture
def _default_device() -> Iterator[None]:
    """New tensors are on the GPU, as scripts like it that begin with `torch.set_default_device`."""
    torch.set_default_device("cuda")
    yield
    assert torch.get_default_device().type == "cuda"
    torch.set_default_device(None)


@pytest.mark.usefixtures("_default_device")
@pytest.mark.parametrize("engine", engines.names)
def test_a_default_device_changes_no_gradient_and_no_weight(engine: str) -> None:
    def step(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> None:
        losses(model, batch).mean().backward()

    model, batch = convolutional()
    found = per_sample_gradients(model, batch, losses, engine=engine)
    assert (found.engine, dict(found.refused)) == (engine, {})
    assert suite.recover(step, model, batch, losses, engine=engine).weights == pytest.approx(1 / 6, rel=1e-3)


@pytest.mark.usefixtures("_default_device")
def test_a_run_and_a_law_are_the_same_under_a_default_device() -> None:
    asked = {"batch_sizes": [8], "device": "cpu", "prove": 2, "conventions": ["sum", "clip-each-unit"]}
    under = suite.run(["cross-entropy-mlp"], **asked)
    torch.set_default_device(None)
    assert diff(suite.run(["cross-entropy-mlp"], **asked).rows, under.rows).changes == []
    torch.set_default_device("cuda")
    _require_holds(LAWS["SGD"])


@pytest.mark.usefixtures("_default_device")
def test_a_training_run_on_a_gpu_is_audited_in_place() -> None:
    model, batch = convolutional()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with suite.watch(model, losses) as audit:
        for x, y in audit.see([batches.select(batch, rows) for rows in (slice(4), slice(4, 6))]):
            (F.cross_entropy(model(x), y) / 2).backward()
        optimizer.step()
    assert audit.updates[0].convention.name == "mean-of-microbatch-means"


@two_devices
def test_workers_share_the_devices() -> None:
    found = suite.run(["mse", "l1"], ["sum"], batch_sizes=[8], device="cuda", processes=2, prove=0)
    assert not found.failures
    assert set(found.discrepancies.device) == {"cuda:0", "cuda:1"}


POOLED = '''
from torch import nn
from cases import data, losses
from suite.case import Problem, case

@case(dataset="digits", batch_sizes=(8,))
def pooled() -> Problem:
    """Cross-entropy behind a pooling that CUDA computes in any order."""
    return Problem(
        model=lambda: nn.Sequential(
            nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(4), nn.Flatten(),
            nn.Linear(32, 10),
        ),
        data=data.digits(),
        losses=losses.cross_entropy,
        columns=lambda batch: {"elements": 1},
    )
'''


def test_an_operation_without_a_deterministic_version_names_the_switch(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(POOLED)
    asked = {"conventions": ["sum"], "from_files": [tmp_path / "own.py"], "prove": 0, "device": "cuda"}
    (told,) = {row["reason"] for row in suite.run(["pooled"], **asked).rows if row["kind"] == "failure"}
    assert told.endswith(
        "deterministic implementation: --no-deterministic (deterministic=False) allows others"
    )
    assert not suite.run(["pooled"], **asked, deterministic=False).failures


def test_what_numbers_depend_on_is_recorded() -> None:
    with pinned(torch.device("cuda")):
        found = describe(torch.device("cuda"))
    major, minor = torch.cuda.get_device_capability()
    assert found["capability"] == f"{major}.{minor}"
    assert (found["reduced_sums"], found["tf32"]) == (False, False)
    assert found["attention"] == "flash, mem_efficient, math, cudnn"
    assert found["cudnn"] in (None, str(torch.backends.cudnn.version()))
    (row,) = (
        r for r in suite.run(["mse"], ["sum"], device="cuda", quick=True).rows if r["kind"] == "environment"
    )
    assert row["capability"] == found["capability"]


def test_auto_says_that_it_took_a_gpu_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    suite.run(["mse"], ["sum"], batch_sizes=[8], prove=0, progress=True)
    assert "as --device auto takes CUDA where it is" in capsys.readouterr().err


def test_class_weights_of_drawn_problems_are_on_the_device_of_the_model() -> None:
    from suite.strategies.problems import CLASSIFICATION

    out, y = torch.randn(4, 3, device="cuda"), torch.randint(3, (4,), device="cuda")
    for expression in CLASSIFICATION:
        assert eval(expression, {"F": F, "torch": torch, "out": out, "y": y}).shape == (4,)  # noqa: S307
