"""The units table of an update, made from its micro-batches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from suite.algebra.units import Units
from suite.errors import CaseError, UsageError, one_line, place
from suite.loops import batch as batches
from suite.loops.autograd import values
from suite.loops.loop import Losses
from suite.recovery.eval_copy import in_eval_mode
from suite.recovery.recorded import Microbatch
from suite.watch.microbatch import Call

SHOWN_PARTS = 4
"""How many parts of a batch that were left out are told."""


def measured(model: nn.Module, calls: Sequence[Call], losses: Losses) -> list[Microbatch]:
    """The micro-batches with what their units hold.

    The `elements` of the losses count it where they have such a function. Otherwise each loss of `[samples]`
    counts as one, and so does each that is not zero of `[samples, parts]`: the others are taken for padding.

    Raises:
        UsageError: The losses fail, or are not `[samples]` or `[samples, parts]`.
    """
    evaluated = in_eval_mode(model)
    device = next(evaluated.parameters()).device
    found = []
    for call in calls:
        batch = batches.map_tensors(lambda t: t.to(device), call.batch)
        samples = batches.size(batch)
        shown = _shown(batch, call.left_out)
        entries = _read(evaluated, batch, losses, shown)
        if entries.ndim not in (1, 2) or len(entries) != samples:
            reduced = entries.ndim == 0
            raise UsageError(
                f"losses(model, batch) gave {list(entries.shape)}; for a micro-batch of {samples} samples "
                f"it must be unreduced, [{samples}] or [{samples}, parts]: "
                + ("use reduction='none'" if reduced else "samples lie along the first axis of its tensors")
                + f"; the batch is {shown}"
            )
        counted = _elements(losses, batch, entries)
        found.append(Microbatch(batch, counted, call.rank, call.circumstances))
    return found


def _read(model: nn.Module, batch: batches.Batch, losses: Losses, shown: str) -> Tensor:
    try:
        entries = values(lambda: losses(model, batch))
    except (UsageError, CaseError):
        raise
    except Exception as error:
        raise UsageError(
            f"the losses failed{place(error)}: {one_line(error)}; they are called as losses(model, batch), "
            f"with the batch as the model was called with it or as it was handed over: {shown}"
        ) from error
    if not isinstance(entries, Tensor):
        raise UsageError(f"losses(model, batch) gave a {type(entries).__name__}: a tensor is needed")
    return entries


def _elements(losses: Losses, batch: batches.Batch, entries: Tensor) -> NDArray[np.float64]:
    count = getattr(losses, "elements", None)
    if count is not None:
        found: NDArray[np.float64] = torch.as_tensor(count(batch)).double().cpu().numpy()
        if found.shape != tuple(entries.shape):
            raise UsageError(
                f"losses.elements(batch) gave {list(found.shape)}, the losses are {list(entries.shape)}: "
                "it must count the elements of each loss"
            )
        return found
    if entries.ndim == 1:
        return np.ones(len(entries))
    return (entries != 0).double().cpu().numpy()


def units_table(
    microbatches: Sequence[Microbatch],
    *,
    full: int,
    world_size: int = 1,
    context: Sequence[Call] = (),
    max_norm: float | None = None,
    max_elements: int | None = None,
) -> Units:
    """One row for each loss: its sample, part, micro-batch and rank, and its elements.

    Args:
        microbatches: of all ranks, in the order of the table.
        full: how many micro-batches a rank has in a full window.
        world_size: how many ranks there are.
        context: the calls of the micro-batches, where several ranks share a sequence.
        max_norm: the clip threshold, where it is known.
        max_elements: the longest sequence that the configuration allows, where it is known.
    """
    widths = [one.elements.shape[1] if one.elements.ndim > 1 else 1 for one in microbatches]
    parts = tuple(map(str, range(max(widths)))) if max(widths) > 1 else ()
    samples = [len(one.elements) for one in microbatches]
    starts = np.cumsum([0, *samples])
    sizes = [one.elements.size for one in microbatches]
    ranks = [one.rank for one in microbatches]
    each = max(ranks.count(rank) for rank in set(ranks))
    groups = world_size
    rank = np.repeat(ranks, sizes)
    if context:
        groups = len(set(ranks))
        rank = np.concatenate(
            [_by_position(call, n, width) for call, n, width in zip(context, samples, widths, strict=True)]
        )
    accumulates = max(each, full) > 1
    elements = np.concatenate([one.elements.ravel() for one in microbatches])
    return Units(
        sample=np.concatenate([
            start + np.repeat(np.arange(n), width)
            for start, n, width in zip(starts, samples, widths, strict=False)
        ]),
        part=np.concatenate([np.tile(np.arange(w), n) for n, w in zip(samples, widths, strict=True)]),
        elements=elements,
        positions=np.ones(len(elements)) if parts else None,
        microbatch=np.repeat(np.arange(len(sizes)), sizes) if accumulates else None,
        rank=rank if world_size > 1 else None,
        parts=parts,
        window=max(each, full) * groups if accumulates else 1,
        world_size=world_size,
        max_norm=max_norm,
        max_elements=max_elements,
    )  # fmt: skip


def _by_position(call: Call, samples: int, width: int) -> NDArray[np.int64]:
    """`[samples × width]` the rank of each loss of a micro-batch, which several ranks share."""
    places = np.full(width, call.rank) if call.ranks is None else call.ranks.numpy()
    if len(places) < width:
        raise UsageError(
            f"losses(model, batch) gave {width} parts for sequences of {len(places)} positions: to know the "
            "rank of each, one loss a position is needed"
        )
    return np.tile(places[:width], samples)


def _shown(batch: batches.Batch, left_out: Sequence[str]) -> str:
    """What losses are called with, and what they are not."""
    if isinstance(batch, Tensor):
        found = f"a tensor {list(batch.shape)}"
    elif isinstance(batch, dict):
        found = "a dict of " + ", ".join(f"{key!r}{_shape(value)}" for key, value in batch.items())
    else:
        found = f"a {type(batch).__name__} of " + ", ".join(f"{_shape(value).strip()}" for value in batch)
    told = list(dict.fromkeys(left_out))
    more = [f"and {len(told) - SHOWN_PARTS} more"] if len(told) > SHOWN_PARTS else []
    return found + (f" ({'; '.join([*told[:SHOWN_PARTS], *more])})" if told else "")


def _shape(value: batches.Batch) -> str:
    return f" {list(value.shape)}" if isinstance(value, Tensor) else f" {type(value).__name__}"
