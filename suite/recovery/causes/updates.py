"""Several updates in one step: local SGD, Reptile, inner loops; what they leave together is explained."""

from __future__ import annotations

import torch
from torch import Tensor

from suite.loops import batch as batches
from suite.recovery.causes.cause import Cause, Trial, norm_of
from suite.recovery.eval_copy import in_eval_mode
from suite.recovery.in_float64 import UnitProblem
from suite.recovery.solve import roots, solve, together
from suite.recovery.step import GradientByName
from suite.recovery.unit_gradients import unit_gradients
from suite.recovery.visited import MOST_VISITED, visiting

UPDATES, PLACES = "several updates", "gradients at several values of the parameters"


def several_updates(trial: Trial) -> Cause | None:
    """The step calls the network at several values of its parameters: a weighting of the units at these."""
    tried = trial.tried
    places = _places(trial)
    if len(places) < 2 or tried.coarse:
        return None
    stacks: dict[str, list[Tensor]] = {name: [] for name in tried.blocks}
    for place in places:
        given = UnitProblem(tried.model, tried.batch, tried.losses, tried.regulariser)
        with tried.placed(place):
            computed = unit_gradients(given, tried.engine, tried.memory)[0]
        for name, block in zip(stacks, computed.blocks.values(), strict=True):
            stacks[name].append(block)
    blocks = {name: torch.cat(stack) for name, stack in stacks.items()}
    root = together(roots(blocks, [trial.gradient]))
    solution = solve(root.gradients, root.side, tried.precision)
    if solution.rank == len(root.r) or not tried.is_linear(solution, root.norms):
        return None
    weights = None
    if bool((solution.identifiable | solution.silent).all()):
        weights = solution.weights.reshape(len(places), -1).sum(axis=0)
    moved = _are_updates(trial, places)
    examples = "local SGD, Reptile and inner loops" if moved else "steps with a snapshot (SVRG)"
    return Cause(
        UPDATES if moved else PLACES,
        f"{_fact(trial, places)}, as in {examples}; what they leave together is a weighting of the units' "
        "gradients at these",
        weights,
    )


def unexplained_updates(trial: Trial) -> Cause | None:
    """The same where no weighting explains it: the values must follow from the samples, as updates do."""
    places = _places(trial)
    if len(places) < 2 or not _are_updates(trial, places):
        return None  # another network of this kind, which no update made
    return Cause(
        UPDATES,
        f"{_fact(trial, places)}; what they leave together is no weighting of the units' gradients at these: "
        "an optimizer keeps its own averages between them (Adam), a gradient goes through an update (MAML), "
        "or each update is of some parameters only (GANs)",
    )


def _places(trial: Trial) -> list[GradientByName]:
    """The values that a call comes to; none where they are too many, or there is no call to make."""
    tried = trial.tried
    if not tried.reruns or tried.random:
        return []
    places = tried.visited(trial.without)
    with visiting(tried.model) as inside, torch.enable_grad():
        tried.losses.numbers(in_eval_mode(tried.model), tried.batch)
    # A loss after an inner step comes to such values itself.
    return places if len(inside) < 2 and len(places) <= MOST_VISITED else []


def _are_updates(trial: Trial, places: list[GradientByName]) -> bool:
    """Whether the values follow from the samples: they are others where all samples are the first one."""
    tried = trial.tried
    alike = torch.zeros(batches.size(tried.batch), dtype=torch.long)
    others = tried.visited(trial.without, batches.select(tried.batch, alike))
    return _ends(places) != _ends(others)


def _ends(places: list[GradientByName]) -> set[float]:
    return {norm_of(place) for place in places}


def _fact(trial: Trial, places: list[GradientByName]) -> str:
    here = {name: p.detach() for name, p in trial.tried.model.named_parameters()}
    far = max(norm_of({name: place[name] - here[name] for name in here}) for place in places)
    return (
        f"the network is called at {len(places)} values of its parameters, up to "
        f"{far / max(norm_of(here), 1e-300):.2%} of their norm apart"
    )
