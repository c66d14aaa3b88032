"""What torch lets CUDA do otherwise than asked: TF32, sums in half precision, fused attention, cuBLAS."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from suite.errors import UsageError

if TYPE_CHECKING:
    import torch
    from numpy.typing import ArrayLike

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
FIXED = (":4096:8", ":16:8")
ATTENTION_KERNELS = ("flash", "mem_efficient", "math", "cudnn")
"""The implementations of fused attention, all of which torch may choose from by default."""


def fix_workspace() -> None:
    """Let cuBLAS be deterministic; of use before the first product on a device starts it."""
    os.environ.setdefault(WORKSPACE, FIXED[0])


@cache
def require_workspace(device: torch.device) -> None:  # uncovered: needs a CUDA device
    """Make sure that products on a CUDA device are deterministic, while torch insists on that.

    Raises:
        UsageError: This torch looks at `WORKSPACE` (2.6 to 2.9 do), and CUDA was started without it.
    """
    import torch

    number = torch.ones(1, 1, device=device)
    try:
        number @ number
    except RuntimeError as error:
        if WORKSPACE not in str(error):
            raise
        raise UsageError(
            f"CUDA was started without {WORKSPACE}={FIXED[0]}, so that torch {torch.__version__} computes no "
            "deterministic products: set it in the environment before Python starts, or allow others "
            "(--no-deterministic, deterministic=False)"
        ) from None


def sent(values: ArrayLike | torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Numbers of the host on the device of `like`, in its dtype; the host does not wait for CUDA.

    What comes from memory that is not pinned is read before the call returns, so that the host may
    overwrite it then.
    """
    import torch

    return torch.as_tensor(values).to(like.device, like.dtype, non_blocking=like.is_cuda)


def set_tf32(allowed: bool) -> None:  # noqa: FBT001  a switch
    """Let float32 products on CUDA use TF32, or not."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def has_tf32(device: torch.device) -> bool:
    """Whether the device has TF32: CUDA from compute capability 8.0 on."""
    import torch

    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


def reduced_sums() -> tuple[bool, bool]:
    """Whether products of float16 and of bfloat16 numbers may be summed in less than float32."""
    import torch

    products: Any = torch.backends.cuda.matmul
    return (
        bool(products.allow_fp16_reduced_precision_reduction),
        bool(products.allow_bf16_reduced_precision_reduction),
    )


def set_reduced_sums(allowed: tuple[bool, bool]) -> None:
    """Let products of float16 and of bfloat16 numbers be summed in less than float32, or not."""
    import torch

    if reduced_sums() != tuple(allowed):  # torch knows of more than this, which stays where nothing changes
        products: Any = torch.backends.cuda.matmul
        products.allow_fp16_reduced_precision_reduction = allowed[0]
        products.allow_bf16_reduced_precision_reduction = allowed[1]


def attention() -> tuple[str, ...]:
    """The implementations of fused attention that torch may choose from."""
    import torch

    return tuple(name for name in ATTENTION_KERNELS if getattr(torch.backends.cuda, f"{name}_sdp_enabled")())


def set_attention(names: tuple[str, ...]) -> None:
    """Let torch choose from these only."""
    import torch

    for name in ATTENTION_KERNELS:
        getattr(torch.backends.cuda, f"enable_{name}_sdp")(name in names)


@contextmanager
def plain_attention() -> Iterator[None]:
    """Attention from plain products: `torch.func.vmap` runs fused ones one sample after the other."""
    before = attention()
    set_attention(("math",))
    try:
        yield
    finally:
        set_attention(before)


def devices_of(module: torch.nn.Module) -> list[torch.device]:
    """The CUDA devices that a model's parameters and buffers are on, each once."""
    found = (t.device for t in (*module.parameters(), *module.buffers()) if t.is_cuda)
    return sorted(set(found), key=lambda device: device.index or 0)
