"""One cell: every convention on one batch of one case, held against its reference loop."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from suite.algebra.discrepancy import ELSEWHERE, Discrepancy, Verdict, compare
from suite.algebra.gram import Gram, cancellation, out_of_range, per_sample, require_range, unit_norms
from suite.algebra.pairs import pairs
from suite.algebra.quantities import quantities
from suite.algebra.units import Column, Units
from suite.batch_size.noise import noise_scale
from suite.case import Problem
from suite.conventions import Convention, conventions
from suite.engines import per_sample_gradients as compute
from suite.engines.chunks import gram_bytes
from suite.engines.memory_plan import DoesNotFit, Workload
from suite.engines.per_sample_gradients import per_sample_gradients
from suite.engines.size import size_of
from suite.errors import CaseError, one_line
from suite.loops import batch as batches
from suite.loops.autograd import values
from suite.loops.batch import Batch
from suite.loops.cached_losses import HOST, CachedLosses
from suite.loops.loop import Loop, run_reference_loop
from suite.loops.width import values_per_sample
from suite.machine.memory import free_bytes
from suite.running.plan import Cell
from suite.running.rounding import (
    NotAvailable,
    Precision,
    affordable,
    as_float64,
    reference_gradients,
    relative_distance,
    sizes_of_difference,
)


@dataclass(frozen=True)
class MeasureContext:
    """How cells are measured.

    Args:
        device: that computes.
        exact: the dtype that verdicts are computed from: float64, or float32 where there is no other.
        precisions: of the rounding test.
        engine: the engine to try first.
        conventions: what is measured.
        reference: what it is compared with.
        seed: of the models' parameters and the order of the data.
        memory: how many bytes gradients may take; half of what is free if None.
        share: how many processes share the device.
    """

    device: torch.device
    exact: torch.dtype
    precisions: Sequence[Precision]
    engine: str
    conventions: Sequence[Convention]
    reference: Convention
    seed: int
    memory: int | None = None
    share: int = 1


def measure(
    problem: Problem, model: nn.Module, cell: Cell, context: MeasureContext
) -> Iterator[dict[str, Any]]:
    """What one batch tells: rows of kind `discrepancy`, `omitted`, `noise` and `pair`.

    A discrepancy is that of a convention from the reference, and from the convention that it is taken
    for; those that do not apply are omitted. Pairs of any two are rows on one batch a case.

    Raises:
        CaseError: The batch has no right gradients, or a convention disagrees with its own reference loop.
    """
    host, batch = taken(cell, problem, context)
    units = _with_values(cell.units(problem, host), problem, model, host, batch)
    missing = context.reference.missing(units)
    if missing is not None:
        raise CaseError(f"the reference {context.reference.name!r} does not apply: {missing}")
    memory = context.memory
    if memory is None:
        memory = free_bytes(context.device) // (2 * context.share)
    found = per_sample_gradients(
        model, batch, problem.losses, engine=context.engine, regulariser=problem.regulariser, memory=memory
    )
    gram = found.gram()
    require_range(gram)

    applying = []
    for convention in context.conventions:
        reason = convention.missing(units)
        if reason is None:
            applying.append(convention)
        else:
            yield {"kind": "omitted", "convention": convention.name, "reason": reason}
    compared = [(c, other) for c in applying for other in _compared_with(c, context.reference, units)]
    involved = {c.name: c for pair in compared for c in pair}
    columns = {name: c.coefficients(units, gram) for name, c in involved.items()}
    differences = [columns[a.name] - columns[b.name] for a, b in compared]
    weights, directions = found.directions(np.stack([*columns.values(), *differences]))
    if not gram.any() and directions.any():
        raise out_of_range("small")
    reduced = dict(zip(columns, weights[: len(columns)], strict=True))
    if context.memory is not None:
        memory -= _memory_beside(found.size, len(directions))
    cached = CachedLosses(problem.losses, None if context.memory is None else memory, problem.regulariser)
    loop = _reference(model, batch, cached, units)
    _require_separate_samples(loop, problem)
    left = ((c, reduced[name] @ directions, columns[name]) for name, c in involved.items())
    errors = _held_against_reference_loops(left, loop, gram)
    precision = float(torch.finfo(context.exact).eps)
    results = {
        (a.name, b.name): compare(gram, columns[a.name], columns[b.name], precision=precision)
        for a, b in compared
    }
    formats = affordable(context.precisions, context.device, found.shape[1])
    sizes = _rounding(results, loop, involved, formats)

    common = {
        "samples": units.n,
        "units": len(units),
        "params": found.shape[1],
        "engine": found.engine,
        "chunks": found.chunks,
        "refused": dict(found.refused),
        "quantities": quantities(units),
    }
    # Fetched at once: each number by itself would wait for the device.
    apart = [(row @ directions).abs().max() for row in weights[len(columns) :]]
    largest, rounded = _fetched(apart, sizes)
    for (convention, reference), most in zip(compared, largest, strict=True):
        a, b = columns[convention.name], columns[reference.name]
        result = results[convention.name, reference.name]
        yield {
            "kind": "discrepancy",
            **common,
            "convention": convention.name,
            "reference": reference.name,
            "scale": result.scale,
            "cosine": result.cosine,
            "relative_discrepancy": result.relative,
            "residual": result.residual,
            "max_abs": most,
            **{name: found.get((convention.name, reference.name)) for name, found in rounded.items()},
            "verdict": result.verdict.value,
            "reason": _reason(result, gram, a, b, units),
            "protocol_error": errors[convention.name],
            "magnification": max(cancellation(gram, a), cancellation(gram, b)),
        }
    if units.n > 1:
        noise = noise_scale(per_sample(gram, units.sample))
        yield {"kind": "noise", "samples": units.n, "trace": noise.trace, "square": noise.square}
    if cell.pairs:
        names = [c.name for c in applying]
        yield from pairs(names, columns, results, gram, context.reference.name, precision=precision)


def taken(cell: Cell, problem: Problem, context: MeasureContext) -> tuple[Batch, Batch]:
    """The batch as the case's columns see it, on the host, and as the model does."""
    host = cell.take(problem, torch.device("cpu"), context.exact)
    return host, batches.to(host, context.device, context.exact)


