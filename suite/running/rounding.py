"""What rounding does: reference loops run in the floating-point formats that people train in."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from suite.conventions import Convention
from suite.loops import batch as batches
from suite.loops.loop import Loop, run_reference_loop
from suite.machine.cuda import has_tf32, set_tf32


class NotAvailable(Exception):  # noqa: N818  a format that cannot be tried is no fault of the case
    """What the losses do cannot be computed in a format: CTC in bfloat16, for one."""


@dataclass(frozen=True)
class Precision:
    """A floating-point format as a device computes in it.

    Args:
        name: the column's suffix; empty for the dtype that was asked for.
        dtype: of the model and the batch.
        tf32: whether products of float32 numbers may use TF32.
    """

    name: str
    dtype: torch.dtype
    tf32: bool = False


def precisions(device: torch.device, dtype: torch.dtype) -> list[Precision]:
    """The dtype that was asked for, then bfloat16, and TF32 where the device has it."""
    found = [Precision("", dtype)]
    if dtype != torch.bfloat16:
        found.append(Precision("bfloat16", torch.bfloat16))
    if has_tf32(device):  # uncovered: needs a CUDA device
        found.append(Precision("tf32", torch.float32, tf32=True))
    return found


LARGE_MODEL = 1_000_000
"""From so many parameters on, bfloat16 is left out where a processor has no instructions for it."""


def affordable(found: Sequence[Precision], device: torch.device, params: int) -> list[Precision]:
    """Those that take about as long as float32: without instructions, bfloat16 takes tens of times as long.

    Args:
        found: the formats; one that was asked for stays.
        device: that computes.
        params: of the model.
    """
    slow = device.type == "cpu" and params >= LARGE_MODEL and not _computes_bfloat16()
    return [precision for precision in found if precision.name != "bfloat16" or not slow]


def _computes_bfloat16() -> bool:
    """Whether oneDNN has instructions of the processor for bfloat16."""
    known = torch.backends.mkldnn.is_available()
    return known and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001  only there


def reference_gradients(
    loop: Loop, chosen: Sequence[Convention], precision: Precision
) -> Iterator[tuple[str, Tensor]]:
    """`[params]` in float64: each convention's reference loop in this precision, one after the other.

    The model and the batch are cast as a whole; the parameters are those of the float64 model, rounded.

    Raises:
        NotAvailable: Torch has no kernel of what the losses do for this precision.
    """
    model = copy.deepcopy(loop.model).to(precision.dtype)
    device = loop.parameters[0].device
    cast = replace(loop, model=model, batch=batches.to(loop.batch, device, precision.dtype))
    with _in(precision):
        cast.prepare(loop.cuts)
    for convention in chosen:
        with _in(precision):
            gradient = run_reference_loop(convention.reference_loop, cast)
        yield convention.name, as_float64(gradient)


@contextmanager
def _in(precision: Precision) -> Iterator[None]:
    set_tf32(precision.tf32)
    try:
        yield
    except RuntimeError as error:
        if "not implemented for" not in str(error):
            raise
        raise NotAvailable(str(error)) from error
    finally:
        set_tf32(False)


def sizes_of_difference(a: Tensor, b: Tensor, scale: float) -> Tensor:
    """`[2]` the norms `‖a − s·b‖` and `‖a‖`, still on their device."""
    return torch.stack([(a - scale * b).norm(), a.norm()])


def relative_distance(distance: float, size: float) -> float | None:
    """`‖a − s·b‖ / ‖a‖` of these two norms; None where `a` is zero."""
    return distance / size if size > 0 else None


def as_float64(tensor: Tensor) -> Tensor:
    """In float64; a device that has none (mps) hands its numbers to the processor."""
    return (tensor.cpu() if tensor.device.type == "mps" else tensor).to(torch.float64)
