"""Recovery: the weight that each unit really got in anybody's training step.

A gradient that weights the units, `g = Gᵀc`, betrays its weights: solve for `c`. Where units are more
than parameters, or alike, or silent, some weights cannot be told; they are named, never guessed. What
no weighting explains is the residual, and where its cause can be told it is named.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from torch import Tensor, nn

from suite.algebra.quantities import Quantities
from suite.algebra.units import Column, Units
from suite.errors import UsageError
from suite.loops import batch as batches
from suite.loops.batch import Batch, Choose
from suite.loops.given import described, require_function, require_model
from suite.loops.loop import Losses, Regulariser
from suite.machine.global_state import full_precision
from suite.recovery.batch_parts import parts_hint
from suite.recovery.batch_quantities import known, of_losses
from suite.recovery.causes import Cause, changing, clipped_by_norm, rounded_off, why
from suite.recovery.eval_copy import in_eval_mode, with_shapes
from suite.recovery.experiment import Experiment, Weighting
from suite.recovery.explanation import Explanation, explained, of_gradient, of_labels, product_formulas
from suite.recovery.first_reading import first_reading
from suite.recovery.hints import hints
from suite.recovery.identify import Match, coinciding, matching, suspected
from suite.recovery.losses import Reading, differing
from suite.recovery.losses_reread import cuts, read_in
from suite.recovery.many_units import require_square_matrices
from suite.recovery.other_batch import other_batch
from suite.recovery.result import Recovery
from suite.recovery.samples import Collate, given_batch, with_samples
from suite.recovery.solve import Root, Solution, groups
from suite.recovery.step import Step, gradient_of
from suite.recovery.surroundings import Surroundings
from suite.recovery.suspects import Suspect
from suite.recovery.terms import one_weight_each
from suite.recovery.unit_gradients import require_memory_for_all
from suite.recovery.without_matrix import asks_for_it, on_few


def recover(
    step: Step,
    model: nn.Module,
    batch: Batch,
    losses: Losses,
    *,
    units: Units | None = None,
    regulariser: Regulariser | None = None,
    engine: str = "opacus",
    select: Choose | None = None,
    collate: Collate | None = None,
    memory: int | None = None,
) -> Recovery:
    """The weight that each unit of `batch` got in the gradient of a training step.

    Args:
        step: `step(model, batch)` leaves a gradient in `.grad`, or returns it (`[params]`, a sequence in
            the order of the parameters, or by name); it may call `optimizer.step()`, once.
        model: left as it is, with its buffers, gradients and modes; so are the random states. The
            units are those of the model in eval mode: only there has a sample a loss of its own.
        batch: a tensor, or a tuple, list, dict, dataclass or object of tensors, samples along the first axis;
            a list of samples; or parts with samples of their own, whose losses come one after the other.
        losses: `losses(model, batch)` gives the unreduced losses, `[samples]` or `[samples, parts]`.
        units: the units table, which says what is in which micro-batch or on which rank, and what
            else conventions ask for; by default it holds samples and parts alone.
        regulariser: `regulariser(model)` gives a scalar, whose gradient is the last unit's.
        engine: the engine that is to compute the units' gradients.
        select: `select(batch, rows)` gives some samples of a batch that is laid out otherwise, as a batch.
        collate: `collate(samples)` makes a batch, where `batch` is a list of samples.
        memory: how many bytes the units' gradients and what is made of them may take; half of what is free
            if None. What does not fit is said before it is begun.

    Returns:
        The weights `[units]`, nan where this batch does not determine them, with their errors; the
        residual that no weighting explains; the convention and the factor that they amount to.

    Raises:
        UsageError: The step fails or leaves no gradient; the losses or the units table do not fit.
        CaseError: No engine computes the units' gradients rightly, or they do not fit into the memory.

    Examples:
        >>> import gradsuite
        >>> import torch
        >>> import torch.nn.functional as F
        >>> model = torch.nn.Linear(8, 1)
        >>> batch = torch.randn(4, 8), torch.randn(4, 1)
        >>> def losses(model, batch):
        ...     return F.mse_loss(model(batch[0]), batch[1], reduction="none").sum(1)
        >>> def step(model, batch):
        ...     losses(model, batch)[1:].sum().backward()  # sample 0 is lost
        >>> found = gradsuite.recover(step, model, batch, losses)
        >>> [round(weight, 4) + 0.0 for weight in found.weights.tolist()]
        [0.0, 1.0, 1.0, 1.0]
    """
    given = given_batch(batch, select, collate)
    with full_precision():
        return recovery(experiment(step, model, given, losses, units, regulariser, engine, memory))


def experiment(
    step: Step,
    model: nn.Module,
    batch: Batch,
    losses: Losses,
    units: Units | None,
    regulariser: Regulariser | None,
    engine: str,
    memory: int | None = None,
) -> Experiment:
    """A step with its gradient and the units' gradients."""
    require_model(model)
    _require_real(model)
    require_function("step", step)
    require_function("losses", losses)
    if regulariser is not None:
        require_function("regulariser", regulariser, "(model)")
    if units is not None and not isinstance(units, Units):
        raise UsageError(f"units is {described(units)}: it must be a gradsuite.Units")
    with_shapes(model, batch, losses)
    reached = {
        "the batch": batches.content(batch),
        "step": step,
        "losses": losses,
        "regulariser": regulariser,
    }
    around = Surroundings(model, **reached)
    first = first_reading(Reading(losses, around), in_eval_mode(model, shared=True), batch)
    batch = with_samples(batch, first.entries)
    tried = Experiment(
        step, model, batch, {}, around, first.reading, regulariser, units or Units.of(1), engine,
        memory=memory,
    )  # fmt: skip
    parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    many = asks_for_it(first, parameters, units, memory)
    if many:
        count = first.entries.numel() + (regulariser is not None)
        table = _units(units, count, batch, regulariser is not None)
        tried = replace(tried, units=table, gradient=gradient_of(step, model, batch, surroundings=around))
        few = on_few(tried, first)
        if few is not None:
            return few
        require_memory_for_all(model, count, memory)
    elif first.entries.ndim in (1, 2):
        require_square_matrices(first.entries.numel(), memory, grouped=False)
    random = _is_random(first.reading, in_eval_mode(model), batch)
    computed = (tried.found, tried.wide)
    table = _units(units, tried.found.shape[0], batch, regulariser is not None)
    gradient = tried.gradient if many else gradient_of(step, model, batch, surroundings=around)
    tried = replace(tried, computed=computed, units=table, gradient=gradient, random=random)
    return _as_drawn(tried) if random else tried