def _with_values(units: Units, problem: Problem, model: nn.Module, host: Batch, batch: Batch) -> Units:
    """`units`, marked where the losses have several values a sample and the case does not state elements."""
    if problem.columns is not None and "elements" in problem.columns(host):
        return units
    width = values_per_sample(model, batch, problem.losses)
    return replace(units, values=width) if width > 1 else units


def require_memory_for(problem: Problem, model: nn.Module, cell: Cell, context: MeasureContext) -> None:
    """Make sure that a cell can be measured within the memory that was asked for; nothing large is computed.

    Raises:
        DoesNotFit: It cannot.
    """
    assert context.memory is not None  # noqa: S101  asked for
    host, batch = taken(cell, problem, context)
    units = cell.units(problem, host)
    applying = [c for c in context.conventions if c.missing(units) is None]
    plain = [c.column(units) for c in applying if not c.uses_gram]
    # The Gram matrix is not there yet: each convention that needs it may be a direction of its own.
    rank = sum(c.uses_gram for c in applying)
    rank += int(np.linalg.matrix_rank(np.stack(plain))) if plain else 0
    rank = min(rank, len(units))
    needed = _memory_beside(size_of(model, batch, problem.losses), rank)
    try:
        compute.require_memory(
            model,
            batch,
            problem.losses,
            context.memory,
            engine=context.engine,
            regulariser=problem.regulariser,
            rank=rank,
        )
    except DoesNotFit as found:
        needed = max(needed, found.needed)
    if needed > context.memory:
        raise DoesNotFit(needed, context.memory)


def _memory_beside(size: Workload, rank: int) -> int:
    """What one literal loop takes, in a copy of the model too, beside the reduced gradients."""
    return gram_bytes(size.units) + (rank + LITERAL) * size.gradient + size.saved


LITERAL = 8
"""How many gradients are held while literal loops run: of the model, of its copy, and what is compared."""


def _compared_with(convention: Convention, reference: Convention, units: Units) -> list[Convention]:
    """The reference, and the convention that this one is taken for, where that applies."""
    other = conventions[convention.against] if convention.against else reference
    if other is reference or other.missing(units) is not None:
        return [reference]
    return [reference, other]


def _require_separate_samples(loop: Loop, problem: Problem) -> None:
    """Refuse losses that depend on the other samples: no weighting of units describes their loops."""
    loop.prepare()
    together = loop.unreduced(loop.model, loop.batch).detach()
    row = len(together) - 1
    one = batches.map_tensors(torch.clone, batches.select(loop.batch, slice(row, row + 1)))
    before = batches.tensors(batches.map_tensors(torch.clone, one))
    try:
        alone = values(lambda: problem.losses(loop.model, one))
    except Exception as error:
        raise CaseError(
            f"a sample alone in its batch fails (BatchNorm in train mode?): {one_line(error)}"
        ) from error
    kept = _kept(batches.tensors(one), before)
    # Fetched at once: each by itself would wait for the device.
    *fetched, unchanged = torch.cat([alone.flatten(), kept.to(alone)]).tolist()
    if not unchanged:
        raise CaseError("the losses change the batch that they are given: let them work on a copy of it")
    tolerance = float(torch.finfo(together.dtype).eps) ** 0.5
    same = torch.tensor(fetched, dtype=together.dtype).reshape(alone.shape)
    if not torch.allclose(together[row:].cpu(), same, rtol=tolerance, atol=tolerance):
        raise CaseError(
            "the loss of a sample changes when it is alone in its batch (BatchNorm or dropout in train "
            "mode?): put the model into eval mode, or normalise per sample"
        )


def _kept(now: Sequence[Tensor], before: Sequence[Tensor]) -> Tensor:
    """`[1]` whether all tensors are as they were, still on their device."""
    pairs_of_tensors = zip(now, before, strict=True)
    same = [torch.isclose(a, b, rtol=0, atol=0, equal_nan=True).all() for a, b in pairs_of_tensors]
    return torch.stack(same).all().reshape(1)


