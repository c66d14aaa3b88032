"""What a run measures: for each case, its batches at each batch size, the ragged last one included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from suite.algebra.pairs import PAIRS_BATCH_SIZE
from suite.algebra.units import Units
from suite.case import Case, Problem
from suite.conventions.sampling import AT_FIRST
from suite.errors import CaseError, UsageError, shortened
from suite.loops import batch as batches
from suite.loops.batch import Batch

FULL_BATCHES = 2


@dataclass(frozen=True)
class Cell:
    """One batch of one case: the piece that is measured at a time.

    Args:
        batch_size: the size of a full batch.
        batch: the batch's name: its number in the epoch, or `last` for the ragged last one.
        rows: `[samples]` which samples of the data it holds.
        pairs: whether every convention is held against every other on it, not the reference only.
    """

    batch_size: int
    batch: str
    rows: torch.Tensor
    pairs: bool = False

    def take(self, problem: Problem, device: torch.device, dtype: torch.dtype) -> Batch:
        """The batch itself."""
        chosen = batches.select(problem.data, self.rows)
        if problem.collate is not None:
            chosen = problem.collate(chosen)
        return batches.to(chosen, device, dtype)

    def units(self, problem: Problem, batch: Batch) -> Units:
        """The units table of the batch, which is the host's: columns are made for people, by NumPy or torch.

        A full batch is cut into `problem.microbatches` and spread over `problem.ranks` evenly; a
        ragged one fills as many of them as it can, as a data loader does, and leaves the last short.

        Raises:
            CaseError: The columns that the case gives do not fit its batch.
        """
        samples = len(self.rows)
        per_microbatch = -(-self.batch_size // problem.microbatches)
        per_rank = -(-self.batch_size // problem.ranks)
        columns: dict[str, Any] = {
            "microbatch": np.arange(samples) // per_microbatch,
            "rank": np.arange(samples) // per_rank,
        }
        if problem.term_weight is not None:
            columns["term_weight"] = problem.term_weight
        if problem.columns is not None:
            stated = problem.columns(batch)
            if not isinstance(stated, Mapping):
                raise CaseError(f"columns(batch) gives {shortened(stated)}: a dict of columns is needed")
            columns |= stated
        try:
            return Units.of(
                samples,
                columns,
                parts=problem.parts,
                regulariser=problem.regulariser is not None,
                part_kind=problem.part_kind,
                window=-(-self.batch_size // per_microbatch),
                world_size=-(-self.batch_size // per_rank),
                expected_batch_size=float(self.batch_size),
                max_elements=problem.max_elements,
                moving_average=AT_FIRST,
                max_norm=problem.max_norm,
            )
        except UsageError as error:
            raise CaseError(str(error)) from error


def cells(problem: Problem, batch_sizes: tuple[int, ...], seed: int) -> list[Cell]:
    """The first full batches of a shuffled epoch and its ragged last one, at each batch size."""
    samples = batches.size(problem.data)
    order = torch.randperm(samples, generator=torch.Generator().manual_seed(seed))
    found: list[Cell] = []
    with_pairs = min(batch_sizes, key=lambda size: abs(size - PAIRS_BATCH_SIZE), default=0)
    for size in batch_sizes:
        full = samples // size
        found += [
            Cell(size, str(k), order[k * size : (k + 1) * size], pairs=(size, k) == (with_pairs, 0))
            for k in range(min(FULL_BATCHES, full))
        ]
        if samples % size:
            found.append(Cell(size, "last", order[full * size :]))
    return found


def training(problem: Problem, batch_size: int, seed: int, steps: int) -> list[Cell]:
    """The full batches of as many steps, epoch after epoch of the same shuffled order."""
    samples = batches.size(problem.data)
    order = torch.randperm(samples, generator=torch.Generator().manual_seed(seed))
    starts = [step % (samples // batch_size) * batch_size for step in range(steps)]
    return [Cell(batch_size, str(k), order[at : at + batch_size]) for k, at in enumerate(starts)]


def sizes(case: Case, problem: Problem, asked: Sequence[int], *, quick: bool) -> tuple[int, ...]:
    """The batch sizes to measure: those `asked` for, or else the case's own.

    Raises:
        UsageError: One of them is less than 1 or larger than the data.
    """
    samples = batches.size(problem.data)
    chosen = tuple(asked) or case.batch_sizes
    for size in chosen:
        if not 1 <= size <= samples:
            raise UsageError(
                f"batch size {size} does not fit case {case.name!r}: it has {samples} samples, "
                f"so 1 to {samples} are allowed (--case chooses cases)"
            )
    if quick and not asked:
        # The largest sizes tell nothing that 32 does not, and cost the most.
        chosen = tuple(size for size in chosen if size <= 32) or chosen[:1]
    return tuple(chosen)
