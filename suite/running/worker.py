"""What measures tasks, wherever it runs: one worker a process, with the cases that it has built."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from suite import discovery
from suite.case import Problem, cases
from suite.claim import claim_sources, measure_claim
from suite.conventions import conventions
from suite.engines import engines
from suite.engines.memory_plan import DoesNotFit
from suite.errors import CaseError, UsageError, one_line, place
from suite.loops import batch as batches
from suite.loops.given import require_model
from suite.machine import environment
from suite.machine.global_state import loading, pinned, seed
from suite.machine.memory import format_bytes, parse_bytes
from suite.machine.usage import metered
from suite.records.fields import Row
from suite.records.schema import name_of
from suite.running import plan
from suite.running.fingerprint import digest
from suite.running.measure import MeasureContext, measure, require_memory_for
from suite.running.options import RunOptions
from suite.running.rounding import precisions
from suite.running.tasks import Outcome, Task, fingerprint, options_of_rows, short
from suite.running.training_check import TrainedWeights, check_rates

ROOTS = {
    "cell": ("suite.running.measure", "suite.running.plan"),
    "training_check": ("suite.running.training_check",),
}
"""The modules that measure cells and check training, besides engines, the case and its conventions."""

CLAIMED: Row = {"device": "cpu", "dtype": "float64"}
"""What all claims are tested with, whatever else a run measures with."""


class Worker:
    """Measures tasks with the same options.

    Args:
        options: of the run.
        share: how many processes share the device, and so what is free on it.
    """

    def __init__(self, options: RunOptions, share: int = 1) -> None:
        self.options = options
        self._share = share
        self._problems: dict[str, Problem] = {}
        self._plans: dict[str, list[plan.Cell]] = {}
        self._bases: dict[tuple[str, str], str] = {}
        self._conventions: dict[str, str] = {}
        self._trained = TrainedWeights()
        with loading():
            discovery.load_cases(options.from_files)
            discovery.load_claims()

    def prepare(self) -> None:
        """Import what the first task would, and look at the machine: so no task's time is spent on it."""
        for engine in engines.names[engines.names.index(self.options.engine) :]:
            import_module(engines[engine].module)
        _ = self.environment

    def perform(self, task: Task) -> Outcome:
        """Measure one task. What fails ends in a row of kind `failure`: a case is anybody's code."""
        with metered(self.context.device) as spent:
            outcome = self._attempt(task)
        cost = spent | {"environment": self.environment["environment"]}
        return Outcome(
            [{**row, **cost} for row in outcome.rows],
            self.environment,
            outcome.fingerprint,
            outcome.cells,
            outcome.bases,
            outcome.refused,
            outcome.broken,
        )

    @cached_property
    def context(self) -> MeasureContext:
        """The options, with what they name."""
        o = self.options
        device = environment.choose_device(o.device)
        return MeasureContext(
            device=device,
            exact=torch.float32 if device.type == "mps" else torch.float64,
            precisions=precisions(device, environment.choose_dtype(o.dtype)),
            engine=o.engine,
            conventions=conventions.match(o.conventions),
            reference=conventions[o.reference],
            seed=o.seed,
            memory=parse_bytes(o.memory),
            share=self._share,
        )

    @cached_property
    def environment(self) -> Row:
        """What everything here is measured with: a row of kind `environment`, and its name."""
        o = self.options
        with pinned(self.context.device, deterministic=o.deterministic):
            machine = environment.describe(self.context.device)
        row = (
            machine
            | options_of_rows(o)
            | {"reference": o.reference, "engine": o.engine, "memory": self.context.memory}
        )
        started = datetime.now(UTC).isoformat(timespec="seconds")
        return {"kind": "environment", "environment": name_of(row), "started": started, **row}

    @cached_property
    def _versions(self) -> dict[str, str]:
        return environment.versions()

    def base(self, kind: str, case: str) -> str:
        """The digest of the code, data, versions and options that tasks of this kind depend on."""
        if (kind, case) in self._bases:
            return self._bases[kind, case]
        o = self.options
        known: list[Any] = [self._versions, self._code(kind, case), o.deterministic]
        if kind != "claim":
            chosen = [convention.name for convention in self.context.conventions]
            names = {*chosen, o.reference}
            names |= {against for name in names if (against := conventions[name].against)}
            known.append({name: self._convention(name) for name in sorted(names)})
            known.append([o.device_type, o.dtype, o.engine, chosen, o.reference, o.seed])
            known.append(_data_digest(self._problem(case).data))
        return self._bases.setdefault((kind, case), short(known))

    def _attempt(self, task: Task) -> Outcome:
        known = CLAIMED if task.kind == "claim" else options_of_rows(self.options)
        device = torch.device("cpu") if task.kind == "claim" else self.context.device
        known_by = broken = ""
        try:
            # Each task finds the world as the first one did, whatever a case did to it.
            with pinned(device, deterministic=self.options.deterministic):
                seed(known.get("seed", 0))
                if task.kind == "plan":
                    return self._plan(task.case)
                known_by = fingerprint(task, self.base(task.kind, task.case), self.options)
                rows = [{**task.identity, **known, **row} for row in self._measure(task)]
        except (Exception, SystemExit) as error:  # noqa: BLE001  a case is anybody's code
            rows = [{"kind": "failure", **task.identity, **known, "reason": self._reason(error)}]
            broken = self._broken(device)
        return Outcome(rows, fingerprint=known_by, broken=broken)

    def _reason(self, error: BaseException) -> str:
        """What failed; and the option that lets it be, where torch names its own."""
        said = one_line(error)
        if not isinstance(error, UsageError | CaseError):
            said += place(error)
        what, found, _ = said.partition(" does not have a deterministic implementation")
        if not found or not self.options.deterministic:
            return said
        return f"{what}{found}: --no-deterministic (deterministic=False) allows others"

    @staticmethod
    def _broken(device: torch.device) -> str:
        """Why the device of this process computes nothing any more; empty where it does."""
        if device.type != "cuda":
            return ""
        try:  # uncovered: needs a CUDA device
            torch.cuda.synchronize(device)
        except RuntimeError as error:
            return one_line(error).partition(" CUDA kernel errors")[0]
        return ""

    def _plan(self, case: str) -> Outcome:
        if case in claim_sources:
            return Outcome([], bases={"claim": self.base("claim", case)})
        batches.size(self._problem(case).data)
        try:
            cells = self._cells(case)
        except UsageError as error:
            if not self.options.batch_sizes:  # the case's own do not fit its data
                raise
            return Outcome([], refused=one_line(error))
        if self.context.memory is not None:
            try:
                self._require_room(case, max(cells, key=lambda cell: len(cell.rows)))
            except DoesNotFit as error:
                told = f"case {case!r} {error}: give --memory {format_bytes(error.needed)} or more"
                return Outcome([], refused=told)
        found = []
        for cell in cells:
            more = {k: v for k, v in vars(cell).items() if k not in ("batch_size", "batch", "rows")}
            found.append(Task("cell", case, cell.batch_size, cell.batch, marks=tuple(sorted(more.items()))))
        bases = {kind: self.base(kind, case) for kind in ("cell", "training_check")}
        return Outcome([], cells=tuple(found), bases=bases)

    def _require_room(self, case: str, cell: plan.Cell) -> None:
        """Find a case that does not fit before anything is measured; what else ails it, its cells tell."""
        problem = self._problem(case)
        with suppress(UsageError, CaseError):
            require_memory_for(problem, self._model(problem), cell, self.context)

    def _model(self, problem: Problem) -> torch.nn.Module:
        seed(self.context.seed)
        device, dtype = self.context.device, self.context.exact
        model = problem.model()
        require_model(model)
        return model.to(device=device, dtype=dtype, non_blocking=device.type == "cuda")

    def _measure(self, task: Task) -> Iterator[Row]:
        context = self.context
        if task.kind == "claim":
            source = claim_sources[task.case]
            claim = next(claim for claim in source.claims() if claim.name == task.claim)
            yield measure_claim(source, claim)
            return
        problem = self._problem(task.case)
        if task.kind == "training_check":
            batches = plan.training(problem, task.batch_size, context.seed, self.options.steps)
            yield from check_rates(problem, batches, task.rates, context, self._trained)
            return
        yield from measure(problem, self._model(problem), self._cell(task), context)

    def _problem(self, case: str) -> Problem:
        if case not in self._problems:
            # By itself: it is built once in a process, within whichever task needs it first.
            with pinned(self.context.device, deterministic=self.options.deterministic):
                seed(self.options.seed)
                self._problems[case] = cases[case].problem()
        return self._problems[case]

    def _cells(self, case: str) -> list[plan.Cell]:
        if case not in self._plans:
            o, problem = self.options, self._problem(case)
            sizes = plan.sizes(cases[case], problem, o.batch_sizes, quick=o.quick)
            self._plans[case] = plan.cells(problem, sizes, o.seed)
        return self._plans[case]

    def _cell(self, task: Task) -> plan.Cell:
        wanted = task.batch_size, task.batch
        return next(cell for cell in self._cells(task.case) if (cell.batch_size, cell.batch) == wanted)

    def _code(self, kind: str, case: str) -> str:
        """The machine, its engines and the case; of other cases and of conventions nothing counts here."""
        if kind == "claim":  # whatever it uses
            source = claim_sources[case]
            return short([digest([source.module]), *(_file_digest(path) for path in source.files)])
        home = cases[case].build.__module__
        others = {c.column.__module__ for c in conventions} | {other.build.__module__ for other in cases}
        used = [engine.module for engine in engines] if kind == "cell" else []
        return digest((*ROOTS[kind], *used, home), without=frozenset(others - {home}))

    def _convention(self, name: str) -> str:
        if name not in self._conventions:
            chosen = conventions[name]
            self._conventions[name] = digest({chosen.column.__module__, chosen.reference_loop.__module__})
        return self._conventions[name]


def _file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _data_digest(data: batches.Batch) -> str:
    whole = hashlib.sha256()

    def add(tensor: torch.Tensor) -> torch.Tensor:
        whole.update(f"{tensor.dtype} {list(tensor.shape)}".encode())
        whole.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        return tensor

    batches.map_tensors(add, data)
    return whole.hexdigest()[:16]
