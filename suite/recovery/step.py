"""Anybody's training step, run to see the gradient that it leaves, and undone.

The gradient is what the step returns, if it returns one; or else what an optimizer was about to use;
or else what is left in `.grad`. Whatever the step can reach and changes is put back after.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim.optimizer import register_optimizer_step_pre_hook

from suite.errors import UsageError, one_line, place
from suite.loops.batch import Batch, content, map_tensors, tensors
from suite.loops.norms import all_finite
from suite.machine.buffers import duplicated
from suite.machine.stages import begins
from suite.recovery.arrays import as_tensor, flat, is_array, misfit
from suite.recovery.put_back import same
from suite.recovery.surroundings import Surroundings

Step = Callable[[nn.Module, Batch], Any]
GradientByName = dict[str, Tensor]
BATCH = "the batch"
STORAGE = "the storage of parameters (half(), to(), share_memory() or .data)"


def gradient_of(
    step: Step,
    model: nn.Module,
    batch: Batch,
    *,
    seed: int | None = None,
    surroundings: Surroundings | None = None,
    what: str = "the step is called",
) -> GradientByName:
    """The gradient that `step(model, batch)` leaves, by parameter name, in the parameters' shapes.

    Args:
        step: may return the gradient (`[params]`, a sequence in the order of the parameters, or by
            name, as tensors or as arrays of NumPy or JAX), or leave it in `.grad`; it may go on and call
            `optimizer.step()`, once.
        model: put back as it was found, with its buffers, gradients and modes.
        batch: the step receives a copy.
        seed: of all random states, or None to take them as the surroundings know them.
        surroundings: all that is put back after; by default what the model and the step reach now.
        what: is said to whoever listens, with what a call is known to cost.

    Raises:
        UsageError: The step fails, or leaves no gradient, or one that is not finite.
    """
    around = Surroundings(model, step=step) if surroundings is None else surroundings
    given = map_tensors(torch.clone, batch)
    copies = tensors(given)  # whatever the step does to the containers
    begins(what, around.seconds)
    start = time.monotonic()
    with around.kept():
        around.rewind(seed)
        before = _storages(model)
        gradient = left_by(step, model, given, scaled=around.scaled)
        if _storages(model) != before:
            around.told.setdefault(STORAGE)
    around.seconds = time.monotonic() - start
    if not all(map(same, copies, tensors(batch))):
        around.told.setdefault(BATCH)
    return gradient


def left_by(step: Step, model: nn.Module, batch: Batch, *, scaled: bool = False) -> GradientByName:
    """The gradient that one call leaves; nothing is put back but the optimizers that it drives.

    Args:
        step: see `gradient_of`.
        model: see `gradient_of`.
        batch: the step may change it.
        scaled: whether the step has a GradScaler.

    Raises:
        UsageError: The step fails, or leaves no gradient, or one that is not finite.
    """
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    known = {id(p) for p in model.parameters()}
    with _watched(trained) as caught, torch.enable_grad():
        cleared = _cleared(model)
        try:
            returned = step(model, content(batch))
        except UsageError:
            raise
        except (Exception, SystemExit) as error:
            raise UsageError(
                f"the step failed{place(error)}: {one_line(error)}; it is called as step(model, batch)"
            ) from error
        found = _returned(returned, trained) or caught or _left(trained, cleared)
    _require_same_parameters(model, trained, known)
    if not found:
        raise UsageError(
            f"the step returned {_shape(returned)} and left no gradient: it must return the gradient, "
            f"leave it in .grad, or call optimizer.step(){misfit(returned, trained)}"
        )
    gradient = {
        name: duplicated(found[name]) if name in found else torch.zeros_like(p).detach()
        for name, p in trained.items()
    }
    bad = [name for name, part in gradient.items() if not all_finite(part)]
    if bad:
        skipped = "; a GradScaler skips such a step: give it a smaller init_scale" if scaled else ""
        raise UsageError(
            f"the step's gradient of {bad[0]} is nan or infinite: no weights explain it{skipped}"
        )
    return gradient


def _storages(model: nn.Module) -> dict[str, tuple[torch.dtype, int]]:
    """Where the numbers of each parameter are, and of which kind."""
    return {
        name: (p.dtype, p.data_ptr() if p.layout == torch.strided else 0)
        for name, p in model.named_parameters()
        if not is_lazy(p)
    }


def _require_same_parameters(model: nn.Module, trained: Mapping[str, nn.Parameter], known: set[int]) -> None:
    """Make sure that the gradient is of the parameters that the model had.

    Raises:
        UsageError: The step replaces, adds or removes some.
    """
    now = {id(p): name for name, p in model.named_parameters()}
    gone = [name for name, p in trained.items() if id(p) not in now]
    new = [name for key, name in now.items() if key not in known]
    if gone or new:
        shown = ", ".join(list(dict.fromkeys([*gone, *new]))[:3])
        raise UsageError(
            f"the step replaces, adds or removes parameters ({shown}): its gradient is that of another "
            "model; do so before, and give the model as it then is"
        )


@contextmanager
def _watched(trained: Mapping[str, nn.Parameter]) -> Iterator[GradientByName]:
    """What optimizers find in `.grad` when they are about to update these parameters.

    A step may well clear the gradients after its update. The optimizers' own state is put back.

    Raises:
        UsageError: A parameter is updated more than once: then there is no one gradient.
    """
    caught: GradientByName = {}
    states: dict[int, tuple[torch.optim.Optimizer, list[dict[str, Any]], dict[Any, Any]]] = {}
    names = {id(p): name for name, p in trained.items()}

    def before(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> tuple[Any, Any] | None:
        mine = [p for group in optimizer.param_groups for p in group["params"] if id(p) in names]
        if mine and id(optimizer) not in states:
            states[id(optimizer)] = (optimizer, *_state(optimizer))
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)  # args[0] is the optimizer
        if closure is None:
            _catch(caught, mine, names)
            return None

        calls: list[None] = []

        def closed() -> Any:  # the backward pass is in there: so it is in Lightning
            if calls:
                raise UsageError(
                    f"{type(optimizer).__name__} calls its closure more than once, at other parameters: give "
                    "the closure itself as the step"
                )
            calls.append(None)
            loss = closure()
            _catch(caught, mine, names)
            return loss

        return args[:1], {**kwargs, "closure": closed}

    with ExitStack() as stack:
        stack.callback(register_optimizer_step_pre_hook(before).remove)
        try:
            yield caught
        finally:
            for optimizer, groups, state in states.values():
                for group, saved in zip(optimizer.param_groups, groups, strict=True):
                    group.update(saved)
                optimizer.state.clear()
                optimizer.state.update(state)


def _catch(caught: GradientByName, parameters: list[nn.Parameter], names: Mapping[int, str]) -> None:
    """Copy what is in `.grad`, once for each parameter."""
    for parameter in parameters:
        name = names[id(parameter)]
        if parameter.grad is None:
            continue
        if name in caught:
            raise UsageError(
                f"the step updates {name} more than once: give a step that makes one update, or that returns "
                "what its updates take together, [before − after for each parameter]"
            )
        caught[name] = _dense(parameter.grad).detach().clone()


def _state(optimizer: torch.optim.Optimizer) -> tuple[list[dict[str, Any]], dict[Any, Any]]:
    """Copies of an optimizer's hyperparameters and state."""
    groups = [
        {k: copy.deepcopy(v) for k, v in group.items() if k != "params"} for group in optimizer.param_groups
    ]
    return groups, {p: copy.deepcopy(dict(state)) for p, state in optimizer.state.items()}


