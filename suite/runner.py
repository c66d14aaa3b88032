"""The main job: every case, batch size and batch; every engine checked; every convention compared."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite.conventions import conventions as registry
from suite.engines import engines
from suite.equivalence.laws import LAWS
from suite.errors import UsageError, one_line
from suite.progress import Progress
from suite.records import Recorder

if TYPE_CHECKING:
    from cases.case import Case, Problem
    from cases.threads import Thread
    from suite.measure import Setting
    from suite.plan import Cell
    from suite.report import Report

Row = dict[str, Any]

OPTIMIZERS = ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad")
PROOF_STEPS, PROOF_BATCH_SIZE = 10, 8


def run(
    cases: Sequence[str] = (),
    conventions: Sequence[str] = (),
    *,
    batch_sizes: Sequence[int] = (),
    reference: str = "mean",
    engine: str = "opacus",
    device: str = "auto",
    dtype: str = "float32",
    seed: int = 0,
    from_files: Sequence[str | Path] = (),
    output: str | Path | None = None,
    quick: bool = False,
    optimizers: Sequence[str] = OPTIMIZERS,
    prove: int | None = None,
    deterministic: bool = True,
    progress: bool = False,
) -> Report:
    """Measure conventions on cases.

    Args:
        cases: glob patterns of names, of threads too (`threads/*`); all cases where there is none.
        conventions: glob patterns of names; all conventions where there is none.
        batch_sizes: the sizes of full batches; each case's own where there is none.
        reference: the convention that the others are compared with.
        engine: the engine to try first.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        dtype: the format whose rounding is measured; verdicts are decided in float64.
        seed: of the models' parameters and the order of the data.
        from_files: Python files or importable modules that register further cases.
        output: the folder for records and tables; nothing is written where it is None.
        quick: no batch size above 32, and nothing is proven.
        optimizers: whose hyperparameters are tabulated besides SGD's learning rate; glob patterns.
        prove: for how many steps equivalent hyperparameters are trained, at the batch size nearest
            to 8; 10 if None, 0 for no proof.
        deterministic: whether torch must use deterministic algorithms.
        progress: whether to show progress on standard error.

    Returns:
        The report. A case that fails is in its `.failures`; the others are measured all the same.

    Raises:
        UsageError: Something asked for does not exist or cannot be; what was measured before it was
            found is in the output folder.
    """
    import torch

    from suite.environment import choose_device, choose_dtype, describe, steady
    from suite.measure import Setting
    from suite.precision import precisions
    from suite.report import Report
    from suite.sources import choose

    chosen, threads = choose(cases, from_files)
    where = choose_device(device)
    asked = tuple(batch_sizes)
    steps = (0 if quick else PROOF_STEPS) if prove is None else prove
    _check_numbers(asked, seed, steps)
    laws = [law.name for law in LAWS.match(optimizers)]
    exact = torch.float32 if where.type == "mps" else torch.float64
    setting = Setting(
        device=where,
        exact=exact,
        precisions=precisions(where, choose_dtype(dtype)),
        engine=engines[engine].name,
        conventions=registry.match(conventions),
        reference=registry[reference],
        dtype=dtype,
        seed=seed,
        deterministic=deterministic,
    )
    # Wrong input is found before the folder is made.
    with steady(where, deterministic=deterministic):
        plans, unbuilt = _plans(chosen, asked, seed, quick=quick)
        machine = describe(where)

    rows: list[Row] = []
    folder = None if output is None else Path(output)
    with ExitStack() as stack:
        recorder = None if folder is None else stack.enter_context(Recorder(folder))

        def keep(row: Row) -> None:
            rows.append(row)
            if recorder is not None:
                recorder.write(row)

        started = datetime.now(UTC).isoformat(timespec="seconds")
        named = {"reference": setting.reference.name, "engine": setting.engine}
        keep({"kind": "environment", "started": started, **machine, **setting.identity, **named})
        for failure in unbuilt:
            keep(failure)
        total = sum(len(cells) for _, _, cells in plans) + (len(plans) if steps else 0)
        total += sum(len(thread.claims()) for thread in threads)
        shown = Progress(total, shown=progress)
        try:
            for case, problem, cells in plans:
                _run_case(case, problem, cells, setting, keep, shown)
            for thread in threads:
                _settle(thread, setting, keep, shown)
            if steps:
                _prove(plans, Report(rows).learning_rate_rows, setting, steps, keep, shown)
        finally:
            # An interrupted run keeps the tables of what it measured.
            shown.finish()
            report = Report(rows, tuple(laws))
            if folder is not None:
                report.write(folder)
    return report


def _check_numbers(batch_sizes: Sequence[int], seed: int, steps: int) -> None:
    if any(size < 1 for size in batch_sizes):
        raise UsageError(f"batch sizes must be 1 or more, {min(batch_sizes)} was given")
    if not 0 <= seed < 2**63:
        raise UsageError(f"the seed must be a whole number from 0 on, {seed} was given")
    if steps < 0:
        raise UsageError(f"a proof takes 0 steps or more, {steps} was given")


def _plans(
    chosen: Sequence[Case], asked: tuple[int, ...], seed: int, *, quick: bool
) -> tuple[list[tuple[Case, Problem, list[Cell]]], list[Row]]:
    """Each case with its problem and cells, and a failure for each that cannot be built."""
    from suite.plan import cells, sizes

    plans, failures = [], []
    for case in chosen:
        try:
            problem = case.build()
            chosen_sizes = sizes(case, problem, asked, quick=quick)
        except UsageError:
            raise
        except Exception as error:  # noqa: BLE001  a case is anybody's code
            failures.append({"kind": "failure", "case": case.name, "reason": one_line(error)})
            continue
        plans.append((case, problem, cells(problem, chosen_sizes, seed)))
    return plans, failures


def _run_case(
    case: Case,
    problem: Problem,
    cells: Sequence[Cell],
    setting: Setting,
    keep: Callable[[Row], None],
    shown: Progress,
) -> None:
    """Measure the cells of one case; a cell that fails ends in a failure and the next goes on."""
    import torch

    from suite.environment import steady
    from suite.measure import measure

    said: set[str] = set()
    for cell in cells:
        shown.step(case.name, f"batch size {cell.batch_size}, batch {cell.batch}")
        identity = {"case": case.name, "batch_size": cell.batch_size, "batch": cell.batch}
        identity |= setting.identity
        begin = time.perf_counter()
        try:
            # Each cell finds torch as the first one did, whatever a case did to it.
            with steady(setting.device, deterministic=setting.deterministic):
                torch.manual_seed(setting.seed)
                model = problem.model().to(device=setting.device, dtype=setting.exact)
                found = list(measure(problem, model, cell, setting))
        except Exception as error:  # noqa: BLE001  a case is anybody's code
            reason = one_line(error)
            keep({"kind": "failure", **identity, "reason": reason})
            if reason not in said:
                shown.note(f"{case.name}, batch size {cell.batch_size}: {reason}")
            said.add(reason)
            continue
        spent = round(time.perf_counter() - begin, 6)
        for row in found:
            keep({**identity, **row, "seconds": spent})


def _settle(thread: Thread, setting: Setting, keep: Callable[[Row], None], shown: Progress) -> None:
    """Put the claims of a thread to the test; one that fails ends in a failure and the next goes on."""
    import torch

    from cases.threads import measure
    from suite.environment import steady

    for claim in thread.claims():
        shown.step(thread.name, claim.name)
        try:
            with steady(torch.device("cpu"), deterministic=setting.deterministic):
                row = measure(thread, claim)
        except Exception as error:  # noqa: BLE001  as for a case
            row = {"kind": "failure", "case": thread.name, "claim": claim.name, "reason": one_line(error)}
            shown.note(f"{thread.name}, {claim.name}: {row['reason']}")
        keep({"device": "cpu", "dtype": "float64", **row})


def _prove(
    plans: Sequence[tuple[Case, Problem, list[Cell]]],
    rates: Sequence[Row],
    setting: Setting,
    steps: int,
    keep: Callable[[Row], None],
    shown: Progress,
) -> None:
    """Train what `rates` promises, one batch size a case."""
    from suite.environment import steady
    from suite.plan import training
    from suite.proof import proofs

    for case, problem, cells in plans:
        size = min((cell.batch_size for cell in cells), key=lambda n: abs(n - PROOF_BATCH_SIZE))
        chosen = [r for r in rates if (r["case"], r["batch_size"], r["samples"]) == (case.name, size, size)]
        if not chosen:  # it failed
            continue
        shown.step("proof", f"of {case.name}, {steps} steps at batch size {size}")
        with steady(setting.device, deterministic=setting.deterministic):
            batches = training(problem, size, setting.seed, steps)
            for row in proofs(problem, batches, chosen, setting):
                keep({**setting.identity, **row})
