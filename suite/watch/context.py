"""Ranks that share their sequences (context parallelism): their pieces as whole micro-batches again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from suite.errors import UsageError
from suite.loops import batch as batches
from suite.watch.microbatch import Call

POSITIONS = "position_ids"


def whole_sequences(calls: Sequence[Call], size: int) -> list[Call]:
    """The micro-batches of ranks that share sequences, joined along the second axis.

    The positions are in the order of `position_ids` where the model is called with them, else rank by rank.
    Each call knows the rank of each of its positions.

    Args:
        calls: of all ranks.
        size: how many ranks, one after the other, share their sequences.

    Raises:
        UsageError: Ranks of one group have not the same number of micro-batches, or pieces that do not fit.
    """
    groups: dict[int, dict[int, list[Call]]] = {}
    for call in calls:
        groups.setdefault(call.rank // size, {}).setdefault(call.rank, []).append(call)
    found = []
    for group, ranks in sorted(groups.items()):
        counts = {rank: len(ranks.get(rank, ())) for rank in range(group * size, (group + 1) * size)}
        if len(set(counts.values())) > 1:
            told = ", ".join(f"{count} of rank {rank}" for rank, count in counts.items())
            raise UsageError(f"ranks that share their sequences have as many micro-batches each: {told}")
        found += [_whole(pieces) for pieces in zip(*(ranks[rank] for rank in counts), strict=True)]
    return found


def _whole(pieces: Sequence[Call]) -> Call:
    lengths = [_length(piece) for piece in pieces]
    ranks = torch.cat([torch.full((n,), piece.rank) for n, piece in zip(lengths, pieces, strict=True)])
    parts = [list(batches.tensors(piece.batch)) for piece in pieces]
    try:
        whole = [_together(same, lengths) for same in zip(*parts, strict=True)]
    except (ValueError, RuntimeError):
        shapes = " and ".join(str([list(t.shape) for t in part]) for part in parts[:2])
        raise UsageError(f"the pieces of one sequence do not fit: {shapes}") from None
    given = iter(whole)
    batch = batches.map_tensors(lambda _: next(given), pieces[0].batch)
    order = _order(batch, len(ranks))
    batch = batches.map_tensors(lambda t: t[:, order] if _sequenced(t, len(ranks)) else t, batch)
    return replace(pieces[0], batch=batch, circumstances=None, ranks=ranks[order])


def _length(piece: Call) -> int:
    """How many positions a piece has."""
    found = next((t.shape[1] for t in batches.tensors(piece.batch) if t.ndim > 1), None)
    if found is None:
        raise UsageError("a micro-batch has no tensor [samples, positions]: nothing is shared along an axis")
    return found


def _together(same: Sequence[Tensor], lengths: Sequence[int]) -> Tensor:
    if all(_sequenced(tensor, length) for tensor, length in zip(same, lengths, strict=True)):
        return torch.cat(list(same), 1)
    return same[0]


def _sequenced(tensor: Tensor, length: int) -> bool:
    return tensor.ndim > 1 and tensor.shape[1] == length


def _order(batch: Any, length: int) -> Tensor:
    given = batch.get(POSITIONS) if isinstance(batch, Mapping) else None
    return torch.arange(length, device="cpu") if given is None else torch.argsort(given[0], stable=True)
