"""The main job: every case, batch size and batch; every engine checked; every convention compared."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping, Sized
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

from suite.equivalence.laws import LAWS
from suite.errors import UsageError, unknown
from suite.machine.progress import Progress
from suite.running.declaration import checked, documented, for_workers
from suite.running.driver import Driver, make
from suite.running.executors import time_limit as limits
from suite.running.options import FORMER_NAMES, RunOptions, absolute, check_time_limit
from suite.running.order import Shard
from suite.running.tasks import BrokenDevice, Executor

if TYPE_CHECKING:
    from suite.report.run_result import RunResult

Given = ParamSpec("Given")


def _taking(
    options: Callable[Given, RunOptions],
) -> Callable[[Callable[[RunOptions], RunResult]], Callable[Given, RunResult]]:
    """Let a function of options take each of them as an argument, and document them."""
    assert isinstance(options, type)  # noqa: S101  for the checker of types it is a function
    signature = inspect.signature(options)

    def decorate(function: Callable[[RunOptions], RunResult]) -> Callable[Given, RunResult]:
        @functools.wraps(function)
        def taking(*args: Given.args, **kwargs: Given.kwargs) -> RunResult:
            given = {FORMER_NAMES.get(name, name): value for name, value in kwargs.items()}
            for name in given.keys() - signature.parameters.keys():
                raise unknown("argument of run", name, signature.parameters, "help(gradsuite.run)")
            _refuse_empty(dict(zip(signature.parameters, args, strict=False)) | given)
            return function(options(*args, **given))

        section = f"    Args:\n{documented(options)}\n\n    Returns:"
        taking.__doc__ = (function.__doc__ or "").replace("    Returns:", section, 1)
        result = inspect.signature(function).return_annotation
        vars(taking)["__signature__"] = signature.replace(return_annotation=result)
        taking.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
        taking.__annotations__["return"] = result
        return taking

    return decorate


_ALL = ("cases", "conventions", "batch_sizes")
"""Where nothing is said of these, all are meant."""


def _refuse_empty(given: Mapping[str, Any]) -> None:
    """A list that came out empty means nothing, and would measure everything."""
    for name in _ALL:
        value = given.get(name)
        if getattr(value, "ndim", 1) == 0:  # a tensor of one number has a length that raises
            continue
        if isinstance(value, Sized) and not isinstance(value, str) and not len(value):
            raise UsageError(f"{name} is empty: name what is to be measured, or leave {name} out for all")


@_taking(RunOptions)
def run(options: RunOptions) -> RunResult:
    """Measure conventions on cases.

    Returns:
        The result of what was asked for. A case that fails is in its `.failures`; the others are
        measured all the same.

    Raises:
        UsageError: Something asked for does not exist or cannot be; what was measured before it was
            found is in the output folder.

    Examples:
        >>> import gradsuite
        >>> result = gradsuite.run(["mse"], ["sum"], batch_sizes=[32], engine="loop", quick=True)
        >>> result.discrepancies.query("samples == 32").scale.round(6).unique().tolist()  # n
        [32.0]
    """
    import torch

    from suite.discovery import choose
    from suite.machine.environment import told_of_choice
    from suite.machine.global_state import DIRECTORY, loading, on_host, preserved
    from suite.report.run_result import RunResult

    folder = None if options.output is None else Path(options.output)
    with ExitStack() as stack:
        # Case files may go to another folder: what was given is meant from here.
        stack.enter_context(preserved([DIRECTORY]))
        stack.enter_context(on_host())
        options = dataclasses.replace(options, from_files=absolute(options.from_files))
        written = None if folder is None else folder.absolute()
        with loading(), limits.loaded(options.time_limit):
            chosen, claims = choose(options.cases, options.from_files)
        options = checked(options)
        laws = tuple(law.name for law in LAWS.match(options.optimizers))
        part = Shard(options.shard)
        executor = stack.enter_context(_executor(options))
        asked, options = options.device, options.on(executor.device(options.device))
        executor.open(for_workers(options))
        # Wrong input is found before the folder is made.
        plan = make(executor, [case.name for case in chosen], claims, train=options.steps > 0)
        plan = plan.part(part.choose(plan.tasks, plan.checks)) if part.count > 1 else plan
        shown = stack.enter_context(Progress(len(plan.tasks) + len(plan.checks), shown=options.progress))
        if told := told_of_choice(asked, torch.device(options.device)):  # uncovered: needs a CUDA device
            shown.note(told)
        recorder = None
        if written is not None:
            from suite.records.writer import Recorder

            recorder = stack.enter_context(Recorder(written, say=shown.note))
        driver = Driver(options, executor, plan, shown, recorder)
        try:
            driver.go()
        except BrokenDevice:
            if folder is not None:
                RunResult(driver.rows, laws).write(folder)
            raise
        except UsageError:
            raise  # the disk refused a record: it has no space for tables
        except BaseException:
            # What was measured before has its tables as well.
            if written is not None:
                with suppress(UsageError):
                    RunResult(driver.rows, laws).write(written)
            raise
    result = RunResult(driver.rows, laws)
    if folder is not None:
        result.write(folder)
    return result


def _executor(options: RunOptions) -> Executor:
    limit = check_time_limit(options.time_limit)
    if options.cluster is not None:
        if options.processes is not None:
            raise UsageError("-j and --cluster exclude each other: a cluster has workers of its own")
        from suite.running.executors.dask import Cluster

        return Cluster(options.cluster, limit=limit)
    if options.processes is not None or limit is not None:
        from suite.running.executors.processes import Processes

        if options.processes is None:  # only a process can be stopped: one, as fast as this one
            return Processes(1, threads=None, limit=limit)
        return Processes(options.processes, limit=limit)
    from suite.running.executors.serial import Serial

    return Serial()
