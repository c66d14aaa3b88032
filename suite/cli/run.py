"""Measure conventions on cases: tables of discrepancies and of equivalent learning rates."""

from __future__ import annotations

import argparse
import shlex
from datetime import UTC, datetime
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `gradsuite run`."""
    add = parser.add_argument
    add(
        "--case",
        action="append",
        default=[],
        metavar="GLOB",
        help="cases, or claims/*; repeatable",
    )
    add("--convention", action="append", default=[], metavar="GLOB", help="conventions; repeatable")
    add("--batch-size", action="append", default=[], type=int, metavar="N", help="repeatable")
    add("--reference", default="mean", metavar="NAME", help="compare with it (default: mean)")
    add("--engine", default="opacus", metavar="NAME", help="the first to try (default: opacus)")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    add("--dtype", default="float32", help="whose rounding is measured (default: float32)")
    add("--memory", metavar="BYTES", help="at most, as 500MB or 2GiB (default: half of what is free)")
    add("--seed", default=0, type=int, metavar="N", help="of parameters and data order (default: 0)")
    add("--cases", action="append", default=[], metavar="PATH", help="a file with cases; repeatable")
    add(
        "--output",
        metavar="DIR",
        type=Path,
        help="where records and tables go (default: results/TIME)",
    )
    add(
        "--resume",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="go on with what DIR holds (default), or measure all of it again",
    )
    add("-j", dest="processes", type=int, metavar="N", help="measure in N processes of one thread each")
    add("--shard", default="1/1", metavar="I/N", help="only this part; `gradsuite merge` joins the parts")
    add("--cluster", metavar="ADDRESS", help="measure on the workers of a Dask scheduler")
    add(
        "--time-limit",
        type=float,
        metavar="SECONDS",
        help="for building a case, a batch, proof or claim; what takes longer fails (default: none)",
    )
    add("--quick", action="store_true", help="no batch size above 32, nothing proven")
    add("--optimizer", action="append", default=[], metavar="GLOB", help="in learning_rates.csv; repeatable")
    add(
        "--prove",
        type=int,
        metavar="STEPS",
        help="train equivalent hyperparameters (default: 10; --quick: 0)",
    )
    add("--no-deterministic", action="store_true", help="allow torch's faster, varying algorithms")


def execute(arguments: argparse.Namespace) -> int:
    """Run, print both tables, and say where the rest is."""
    from suite.report.learning_rates import OPTIMIZERS
    from suite.running.run import run

    folder = arguments.output or Path("results") / f"{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}"
    try:
        report = run(
            arguments.case,
            arguments.convention,
            batch_sizes=arguments.batch_size,
            reference=arguments.reference,
            engine=arguments.engine,
            device=arguments.device,
            dtype=arguments.dtype,
            memory=arguments.memory,
            seed=arguments.seed,
            from_files=arguments.cases,
            output=folder,
            resume=arguments.resume,
            quick=arguments.quick,
            optimizers=arguments.optimizer or OPTIMIZERS,
            prove=arguments.prove,
            deterministic=not arguments.no_deterministic,
            processes=arguments.processes,
            shard=arguments.shard,
            cluster=arguments.cluster,
            time_limit=arguments.time_limit,
            progress=True,
        )
    except KeyboardInterrupt:
        kept = f"What was measured is kept in {folder}; to go on" if folder.exists() else "To begin again"
        print(f"Interrupted. {kept}:\n  {_again(arguments, folder)}")
        return 130
    if report.measured:
        print(report)
        print()
    for line in report.remarks:
        print(line)
    print(f"Records and tables: {folder}")
    if not report.measured:
        return 2
    return 1 if report.failures else 0


def _again(arguments: argparse.Namespace, folder: Path) -> str:
    """The command that goes on with this run: as it was given, with its folder."""
    given = [word for word in arguments.argv if word != "--no-resume"]
    named = [] if arguments.output else ["--output", str(folder)]
    return shlex.join(["gradsuite", *given, *named])
