"""One cell: every convention on one batch of one case, held against its literal protocol."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cases.case import Problem
from suite import batch as batches
from suite.conventions import Convention, conventions
from suite.discrepancy import ELSEWHERE, Discrepancy, Verdict, compare
from suite.engines.compute import gradients
from suite.engines.replay import Replay
from suite.equivalence.noise import noise_scale
from suite.errors import CaseError, one_line
from suite.gram import Gram, cancellation, per_sample, unit_norms
from suite.pairs import pairs
from suite.plan import Cell
from suite.precision import Precision, distance, literal
from suite.protocols import Loop, run
from suite.symbols import quantities
from suite.units import Column, Units


@dataclass(frozen=True)
class Setting:
    """How cells are measured.

    Args:
        device: that computes.
        exact: the dtype that verdicts are computed from: float64, or float32 where there is no other.
        precisions: the formats whose rounding is measured.
        engine: the engine to try first.
        conventions: what is measured.
        reference: what it is compared with.
        dtype: the name of the first of the formats.
        seed: of the models' parameters and the order of the data.
        deterministic: whether torch must use deterministic algorithms.
    """

    device: torch.device
    exact: torch.dtype
    precisions: Sequence[Precision]
    engine: str
    conventions: Sequence[Convention]
    reference: Convention
    dtype: str
    seed: int
    deterministic: bool


def measure(problem: Problem, model: nn.Module, cell: Cell, how: Setting) -> Iterator[dict[str, Any]]:
    """What one batch tells: rows of kind `discrepancy`, `omitted`, `noise` and `pair`.

    A discrepancy is that of a convention from the reference, and from the convention that it is taken
    for; those that do not apply are omitted. Pairs of any two are rows on one batch a case.

    Raises:
        CaseError: The batch has no right gradients, or a convention disagrees with its own protocol.
    """
    batch = cell.take(problem, how.device, how.exact)
    units = cell.units(problem, batch)
    missing = how.reference.missing(units)
    if missing is not None:
        raise CaseError(f"the reference {how.reference.name!r} does not apply: {missing}")
    found = gradients(model, batch, problem.losses, engine=how.engine, regulariser=problem.regulariser)
    _require_separate_samples(model, batch, problem)
    gram = found.gram()
    loop = Loop(model, batch, Replay(problem.losses), units, problem.regulariser)

    applying = []
    for convention in how.conventions:
        reason = convention.missing(units)
        if reason is None:
            applying.append(convention)
        else:
            yield {"kind": "omitted", "convention": convention.name, "reason": reason}
    compared = [(c, other) for c in applying for other in _compared_with(c, how.reference, units)]
    involved = {c.name: c for pair in compared for c in pair}
    columns = {name: c.coefficients(units, gram) for name, c in involved.items()}
    differences = [columns[a.name] - columns[b.name] for a, b in compared]
    weights, directions = found.directions(np.stack([*columns.values(), *differences]))
    reduced = dict(zip(columns, weights[: len(columns)], strict=True))
    errors = {
        name: _hold_against_protocol(c, loop, reduced[name] @ directions, columns[name], gram)
        for name, c in involved.items()
    }
    precision = float(torch.finfo(how.exact).eps)
    results = {
        (a.name, b.name): compare(gram, columns[a.name], columns[b.name], precision=precision)
        for a, b in compared
    }
    # Rounding is measured of what exact arithmetic makes proportional; the loops of others are not run.
    rounded = {c.name: c for pair in compared for c in pair if _rounds(results[pair[0].name, pair[1].name])}
    literals = {p.name: literal(loop, list(rounded.values()), p) for p in how.precisions}

    common = {
        "samples": units.n,
        "units": len(units),
        "params": found.shape[1],
        "engine": found.engine,
        "refused": dict(found.refused),
        "quantities": quantities(units),
    }
    for (convention, reference), apart in zip(compared, weights[len(columns) :], strict=True):
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
            "max_abs": float((apart @ directions).abs().max()),
            **_rounding(result, convention, reference, literals),
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
        yield from pairs(names, columns, results, gram, how.reference.name, precision=precision)


def _compared_with(convention: Convention, reference: Convention, units: Units) -> list[Convention]:
    """The reference, and the convention that this one is taken for, where that applies."""
    other = conventions[convention.against] if convention.against else reference
    if other is reference or other.missing(units) is not None:
        return [reference]
    return [reference, other]


def _require_separate_samples(model: nn.Module, batch: Any, problem: Problem) -> None:
    """Refuse losses that depend on the other samples: no weighting of units describes their loops."""
    with torch.no_grad():
        together = problem.losses(model, batch)
        row = len(together) - 1
        try:
            alone = problem.losses(model, batches.select(batch, slice(row, row + 1)))
        except Exception as error:
            raise CaseError(
                f"a sample alone in its batch fails (BatchNorm in train mode?): {one_line(error)}"
            ) from error
    tolerance = float(torch.finfo(together.dtype).eps) ** 0.5
    if not torch.allclose(together[row:], alone, rtol=tolerance, atol=tolerance):
        raise CaseError(
            "the loss of a sample changes when it is alone in its batch (BatchNorm or dropout in train "
            "mode?): put the model into eval mode, or normalise per sample"
        )


def _hold_against_protocol(
    convention: Convention, loop: Loop, reduced: Tensor, column: Column, gram: Gram
) -> float:
    """The distance of `cᵀG` from what the literal loop leaves, relative to `Σ|c_u|‖g_u‖`.

    Raises:
        CaseError: They disagree by more than half the digits.
    """
    expected = run(convention.protocol, loop)
    whole = float(np.abs(column) @ unit_norms(gram))
    error = float((reduced - expected).norm()) / whole if whole > 0 else 0.0
    if not error <= float(torch.finfo(expected.dtype).eps) ** 0.5:
        raise CaseError(
            f"convention {convention.name!r} disagrees with its own loop by {error:.2g}: "
            "its coefficients, or the case's columns, are wrong"
        )
    return error


def _rounds(result: Discrepancy) -> bool:
    """Whether the two gradients are proportional in exact arithmetic."""
    return result.verdict.proportional and result.scale is not None


def _rounding(
    result: Discrepancy,
    convention: Convention,
    reference: Convention,
    literals: dict[str, dict[str, Tensor]],
) -> dict[str, float | None]:
    """How far apart two protocols come out that are equal, or proportional, in exact arithmetic."""
    columns = {}
    for precision, gradient in literals.items():
        apart = None
        if _rounds(result) and result.scale is not None:
            apart = distance(gradient[convention.name], gradient[reference.name], result.scale)
        columns["rounding" + (f"_{precision}" if precision else "")] = apart
    return columns


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
    return f"{result.residual:.2%} {ELSEWHERE}"
