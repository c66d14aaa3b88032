"""The main job: every case, batch size and batch; every engine checked; every convention compared."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from suite.conventions import conventions as registry
from suite.engines import engines
from suite.equivalence.laws import LAWS
from suite.errors import UsageError
from suite.machine.memory import parse_bytes
from suite.machine.progress import Progress
from suite.report.learning_rates import OPTIMIZERS
from suite.running.driver import Driver, make
from suite.running.executors import time_limit as limits
from suite.running.order import Shard
from suite.running.tasks import Executor, RunOptions

if TYPE_CHECKING:
    from suite.report.run_result import RunResult

CHECK_STEPS = 10


def run(
    cases: Sequence[str] = (),
    conventions: Sequence[str] = (),
    *,
    batch_sizes: Sequence[int] = (),
    reference: str = "mean",
    engine: str = "opacus",
    device: str = "auto",
    dtype: str = "float32",
    memory: int | str | None = None,
    seed: int = 0,
    from_files: Sequence[str | Path] = (),
    output: str | Path | None = None,
    resume: bool = True,
    quick: bool = False,
    optimizers: Sequence[str] = OPTIMIZERS,
    prove: int | None = None,
    deterministic: bool = True,
    processes: int | None = None,
    shard: str = "1/1",
    cluster: str | None = None,
    time_limit: float | None = None,
    progress: bool = False,
) -> RunResult:
    """Measure conventions on cases.

    Args:
        cases: glob patterns of names, of sources of claims too (`claims/*`); all cases where there is none.
        conventions: glob patterns of names; all conventions where there is none.
        batch_sizes: the sizes of full batches; each case's own where there is none.
        reference: the convention that the others are compared with.
        engine: the engine to try first.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        dtype: the format whose rounding is measured; verdicts are decided in float64.
        memory: how many bytes a process may hold for gradients, as a number, `500MB` or `2GiB`: chooses in
            what pieces they are computed, not what comes out; half of what is free on the device if
            None. Where it is given, a case that cannot be measured within it is found first.
        seed: of the models' parameters and the order of the data.
        from_files: Python files or importable modules that register further cases.
        output: the folder for records and tables; nothing is written where it is None. Where it holds
            records of this run, only what is missing, failed, or made by other code is measured.
        resume: whether to go on with what the folder holds; False to measure all of it again.
        quick: no batch size above 32, and no training check.
        optimizers: whose hyperparameters are tabulated besides SGD's learning rate; glob patterns.
        prove: for how many steps equivalent hyperparameters are trained and compared, at the batch size
            nearest to 8; 10 if None, 0 for no training check.
        deterministic: whether torch must use deterministic algorithms.
        processes: measure in as many processes of one torch thread each; in this one if None.
        shard: which part of the run this is, `i/n`; `gradsuite merge` puts the parts together.
        cluster: the address of a Dask scheduler whose workers measure.
        time_limit: the seconds that one task may take: building a case, one of its batches, one training
            check or one claim. What takes longer is stopped, and is a failure; for that, all is measured in
            another process. Case files that are not loaded five minutes later are an error. No limit
            if None.
        progress: whether to show progress on standard error.

    Returns:
        The report of what was asked for. A case that fails is in its `.failures`; the others are
        measured all the same.

    Raises:
        UsageError: Something asked for does not exist or cannot be; what was measured before it was
            found is in the output folder.

    Example:
        >>> import gradsuite
        >>> result = gradsuite.run(["mse"], ["sum"], batch_sizes=[32], engine="loop", quick=True)
        >>> result.discrepancies.query("samples == 32").scale.round(6).unique().tolist()  # n
        [32.0]
    """
    from suite.discovery import choose
    from suite.machine.environment import choose_dtype
    from suite.machine.global_state import loading
    from suite.report.run_result import RunResult

    with loading(), limits.loaded(time_limit):
        chosen, claims = choose(cases, from_files)
    choose_dtype(dtype)
    laws = tuple(law.name for law in LAWS.match(optimizers))
    steps = (0 if quick else CHECK_STEPS) if prove is None else prove
    _check_numbers(batch_sizes, seed, steps)
    part = Shard(shard)
    options = RunOptions(
        device=device,
        dtype=dtype,
        engine=engines[engine].name,
        conventions=tuple(c.name for c in registry.match(conventions)),
        asked=tuple(conventions),
        reference=registry[reference].name,
        seed=seed,
        deterministic=deterministic,
        batch_sizes=tuple(batch_sizes),
        quick=quick,
        steps=steps,
        memory=parse_bytes(memory),
        files=tuple(_absolute(file) for file in from_files),
    )
    folder = None if output is None else Path(output)
    with ExitStack() as stack:
        executor = stack.enter_context(_executor(processes, cluster, time_limit))
        options = options.on(executor.device(device))
        executor.open(options)
        # Wrong input is found before the folder is made.
        plan = make(executor, [case.name for case in chosen], claims, train=steps > 0)
        plan = plan.part(part.choose(plan.tasks, plan.checks)) if part.count > 1 else plan
        shown = stack.enter_context(Progress(len(plan.tasks) + len(plan.checks), shown=progress))
        recorder = None
        if folder is not None:
            from suite.records.writer import Recorder

            recorder = stack.enter_context(Recorder(folder, say=shown.note))
        driver = Driver(options, executor, plan, shown, recorder, resume=resume)
        try:
            driver.go()
        except UsageError:
            raise  # the disk refused a record: no room for tables
        except BaseException:
            # What was measured before has its tables as well.
            if folder is not None:
                with suppress(UsageError):
                    RunResult(driver.rows, laws).write(folder)
            raise
    report = RunResult(driver.rows, laws)
    if folder is not None:
        report.write(folder)
    return report


def _executor(processes: int | None, cluster: str | None, limit: float | None) -> Executor:
    limits.check_time_limit(limit)
    if cluster is not None:
        if processes is not None:
            raise UsageError("-j and --cluster exclude each other: a cluster has workers of its own")
        from suite.running.executors.dask import Cluster

        return Cluster(cluster, limit=limit)
    if processes is not None or limit is not None:
        from suite.running.executors.processes import Processes

        if processes is None:  # only a process can be stopped: one, as fast as this one
            return Processes(1, threads=None, limit=limit)
        return Processes(processes, limit=limit)
    from suite.running.executors.serial import Serial

    return Serial()


def _absolute(file: str | Path) -> str:
    """A file by its whole path, which workers elsewhere need; a module by its name."""
    return str(Path(file).absolute()) if str(file).endswith(".py") else str(file)


def _check_numbers(batch_sizes: Sequence[int], seed: int, steps: int) -> None:
    if any(size < 1 for size in batch_sizes):
        raise UsageError(f"batch sizes must be 1 or more, {min(batch_sizes)} was given")
    if not 0 <= seed < 2**63:
        raise UsageError(f"the seed must be a whole number from 0 on, {seed} was given")
    if steps < 0:
        raise UsageError(f"a training check takes 0 steps or more, {steps} was given")
