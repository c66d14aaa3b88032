"""Measure what each engine costs here, as a multiple of one ordinary forward and backward pass."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from suite.cli.bench_text import table_of
from suite.machine.terminal import columns_of

if TYPE_CHECKING:
    import torch
    from torch import nn

    from suite.algebra.units import Units
    from suite.case import Case, Problem
    from suite.engines import Engine, Refused
    from suite.engines.memory_plan import MemoryPlan
    from suite.engines.unit_gradients import UnitGradients
    from suite.loops.batch import Batch
    from suite.loops.loop import Losses

CASES = ("cross-entropy-mlp", "cross-entropy-convolution", "next-token")

EPILOG = """\
examples:
  gradsuite bench
  gradsuite bench --cases mine.py --case my-regression --engine streaming --engine opacus
  gradsuite bench --device cuda --units 256 --memory 2GiB

Times are medians, as multiples of one ordinary forward and backward pass: to make the tables (the Gram
matrix), and the reduced gradients of all conventions as well; by the engine alone, and with its check, as
suite.per_sample_gradients and `gradsuite run` have them.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `gradsuite bench`."""
    add = parser.add_argument
    add("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    add(
        "--case",
        action="append",
        default=[],
        metavar="GLOB",
        help=f"cases by name; repeatable (default: {', '.join(CASES)})",
    )
    add("--cases", action="append", default=[], metavar="PATH", help="a file with cases; repeatable")
    add(
        "--engine",
        action="append",
        default=[],
        metavar="GLOB",
        help="engines by name; repeatable (default: all)",
    )
    add("--units", default=32, type=int, metavar="N", help="samples in the batch (default: 32)")
    add(
        "--conventions",
        default=12,
        type=int,
        metavar="N",
        help="number of conventions to reduce (default: 12)",
    )
    add("--rounds", default=7, type=int, metavar="N", help="repetitions per measurement (default: 7)")
    add("--memory", metavar="BYTES", help="limit for gradients: 500MB, 2GiB (default: none)")
    add("--json", action="store_true", help="print JSON")


def execute(arguments: argparse.Namespace) -> int:
    """Print a row for each case and engine.

    Raises:
        UsageError: A number is not positive, no case or engine has the name, or a case fits no engine.
    """
    from suite.discovery import load_cases
    from suite.engines import engines
    from suite.errors import UsageError
    from suite.machine.environment import choose_device, describe
    from suite.machine.global_state import full_precision
    from suite.machine.memory import parse_bytes
    from suite.machine.streams import aside

    arguments.memory = parse_bytes(arguments.memory)
    for option in ("units", "conventions", "rounds"):
        if getattr(arguments, option) < 1:
            raise UsageError(f"--{option} must be 1 or more, {getattr(arguments, option)} was given")
    device = choose_device(arguments.device)
    tried = engines.match(arguments.engine)
    with aside():
        chosen = load_cases(arguments.cases).match(arguments.case or CASES)
        with full_precision():
            prepared = [_prepare(case, tried, device, arguments) for case in chosen]
            measured = zip(chosen, prepared, strict=True)
            rows = [row for case, one in measured for row in _rows(case, *one, arguments)]
            environment = describe(device)
    if arguments.json:
        print(json.dumps({"environment": environment, "rows": rows}, indent=2))
    else:
        print(table_of(rows, columns_of(sys.stdout)))
    return 0


def _prepare(
    case: Case, tried: list[Engine], device: torch.device, arguments: argparse.Namespace
) -> tuple[Problem, Batch, Units, dict[str, Engine | MemoryPlan | Refused]]:
    """A case with its batch, and each engine as it fits into the memory, before anything is timed.

    Raises:
        UsageError: The batch is larger than the data, or no engine fits.
    """
    import torch

    from suite.engines.engine import Refused
    from suite.engines.memory_plan import DoesNotFit, plan_memory
    from suite.engines.size import size_of
    from suite.errors import UsageError
    from suite.loops import batch as batches
    from suite.machine.memory import format_bytes
    from suite.running.plan import Cell

    problem = case.problem()
    available = batches.size(problem.data)
    if arguments.units > available:
        raise UsageError(f"case {case.name!r} has {available} samples, --units {arguments.units} was given")
    cell = Cell(arguments.units, "0", torch.arange(arguments.units))
    host = cell.take(problem, torch.device("cpu"), torch.float32)
    batch = batches.to(host, device, torch.float32)
    ways: dict[str, Engine | MemoryPlan | Refused] = {}
    for engine in tried:
        try:
            ways[engine.name] = engine
            if arguments.memory is not None:
                model, losses = _model(problem, device), problem.losses
                size = size_of(model, batch, losses)
                rank = max(4, min(arguments.conventions, size.units))
                ways[engine.name] = plan_memory(
                    engine, model, batch, losses, size, arguments.memory, reductions=rank
                )
        except Refused as reason:
            ways[engine.name] = reason
    lacking = [way.needed for way in ways.values() if isinstance(way, DoesNotFit)]
    if lacking and len(lacking) == len(ways):
        raise UsageError(
            f"case {case.name!r} needs {format_bytes(min(lacking))}, "
            f"--memory allows {format_bytes(arguments.memory)}: give more, or fewer --units or --conventions"
        )
    return problem, batch, cell.units(problem, host), ways


def _model(problem: Problem, device: torch.device) -> nn.Module:
    import torch

    torch.manual_seed(0)
    return problem.model().to(device)


def _rows(
    case: Case,
    problem: Problem,
    batch: Batch,
    units: Units,
    ways: dict[str, Engine | MemoryPlan | Refused],
    arguments: argparse.Namespace,
) -> list[dict[str, Any]]:
    from functools import partial

    from suite.engines.cost import measure_cost
    from suite.engines.engine import Refused
    from suite.loops import batch as batches

    rows = []
    for name, engine in ways.items():
        model = _model(problem, batches.tensors(batch)[0].device)
        row: dict[str, Any] = {
            "case": case.name,
            "units": int(units.data.sum()),
            "params": sum(p.numel() for p in model.parameters() if p.requires_grad),
            "conventions": arguments.conventions,
            "engine": name,
        }
        try:
            if isinstance(engine, Refused):
                raise engine
            chunks = _check(engine, model, batch, problem.losses)
            found = measure_cost(
                engine,
                model,
                batch,
                problem.losses,
                lambda gram: _columns(units, gram, arguments.conventions),
                partial(_as_a_user, name, model, batch, problem.losses, arguments.memory),
                rounds=arguments.rounds,
            )
        except Refused as reason:
            rows.append(row | {"refused": str(reason)})
            continue
        rows.append(row | {"chunks": chunks} | vars(found))
    return rows


def _check(engine: Engine | MemoryPlan, model: nn.Module, batch: Batch, losses: Losses) -> int:
    """What is wrong is not timed. In how many pieces it is computed."""
    import copy

    from suite.engines.check import check_gradients

    found = engine.compute(copy.deepcopy(model), batch, losses)
    check_gradients(found, model, batch, losses, getattr(engine, "step", None))
    return int(getattr(found, "chunks", 1))


def _as_a_user(
    name: str, model: nn.Module, batch: Batch, losses: Losses, memory: int | None
) -> UnitGradients:
    """The same gradients, sizes and check included."""
    from suite.engines.per_sample_gradients import per_sample_gradients

    return per_sample_gradients(model, batch, losses, engine=name, memory=memory).gradients


def _columns(units: Any, gram: Any, count: int) -> list[Any]:
    """The coefficients of the first conventions that apply, clipping ones among them, and multiples."""
    import numpy as np

    from suite.conventions import conventions

    applying = [c for c in conventions.match() if c.missing(units) is None]
    clipping = [c for c in applying if c.uses_gram]
    plain = [c for c in applying if not c.uses_gram]
    few = max(1, count // 4)  # of a dozen, three clip
    chosen = [*clipping[:few], *plain][:count]
    full = np.zeros((len(gram), len(units)))
    full[:, units.data] = np.eye(len(gram))  # a regulariser costs nothing that is measured here
    whole = full.T @ gram @ full
    columns = [c.coefficients(units, whole)[units.data] for c in chosen]
    return [columns[k % len(columns)] * (1 + k // len(columns)) for k in range(count)]
