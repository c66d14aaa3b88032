"""Which samples a batch holds, however it is laid out: the losses say how many, the batch must agree.

Tensors with samples along their first axis need nothing said. A list of samples, a list with an item for
each beside such tensors (the targets of a detector), a table of pandas, and parts with different numbers of
samples (labelled and unlabelled ones, say), are recognised by the number of losses. For anything else, a
function that picks samples is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from suite.errors import UsageError, one_line, place
from suite.loops import batch as batches
from suite.loops.batch import Batch, Choose, ChosenBatch
from suite.recovery.batch_parts import as_held, in_parts, is_shared

Collate = Callable[[list[Any]], Any]


def given_batch(batch: Batch, select: Choose | None, collate: Collate | None) -> Batch:
    """What the step and the losses are given, before it is known how many samples that is.

    Raises:
        UsageError: `collate` fails, or goes with no list of samples, or with `select`.
    """
    if collate is None:
        return batch if select is None else ChosenBatch(batch, batch, select, ())
    if select is not None:
        raise UsageError("select and collate both say how samples are taken: give one of them")
    if not isinstance(batch, list | tuple) or not batch:
        raise UsageError(
            f"collate makes a batch of a list of samples, and batch is a {type(batch).__name__}: give the "
            "list that the data loader would hand to collate, or leave collate out"
        )
    try:
        return batches.collated(batch, collate)
    except Exception as error:
        raise UsageError(
            f"collate failed{place(error)}: {one_line(error)}; it is called as collate(list of samples)"
        ) from error


def with_samples(batch: Batch, entries: object) -> Batch:
    """The batch with a rule for its samples, of which the losses have told the number.

    Args:
        batch: see `given_batch`.
        entries: what the losses gave, `[samples]` or `[samples, parts]`.

    Raises:
        UsageError: The batch does not tell which samples it holds; or `select` does not pick them.
    """
    count = len(entries) if isinstance(entries, Tensor) and entries.ndim in (1, 2) else None
    if isinstance(batch, ChosenBatch):
        return batch if batch.rows or count is None else _tried(batch, count)
    lengths = [tensor.shape[0] if tensor.ndim else -1 for tensor in batches.tensors(batch)]
    if count is None or (lengths and set(lengths) == {count}):
        return batch  # whoever computes gradients says what is wrong with such losses
    rows, listed = tuple(range(count)), isinstance(batch, list | tuple) and len(batch) == count
    if lengths and len(set(lengths)) == 1 and lengths[0] >= 0:
        if listed and count > 2:
            raise UsageError(
                f"there are {count} losses, and the batch is a list of {count} whose tensors have a first "
                f"axis of {lengths[0]}: if each of them is a sample, give select=lambda batch, rows: "
                f"[batch[row] for row in rows]; if not, the losses must be unreduced, one for each of "
                f"{lengths[0]} samples"
            )
        return batch
    listed = listed and not hasattr(batch, "_fields")
    if listed and len(set(map(type, batch))) == 1:
        return ChosenBatch(batch, batch, _items, rows)
    own = [part for part in _inside(batch) if not is_shared(part)]
    if own and all(_each_has(count, part) for part in own):
        return ChosenBatch(batch, batch, partial(_of_each, count), rows)
    if listed:
        return ChosenBatch(batch, batch, _items, rows)
    if not lengths and hasattr(batch, "iloc") and len(batch) == count:
        return ChosenBatch(batch, batch, _rows_of_table, rows)
    parts = in_parts(batch, count)
    if parts is not None:
        return parts
    raise UsageError(
        f"there are losses of {count} samples, and the tensors of the batch have first axes of "
        f"{_listed(lengths)}: all must be the number of samples. Take out of the batch what has none (class "
        "weights); give collate=, `collate(samples)`, for a list of samples; give select=, "
        "`select(batch, rows)`, for any other layout"
    )


def _tried(batch: ChosenBatch, count: int) -> ChosenBatch:
    """The batch with its rule, which has been tried on its first sample."""
    try:
        batch.choose(batch.whole, [0])
    except Exception as error:
        raise UsageError(
            f"select failed{place(error)}: {one_line(error)}; it is called as select(batch, rows), rows "
            "being a list of whole numbers"
        ) from error
    return ChosenBatch(batch.value, batch.whole, batch.choose, tuple(range(count)))


def _rows_of_table(batch: Any, rows: list[int]) -> Any:
    """Samples of a table of pandas."""
    return batch.iloc[rows]


def _items(batch: Any, rows: list[int]) -> Any:
    """Samples of a list of samples."""
    return type(batch)(batch[row] for row in rows)


def _each_has(count: int, batch: Batch) -> bool:
    """Whether everything a batch holds has `count` samples, in one way that can be told.

    They are the rows of its tensors, or the items of its lists; a list of three images with three channels
    could be cut either way, and says nothing.
    """
    rows, items = _along_axis(count, batch), _is_list(count, batch)
    if rows or items:
        return rows != items
    if is_shared(batch):
        return True
    inside = _inside(batch)
    return bool(inside) and all(_each_has(count, part) for part in inside)


def _along_axis(count: int, batch: Batch) -> bool:
    """Whether it has tensors, of `count` rows each."""
    try:
        return batches.size(batch) == count
    except UsageError:
        return False


def _is_list(count: int, batch: Batch) -> bool:
    return isinstance(batch, list | tuple) and not hasattr(batch, "_fields") and len(batch) == count


def _inside(batch: Batch) -> list[Batch]:
    """What a dict, list or tuple holds directly."""
    if isinstance(batch, Mapping):
        return list(batch.values())
    return list(batch) if isinstance(batch, list | tuple) else []


def _of_each(count: int, batch: Any, rows: list[int]) -> Any:
    """Samples of a batch in which everything has `count`."""
    return as_held(batch, [_of_part(count, part, rows) for part in _inside(batch)])


def _of_part(count: int, part: Any, rows: list[int]) -> Any:
    if _along_axis(count, part):
        return batches.select(part, torch.tensor(rows, dtype=torch.int64, device="cpu"))
    if _is_list(count, part):
        return _items(part, rows)
    return _of_each(count, part, rows) if _inside(part) else part


def _listed(lengths: list[int]) -> str:
    shown = ", ".join("none" if length < 0 else str(length) for length in lengths[:8])
    return shown + (", …" if len(lengths) > 8 else "") if lengths else "none"
