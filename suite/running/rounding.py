"""What rounding does: reference loops run in the floating-point formats that people train in."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
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
    for convention in chosen:
        set_tf32(precision.tf32)
        try:
            gradient = run_reference_loop(convention.reference_loop, cast)
        except RuntimeError as error:
            if "not implemented for" not in str(error):
                raise
            raise NotAvailable(str(error)) from error
        finally:
            set_tf32(False)
        yield convention.name, _float64(gradient)


def sizes_of_difference(a: Tensor, b: Tensor, scale: float) -> Tensor:
    """`[2]` the norms `‖a − s·b‖` and `‖a‖`, still on their device."""
    return torch.stack([(a - scale * b).norm(), a.norm()])


def relative_distances(sizes: Sequence[Tensor]) -> list[float | None]:
    """`‖a − s·b‖ / ‖a‖` of each pair of sizes, fetched from the device at once; None where `a` is zero."""
    fetched = torch.stack(list(sizes)).tolist() if sizes else []
    return [distance / size if size > 0 else None for distance, size in fetched]


def _float64(gradient: Tensor) -> Tensor:
    # mps has no float64.
    return (gradient.cpu() if gradient.device.type == "mps" else gradient).to(torch.float64)
