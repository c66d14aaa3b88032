"""The options of a run, declared once: what `gradsuite run` parses, `suite.run` takes and workers get.

An option is a field of `RunOptions`. From its declaration come the flags and the help of the command line,
the argument of `suite.run` and its documentation, the check of what was given, what travels to the workers,
and what the tests of command lines try.
"""

from __future__ import annotations

import dataclasses
import math
import os
import re
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

from suite.errors import UsageError, shortened
from suite.report import OPTIMIZERS
from suite.running.declaration import option
from suite.running.given import as_path, as_seconds, option_name, several, texts, whole

CHECK_STEPS = 10
"""How many steps a training check has where nobody says."""

PROCESSES_A_CORE = 64
"""More processes than this many times the processors only take each other's memory."""

FORMER_NAMES = {"prove": "check_steps"}
"""What arguments of `suite.run` were called before, and are called now."""

# Checks import what they need when they run: `--help` answers without torch.


def _conventions(patterns: Sequence[str]) -> tuple[str, ...]:
    from suite.conventions import conventions

    conventions.match(patterns)
    return tuple(patterns)


def _batch_sizes(sizes: Sequence[int]) -> tuple[int, ...]:
    sizes = [whole("a batch size", size) for size in sizes]
    if any(size < 1 for size in sizes):
        raise UsageError(f"batch sizes must be 1 or more, {min(sizes)} was given")
    return tuple(sizes)


def _reference(name: str) -> str:
    from suite.conventions import conventions

    return conventions[name].name


def _engine(name: str) -> str:
    from suite.engines import engines

    return engines[name].name


def _dtype(name: str) -> str:
    from suite.machine.environment import choose_dtype

    choose_dtype(name)
    return name


def _memory(given: int | str | None) -> int | None:
    from suite.machine.memory import parse_bytes

    return parse_bytes(given)


def _seed(seed: int) -> int:
    seed = whole("the seed", seed)
    if not 0 <= seed < 2**63:
        raise UsageError(f"the seed must be a whole number from 0 to 2**63 − 1, {shortened(seed)} was given")
    return seed


def absolute(files: Sequence[str | Path]) -> tuple[str, ...]:
    """A file by its whole path, which workers elsewhere need; a module by its name."""
    return tuple(str(Path(f).absolute()) if str(f).endswith(".py") else str(f) for f in files)


def _optimizers(patterns: Sequence[str]) -> tuple[str, ...]:
    from suite.equivalence.laws import LAWS

    LAWS.match(patterns)
    return tuple(patterns)


def _steps(steps: int | None) -> int | None:
    steps = None if steps is None else whole("the steps of a training check", steps)
    if steps is not None and steps < 0:
        raise UsageError(f"a training check takes 0 steps or more, {steps} was given")
    return steps


def _processes(count: int | None) -> int | None:
    count = None if count is None else whole("the number of processes", count)
    if count is not None and count < 1:
        raise UsageError(f"-j takes 1 process or more, {count} was given")
    most = PROCESSES_A_CORE * (os.cpu_count() or 1)
    if count is not None and count > most:
        raise UsageError(
            f"-j takes {most} processes at most on the {os.cpu_count()} processors here, {count} was given"
        )
    return count


def _shard(text: str) -> str:
    parse_shard(text)
    return text