def _require_real(model: nn.Module) -> None:
    """Make sure that all trained parameters are real: the weights are those of real gradients.

    Raises:
        UsageError: One is complex.
    """
    name = next((n for n, p in model.named_parameters() if p.is_complex() and p.requires_grad), None)
    if name is not None:
        raise UsageError(
            f"the parameter {name} is complex: hold it as real numbers with one more axis of 2, and use "
            "torch.view_as_complex of it, which trains alike"
        )


def _is_random(reading: Reading, model: nn.Module, batch: Batch) -> bool:
    """Whether the losses draw random numbers.

    Raises:
        UsageError: They change from call to call whatever the random numbers are.
    """
    first, other = (reading.numbers(model, batch, seed) for seed in (None, 1))
    if not differing(first, other):
        return False
    if differing(first, reading.numbers(model, batch)):
        raise UsageError(
            "the losses change from call to call, though the random numbers are the same: they must depend "
            "on model and batch alone; draw what they need before, and pass it with the batch"
        )
    return True


def _as_drawn(tried: Experiment) -> Experiment:
    """The experiment with the losses read as the step draws their random numbers, if pieces tell."""
    if tried.weighting_of(tried.root).linear:
        return tried
    for pieces in cuts(tried):
        found = read_in(tried, pieces)
        if found is not None and found.weighting_of(found.root).linear:
            return found
    return tried


def recovery(tried: Experiment) -> Recovery:
    """What the weights behind a step's gradient are, and what they are called."""
    weighting = tried.whole
    solution, found = weighting.solution, weighting.matches
    best = found[0] if found else None
    cause = None
    if tried.blind:
        cause = rounded_off(tried, weighting)
    elif not weighting.linear:
        cause = why(tried)
    elif best is not None and not weighting.spans and _odd(best, tried):
        cause = clipped_by_norm(tried, best.column)
    if weighting.linear and cause is None:
        cause = changing(tried)
    if cause is None and tried.coarse and weighting.linear:
        cause = rounded_off(tried, weighting)
    same = coinciding(found)
    exactly = [match for match in same if not tried.coarse or tried.identical(match, same[0])]
    return Recovery(
        units=tried.units,
        weights=weighting.shown,
        error=solution.error,
        identifiable=solution.identifiable,
        groups=groups(tried.root.gradients, solution, tried.precision),
        silent=tuple(np.flatnonzero(solution.silent).tolist()),
        residual=solution.residual / solution.size if solution.size > 0 else 0.0,
        tolerance=tried.half_digits,
        rounding=tried.formats.name if tried.coarse else "",
        norm=solution.size,
        condition=solution.condition,
        linear=weighting.linear and not tried.blind,
        spans=weighting.spans,
        convention=None if best is None else best.convention,
        scale=None if best is None else best.scale,
        also=tuple(match.convention.name for match in exactly[1:]),
        tells=tuple(
            other_batch(exactly[0].convention.coefficients, [match.convention.coefficients], tried.units)
            for match in exactly[1:]
        ),
        products=tuple(product_formulas(exactly, Quantities.of(tried.units))),
        fault=next((match.convention for match in exactly if match.is_fault), None),
        unresolved=tuple(match.convention.name for match in same if match not in exactly),
        suspects=_suspects(tried, weighting),
        explanation=_explanation(tried, weighting, cause),
        cause=cause,
        engine=tried.engine_used,
        solved_on=() if tried.few is None else tried.few.names,
        within="" if tried.few is None else tried.few.within,
        drawn=tried.random,
        restored=tried.surroundings.changes,
    )