def _returned(value: object, trained: Mapping[str, nn.Parameter]) -> GradientByName:
    """The gradient that a step returned; empty where what it returned is none (a loss, say)."""
    parameters = list(trained.values())
    value = as_tensor(value) if is_array(value) else value
    if isinstance(value, Tensor):
        sizes = [p.numel() for p in parameters]
        if value.ndim != 1 or len(value) != sum(sizes):
            return {}
        parts = [part.view_as(p) for part, p in zip(value.split(sizes), parameters, strict=True)]
        return dict(zip(trained, parts, strict=True))
    if isinstance(value, Mapping):
        named = flat(value)
    elif isinstance(value, list | tuple) and len(value) == len(parameters):
        named = dict(zip(trained, value, strict=True))
    else:
        return {}
    parts_by_name = {name: as_tensor(part) for name, part in named.items() if part is not None}
    known = bool(parts_by_name) and named.keys() <= trained.keys()
    fits = known and all(
        part is not None and part.shape == trained[name].shape for name, part in parts_by_name.items()
    )
    return {k: _dense(v) for k, v in parts_by_name.items() if v is not None} if fits else {}


def _cleared(model: nn.Module) -> dict[nn.Parameter, Tensor]:
    """Zeros in the place of the gradients that there are."""
    zeros = {p: torch.zeros_like(p.grad) for p in model.parameters() if p.grad is not None}
    for parameter, zero in zeros.items():
        parameter.grad = zero
    return zeros


def _left(trained: Mapping[str, nn.Parameter], cleared: Mapping[nn.Parameter, Tensor]) -> GradientByName:
    """What is in `.grad`; empty where that is but the zeros that were put there."""
    left = {name: p.grad for name, p in trained.items() if p.grad is not None}
    if all(p.grad is cleared.get(p) and not p.grad.any() for p in trained.values() if p.grad is not None):
        return {}
    return {name: _dense(grad) for name, grad in left.items()}


def _dense(gradient: Tensor) -> Tensor:
    return gradient.to_dense() if gradient.is_sparse else gradient


def _shape(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a tensor {list(value.shape)}"
    return "nothing" if value is None else f"a {type(value).__name__}"
