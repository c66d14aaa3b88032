"""The pretend device raises where CUDA does, and counts what would cost."""

from __future__ import annotations

import copy
import subprocess
import sys
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.pretend_cuda.conftest import counted

pytestmark = pytest.mark.gpu


def test_numbers_are_those_of_the_processor() -> None:
    torch.manual_seed(0)
    model, x = (
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(8, 3)),
        torch.randn(5, 1, 4, 4),
    )
    there = copy.deepcopy(model).cuda()
    with torch.backends.cudnn.flags(allow_tf32=False):
        there(x.cuda()).square().sum().backward()
    model(x).square().sum().backward()
    for a, b in zip(model.parameters(), there.parameters(), strict=True):
        assert b.grad is not None
        assert b.grad.device == torch.device("cuda:0")
        assert torch.equal(a.grad, b.grad.cpu())


@pytest.mark.parametrize(
    "mistake",
    [
        lambda x: x + torch.ones(3),
        lambda x: x.cuda(1) + x,
        lambda x: x.numpy(),
        lambda x: torch.rand(3, device="cuda", generator=torch.Generator()),
        lambda x: F.linear(x, torch.ones(3, 3)),
        lambda x: torch.zeros(3, device="cuda:7"),
    ],
)
def test_what_cuda_refuses_is_refused(mistake) -> None:
    with pytest.raises((RuntimeError, TypeError, ValueError)):
        mistake(torch.ones(3, device="cuda"))


def test_what_has_no_deterministic_kernel_is_refused_then_alone() -> None:
    x = torch.ones(2, 1, 4, 4, device="cuda", requires_grad=True)
    F.adaptive_avg_pool2d(x, 2).sum().backward()
    torch.use_deterministic_algorithms(True)
    try:
        with pytest.raises(RuntimeError, match="does not have a deterministic implementation"):
            F.adaptive_avg_pool2d(x, 2).sum().backward()
    finally:
        torch.use_deterministic_algorithms(False)


def test_random_numbers_are_of_each_device() -> None:
    torch.manual_seed(3)
    drawn = [torch.rand(4, device=name).cpu() for name in ("cpu", "cuda:0", "cuda:1")]
    assert not torch.equal(drawn[0], drawn[1])
    before = torch.cuda.get_rng_state(1)
    again = torch.rand(4, device="cuda:1")
    torch.cuda.set_rng_state(before, 1)
    assert torch.equal(torch.rand(4, device="cuda:1"), again)


def test_tf32_rounds_products_where_it_is_on() -> None:
    a = torch.full((1, 1), 1 + 2.0**-12, device="cuda")
    one = torch.ones(1, 1, device="cuda")
    assert float(a @ one) == 1 + 2.0**-12
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        assert float(a @ one) == 1.0
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False


def test_memory_is_counted_on_its_device() -> None:
    before = [torch.cuda.memory_allocated(k) for k in (0, 1)]
    x = torch.zeros(1000, device="cuda:1")
    assert [torch.cuda.memory_allocated(k) - b for k, b in zip((0, 1), before, strict=True)] == [0, 4096]
    del x
    assert torch.cuda.memory_allocated(1) == before[1]


def test_waits_are_counted_by_kind(device: ModuleType) -> None:
    x = torch.arange(4.0, device="cuda")
    with counted(device) as waits:
        y = x * 2 + 1  # none
        y.sum().item()
        y.cpu()
        y.nonzero()
        torch.ones(3).to("cuda", non_blocking=True)  # none
        torch.ones(3).to("cuda")
    assert waits.kinds == {"number": 1, "copy to the host": 1, "shape": 1, "copy from the host": 1}
    with counted(device) as waits:
        x[torch.tensor([0])]
    assert waits.kinds.total() >= 1


BROKEN = """
import torch
try:
    torch.ones(3, device="cuda").gather(0, torch.tensor([7], device="cuda"))
except RuntimeError as error:
    assert "device-side assert" in str(error)
try:
    torch.cuda.synchronize()
except RuntimeError as error:
    print(str(error).splitlines()[0])
"""


def test_an_index_out_of_range_breaks_the_device_for_its_process() -> None:
    done = subprocess.run([sys.executable, "-c", BROKEN], capture_output=True, text=True, check=True)
    assert done.stdout == "CUDA error: device-side assert triggered\n"