def _explanation(tried: Experiment, weighting: Weighting, cause: Cause | None) -> Explanation:
    """The weights as formulas: those of the step, or those beneath the cause."""
    if tried.coarse and weighting.linear:
        return _beneath_rounding(tried, weighting)
    solution, weights, error = weighting.solution, weighting.shown, weighting.solution.error
    slack = tried.slack(tried.root, solution)
    fits = of_gradient(tried.root, solution, slack, tried.units)
    if not weighting.linear:
        if cause is None or cause.weights is None:
            return Explanation()
        weights = cause.weights
        error = np.full(len(weights), 1e-6 * np.nanmax(np.abs(weights), initial=0.0))
        return explained(weights, error, _known(tried, solution), [], lambda _: True)
    if solution.size == 0.0:
        return Explanation()
    quantities = _known(tried, solution)
    if not weighting.matches or weighting.matches[0].simplicity is None:
        quantities.append(of_losses(tried.units, _losses(tried)))
    each = one_weight_each(tried.root, solution, slack, tried.units)
    found = explained(weights, error, quantities, weighting.matches, fits, each)
    if found.formulas or found.by_part or weighting.matches:
        return found
    labelled = of_labels(weights, error, tried.units, tried.counted_batch, fits)
    if labelled is not None:
        return labelled
    parts = tuple(parts_hint(weights, error, tried.units, batches.content(tried.batch)))
    said = parts or tuple(hints(weights, error, tried.units, tried.counted_batch, _losses(tried)))
    return replace(found, hints=said)


def _beneath_rounding(tried: Experiment, weighting: Weighting) -> Explanation:
    """The formula of the convention that a step in a narrow format computes; none where it is none.

    Within a hundredth of any number lies the quotient of two things that somebody counts.
    """
    if not weighting.matches:
        return Explanation()
    best = weighting.matches[0]
    if best.simplicity is None:
        shape = next(iter(product_formulas([best], Quantities.of(tried.units))), None)
        return Explanation(shape=shape, constant=None if shape is None else best.scale)
    column = best.scale * best.column
    solution = replace(weighting.solution, weights=column)
    weights = np.where(solution.identifiable, column, np.nan)
    error = np.full(len(column), tried.precision * np.abs(column).max())
    exact = Root(np.column_stack([tried.root.r[:, :-1], tried.root.gradients @ column]), tried.root.units)
    fits = of_gradient(exact, solution, tried.exact_slack(exact), tried.units)
    same = [match for match in weighting.matches if tried.identical(match, best)]
    return explained(weights, error, _known(tried, solution), same, fits)


def _known(tried: Experiment, solution: Solution) -> list[Quantities]:
    """What formulas can be made of; the losses are looked at where some unit has no gradient."""
    losses = _losses(tried) if solution.silent.any() else np.ones(len(tried.units))
    weights = np.where(solution.identifiable, solution.weights, np.nan)
    return list(
        known(
            tried.units, tried.counted_batch, ~solution.silent, tried.root, losses[tried.units.data], weights
        )
    )


def _losses(tried: Experiment) -> Column:
    """`[units]` the losses; 1 for the regulariser."""
    losses, entries = np.ones(len(tried.units)), _entries(tried).flatten()
    losses[: len(entries)] = entries.double().cpu().numpy()
    return losses


def _entries(tried: Experiment) -> Tensor:
    """The losses as numbers."""
    if tried.few is not None:
        return tried.few.entries
    return tried.losses.numbers(in_eval_mode(tried.model), tried.batch)


def _suspects(tried: Experiment, weighting: Weighting) -> tuple[Suspect, ...]:
    """The known mistakes that this batch does not rule out, and that would show on it."""
    if not weighting.linear:
        return ()
    slack = tried.slack(tried.root, weighting.solution)
    found = matching(tried.root, tried.applying, slack)
    return tuple(s for s in suspected(tried.root, found, slack, tried.units) if s.shows)


def _odd(best: Match, tried: Experiment) -> bool:
    """Whether the scale looks like clipping; in narrow formats a clip factor may look like a fraction."""
    return best.simplicity is None or (tried.coarse and best.scale != 1.0)


def _units(given: Units | None, count: int, batch: Batch, regulariser: bool) -> Units:  # noqa: FBT001
    samples = batches.size(batch)
    if given is None:
        width = (count - regulariser) // samples
        parts = tuple(map(str, range(width))) if width > 1 else ()
        return Units.of(samples, parts=parts, regulariser=regulariser)
    if len(given) != count:
        raise UsageError(
            f"the units table has {len(given)} units, the losses and the regulariser have {count}"
        )
    return given