def parse_shard(text: str) -> tuple[int, int]:
    """Which part of how many, from `number/count`.

    Raises:
        UsageError: It is no such thing.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError(f"--shard is {text!r}: write i/n with i from 1 to n, as in 1/4")
    return int(match[1]), int(match[2])


def check_time_limit(given: float | str | None) -> float | None:
    """The seconds that a task may take; None for any.

    Raises:
        UsageError: They are no time, not above 0, or not finite.
    """
    if given is None:
        return None
    try:
        limit = as_seconds(given)
    except UsageError as error:
        raise UsageError(f"--time-limit: {error}") from None
    if not 0 < limit < math.inf:
        raise UsageError(f"--time-limit takes seconds above 0, {limit:g} was given; leave it away for none")
    return limit


@dataclass(frozen=True)
class RunOptions:
    """What a run was asked for."""

    cases: Sequence[str] = option(
        "--case",
        default=(),
        metavar="GLOB",
        repeatable=True,
        help="cases to measure, or claims/* for claims, papers/* for steps; repeatable (default: all cases)",
        about="glob patterns of names, of claims (`claims/*`) and papers' steps (`papers/*`) too; all cases "
        "where there is none.",
    )
    conventions: Sequence[str] = option(
        "--convention",
        default=(),
        metavar="GLOB",
        repeatable=True,
        check=_conventions,
        worker=True,
        help="conventions to measure; repeatable (default: all)",
        about="glob patterns of names; all conventions where there is none.",
    )
    _: KW_ONLY
    batch_sizes: Sequence[int] = option(
        "--batch-size",
        default=(),
        type=int,
        metavar="N",
        repeatable=True,
        check=_batch_sizes,
        worker=True,
        help="samples in a full batch; repeatable (default: each case's own sizes)",
        about="the numbers of samples in full batches; each case's own where there is none.",
    )
    reference: str = option(
        "--reference",
        default="mean",
        metavar="NAME",
        check=_reference,
        worker=True,
        help="convention that the others are compared with",
        about="the convention that the others are compared with.",
    )
    engine: str = option(
        "--engine",
        default="opacus",
        metavar="NAME",
        check=_engine,
        worker=True,
        help="engine that is tried first for per-sample gradients",
        about="the engine that is tried first.",
    )
    device: str = option(
        "--device",
        default="auto",
        worker=True,
        help="auto, cpu, cuda, cuda:N or mps",
        about="`auto`, `cpu`, `cuda`, `cuda:N` or `mps`.",
    )
    dtype: str = option(
        "--dtype",
        default="float32",
        check=_dtype,
        worker=True,
        help="precision of the rounding test; verdicts use float64",
        about="the precision of the rounding test; verdicts use float64.",
    )
    memory: int | str | None = option(
        "--memory",
        default=None,
        metavar="BYTES",
        check=_memory,
        worker=True,
        help="memory for gradients, as 500MB or 2GiB (default: half of the free memory)",
        about="how many bytes a process may use for gradients, as a number, `500MB` or `2GiB`; half of what "
        "is free on the device if None. It decides in how many pieces gradients are computed, not what comes "
        "out. With it, the run stops before measuring if a case cannot fit, and says how much memory that "
        "needs. Without it, only that case fails.",
    )
    seed: int = option(
        "--seed",
        default=0,
        type=int,
        metavar="N",
        check=_seed,
        worker=True,
        help="random seed of the model's parameters and the data order",
        about="the random seed of the model's parameters and the data order.",
    )
    from_files: Sequence[str | Path] = option(
        "--cases",
        default=(),
        metavar="PATH",
        repeatable=True,
        check=absolute,
        worker=True,
        help="Python file or module that registers further cases; repeatable",
        about="Python files or importable modules that register further cases.",
    )
    output: str | Path | None = option(  # noqa: RUF009  a field
        "--output",
        default=None,
        type=Path,
        metavar="DIR",
        help="folder for records and tables (default: results/TIME)",
        about="the folder for records and tables; nothing is written if None.",
    )
    resume: bool = option(
        "--resume",
        default=True,
        help="reuse results in DIR whose code, data, machine and versions are unchanged (default), or "
        "measure all of it again",
        about="whether results in `output` are reused whose code, data, machine and versions are unchanged; "
        "False to measure all of it again.",
    )
    processes: int | None = option(
        "-j",
        default=None,
        type=int,
        metavar="N",
        check=_processes,
        help="measure in N processes of one thread each (default: in this process)",
        about="measure in as many processes of one torch thread each; in this one if None.",
    )
    shard: str = option(
        "--shard",
        default="1/1",
        metavar="I/N",
        check=_shard,
        help="measure part I of N only; `gradsuite merge` joins the parts",
        about="which part of the run this is, `i/n`; `gradsuite merge` joins the parts.",
    )
    cluster: str | None = option(
        "--cluster",
        default=None,
        metavar="ADDRESS",
        help="address of a Dask scheduler whose workers measure",
        about="the address of a Dask scheduler whose workers measure.",
    )
    time_limit: float | str | None = option(
        "--time-limit",
        default=None,
        metavar="TIME",
        check=check_time_limit,
        help="longest time for building a case, a batch, a training check or a claim, in seconds or as 5m; "
        "what takes longer fails (default: none)",
        about="the seconds that one task may take, or a time such as `5m`: building a case, one of its "
        "batches, one training check or one claim. What takes longer is stopped, and is a failure; for that, "
        "all is measured in another process. Case files that are not loaded five minutes later are an "
        "error. No limit if None.",
    )
    quick: bool = option(
        "--quick",
        default=False,
        worker=True,
        help="only batch sizes up to 32, no training check",
        about="only batch sizes up to 32, and no training check.",
    )
    optimizers: Sequence[str] = option(
        "--optimizer",
        default=OPTIMIZERS,
        metavar="GLOB",
        repeatable=True,
        check=_optimizers,
        help=f"optimizers in learning_rates.csv; repeatable (default: {', '.join(OPTIMIZERS)})",
        about="whose hyperparameters are tabulated besides SGD's learning rate; glob patterns.",
    )
    check_steps: int | None = option(
        "--check-steps",
        "--prove",  # as it was called before
        default=None,
        type=int,
        metavar="STEPS",
        check=_steps,
        worker=True,
        help="train each pair with equivalent hyperparameters for so many steps and compare the weights "
        f"(default: {CHECK_STEPS}; --quick: 0)",
        about="for how many steps each pair trains with equivalent hyperparameters, at the batch size "
        f"nearest to 8, and is compared; {CHECK_STEPS} if None, 0 for no training check.",
    )
    deterministic: bool = option(
        "--no-deterministic",
        default=True,
        worker=True,
        help="allow torch's faster algorithms, which vary from run to run",
        about="whether torch must use deterministic algorithms.",
    )
    progress: bool = option(
        default=False,
        help="show progress",
        about="whether to show progress on standard error.",
    )

    def __post_init__(self) -> None:
        """Take what was given for what it means; whether it is allowed, the checks say."""
        given = {
            "cases": texts("cases", self.cases),
            "conventions": texts("conventions", self.conventions),
            "optimizers": texts("optimizers", self.optimizers),
            "from_files": texts("from_files", self.from_files),
            "batch_sizes": several("batch_sizes", self.batch_sizes),
            "device": option_name(self.device),
            "dtype": option_name(self.dtype),
            "output": None if self.output is None else as_path("output", self.output),
        }
        for name in ("resume", "quick", "deterministic", "progress"):
            if not isinstance(getattr(self, name), bool):
                raise UsageError(f"{name} is {shortened(getattr(self, name))}: True or False is needed")
        for name, value in given.items():
            object.__setattr__(self, name, value)

    @property
    def steps(self) -> int:
        """The steps of each training check; 0 where none is made."""
        return (0 if self.quick else CHECK_STEPS) if self.check_steps is None else self.check_steps

    @property
    def device_type(self) -> str:
        """`cpu`, `cuda` or `mps`: the same on every device of several."""
        return self.device.partition(":")[0]

    def on(self, device: str) -> RunOptions:
        """The same on another device."""
        return dataclasses.replace(self, device=device)
