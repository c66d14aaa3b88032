"""`watch`: the audit of a training run in place."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral
from pathlib import Path

from torch import nn

from suite.errors import UsageError
from suite.loops.loop import Losses
from suite.watch.audit import RunAudit
from suite.watch.auditor import WatchOptions
from suite.watch.update import AuditedUpdate


def watch(
    model: nn.Module,
    losses: Losses | None,
    *,
    every: int = 1,
    expect: str | None = None,
    warn: bool = False,
    save: str | Path | None = None,
    window: int | None = None,
    max_norm: float | None = None,
    engine: str = "opacus",
    factory: Callable[[], nn.Module] | None = None,
    log: Callable[[AuditedUpdate], object] | None = None,
    timeout: float = 60.0,
    context: int = 1,
) -> RunAudit:
    """The weights behind the updates of a training run, which goes on as if nobody looked.

    Every call of the model with gradients enabled is a micro-batch of the update that follows. When the
    optimizer is called, the gradient is taken as it will be used, and recovered: after accumulation,
    unscaling, clipping and synchronisation.

    Args:
        model: the module that the loop calls, as it is or in its wrappers. It is left as it is.
        losses: `losses(model, batch)` gives the unreduced losses of one micro-batch, `[samples]` or
            `[samples, parts]`; the batch is what the model was called with: the argument, a tuple of them,
            or a dict where they have names. `suite.losses` has them for usual tasks. A function
            `losses.elements(batch)` may count what each sums over. None if updates are only to be saved.
        every: one update in so many is audited, beginning with the first.
        expect: the convention that each update must compute, clipped by its norm or not: the first that
            computes another raises `UnexpectedUpdateError`, in the training loop.
        warn: whether it warns instead, at the first of each run of such updates.
        save: a file for what recovery needs of the last audited update; with `{update}` in its name, one for
            each.
        window: how many micro-batches a full window has; by default the most that were seen so far.
        max_norm: the threshold by which the gradient is clipped; by default a norm of two digits is taken
            for one.
        engine: the engine that computes the units' gradients where each sample has one loss.
        factory: makes the model anew, whole, where its parameters are sharded or its forward pass talks to
            other ranks.
        log: is called with each audited update; `update.line` is a line of text.
        timeout: how many seconds rank 0 waits for the micro-batches of another rank.
        context: how many ranks, one after the other, share their sequences (context parallelism); each holds
            a piece of the second axis, in the order of `position_ids` where the model has them.

    Returns:
        The audit, to be entered with `with`: `.updates`, `.failures`, `.frame`, `print(audit)`.

    Raises:
        UsageError: An argument is wrong.

    Examples:
        >>> import gradsuite
        >>> import torch
        >>> import torch.nn.functional as F
        >>> _ = torch.manual_seed(0)
        >>> model = torch.nn.Linear(8, 3)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> def losses(model, batch):
        ...     return F.cross_entropy(model(batch[0]), batch[1], reduction="none")
        >>> loader = [(torch.randn(n, 8), torch.randint(3, (n,))) for n in (4, 2)]
        >>> with gradsuite.watch(model, losses) as audit:
        ...     for x, y in audit.see(loader):  # two micro-batches, one update
        ...         (F.cross_entropy(model(x), y) / 2).backward()
        ...     optimizer.step()
        >>> audit.updates[0].convention.name
        'mean-of-microbatch-means'
    """
    _check(model, losses, {"every": every, "window": window, "context": context}, save, max_norm)
    for name, value in (("log", log), ("factory", factory)):
        if value is not None and not callable(value):
            raise UsageError(f"watch: {name} is {value!r}: a function is needed")
    if expect is not None:
        from suite.conventions import conventions

        expect = conventions[expect].name
    return RunAudit(
        model,
        losses,
        WatchOptions(every, expect, warn, save, window, max_norm, engine, factory, log, timeout, context),
    )


def _check(model: object, losses: object, counts: dict[str, object], save: object, max_norm: object) -> None:
    if not isinstance(model, nn.Module):
        raise UsageError(
            f"watch: the model is a {type(model).__name__}: it must be the torch.nn.Module that is trained"
        )
    if not any(p.requires_grad for p in model.parameters()):
        raise UsageError(
            "watch: no parameter of the model requires a gradient: give the module that is trained"
        )
    if losses is None and save is None:
        raise UsageError("watch: losses are needed to recover updates; without, say where to save= them")
    if losses is not None and not callable(losses):
        raise UsageError(
            f"watch: losses is a {type(losses).__name__}: it must be a function, losses(model, batch); "
            "suite.losses has some"
        )
    if type(losses).__module__ == "torch.nn.modules.loss":
        raise UsageError(
            f"watch: losses is a {type(losses).__name__}, which is called with scores and targets: give a "
            "function, losses(model, batch), that calls it with reduction='none'; suite.losses has some"
        )
    if isinstance(save, str | Path) and Path(save).is_dir():
        raise UsageError(f"watch: save is {str(save)!r}, a folder: give a file, such as step.safetensors")
    for name, value in counts.items():
        whole = isinstance(value, Integral) and not isinstance(value, bool)
        if value is not None and (not whole or value < 1):  # type: ignore[operator]
            raise UsageError(f"watch: {name} is {value!r}: a whole number of at least 1 is needed")
    if max_norm is not None and not (isinstance(max_norm, int | float) and max_norm > 0):
        raise UsageError(f"watch: max_norm is {max_norm!r}: a positive number is needed")