def _reference(model: nn.Module, batch: Batch, cached: CachedLosses, units: Units) -> Loop:
    """The batch as reference loops see it."""
    if next(model.parameters()).device.type in HOST:
        return Loop(model, batch, cached, units, cached.penalty)
    penalty = None if cached.penalty is None else cached.regulariser
    return Loop(model, batch, cached, units, penalty, home=torch.device("cpu"))


def _held_against_reference_loops(
    left: Iterable[tuple[Convention, Tensor, Column]], loop: Loop, gram: Gram
) -> dict[str, float]:
    """The distance of each `cᵀG` from what the reference loop leaves, relative to `Σ|c_u|‖g_u‖`.

    Raises:
        CaseError: They disagree by more than half the digits.
    """
    distances: list[Tensor] = []
    wholes: dict[str, float] = {}
    for convention, reduced, column in left:
        expected = run_reference_loop(convention.reference_loop, loop)
        distances.append((reduced - expected).norm())
        wholes[convention.name] = float(np.abs(column) @ unit_norms(gram))
    tolerance = float(torch.finfo(distances[0].dtype).eps) ** 0.5
    found = {}
    for (name, whole), distance in zip(wholes.items(), torch.stack(distances).tolist(), strict=True):
        found[name] = distance / whole if whole > 0 else 0.0
        if not found[name] <= tolerance:
            raise CaseError(
                f"convention {name!r} disagrees with its own loop by {found[name]:.2g}: "
                "its coefficients, or the case's columns, are wrong"
            )
    return found


Norms = dict[tuple[str, str], Tensor]
"""By pair of conventions, the norms of which a relative difference is made, still on their device."""


def _rounding(
    results: Mapping[tuple[str, str], Discrepancy],
    loop: Loop,
    involved: Mapping[str, Convention],
    precisions: Sequence[Precision],
) -> dict[str, Norms]:
    """By column, how far apart two reference loops come out in each precision, where they are proportional.

    The loops of others are not run. Of all gradients only those that others are compared with are kept.
    """
    scales = {
        pair: result.scale
        for pair, result in results.items()
        if result.verdict.proportional and result.scale is not None
    }
    references = dict.fromkeys(b for _, b in scales)
    chosen = [involved[name] for name in dict.fromkeys((*references, *(a for a, _ in scales)))]
    found: dict[str, Norms] = {}
    for precision in precisions:
        sizes = found["rounding" + (f"_{precision.name}" if precision.name else "")] = {}
        with suppress(NotAvailable):
            sizes.update(_sizes(reference_gradients(loop, chosen, precision), set(references), scales))
    return found


def _sizes(
    gradients: Iterable[tuple[str, Tensor]], references: set[str], scales: Mapping[tuple[str, str], float]
) -> Norms:
    """By pair of conventions, the sizes of the difference of their loops; references come first."""
    sizes: Norms = {}
    kept: dict[str, Tensor] = {}
    for name, gradient in gradients:
        if name in references:
            kept[name] = gradient
        for pair, scale in scales.items():
            if pair[0] == name and name not in references:
                sizes[pair] = sizes_of_difference(gradient, kept[pair[1]], scale)
    for pair, scale in scales.items():
        if pair[0] in references:
            sizes[pair] = sizes_of_difference(kept[pair[0]], kept[pair[1]], scale)
    return sizes


def _fetched(
    largest: Sequence[Tensor], sizes: Mapping[str, Norms]
) -> tuple[list[float], dict[str, dict[tuple[str, str], float | None]]]:
    """The numbers `largest`, and the relative differences by column and pair, for one wait."""
    norms = [part for found in sizes.values() for part in found.values()]
    parts = [as_float64(part.reshape(-1)) for part in (*largest, *norms)]
    numbers = iter(torch.cat(parts).tolist() if parts else [])
    fetched = [next(numbers) for _ in largest]
    return fetched, {
        column: {pair: relative_distance(next(numbers), next(numbers)) for pair in found}
        for column, found in sizes.items()
    }


def _reason(result: Discrepancy, gram: Gram, column: Column, reference: Column, units: Units) -> str:
    """What is to be said of a verdict that no learning rate repairs."""
    if result.reason or result.verdict is not Verdict.DIRECTION:
        return result.reason
    if units.regulariser:
        data = np.where(units.data, column, 0.0), np.where(units.data, reference, 0.0)
        apart = compare(gram, *data)
        if apart.verdict.proportional and apart.scale:
            weight = float(column[-1] / reference[-1]) if reference[-1] else 0.0
            return (
                f"the data are {apart.scale:.6g} times the reference's and the regulariser is "
                f"{weight:.6g} times: no learning rate scales one alone; "
                f"multiply the regulariser by {apart.scale / weight:.6g}"
                if weight
                else "the reference has no regulariser"
            )
    if result.scale is not None and result.scale < 0 and result.cosine is not None:
        return (
            f"it points away from the reference's (cosine {result.cosine:.3g}): no learning rate is negative"
        )
    return f"{result.residual:.2%} {ELSEWHERE}"
