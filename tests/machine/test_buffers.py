"""Memory that is used again once the tensors on it are let go."""

import gc

import pytest
import torch

from suite.machine import buffers, memory

LARGE = buffers.REUSED_FROM


@pytest.fixture(autouse=True)
def nothing_is_kept(monkeypatch):
    monkeypatch.setattr(buffers, "_kept", [])


def empty(count, dtype=torch.float32):
    return buffers.empty(torch.empty(0, dtype=dtype), count)


def test_memory_is_used_again_once_its_tensor_is_let_go() -> None:
    tensor = empty(LARGE)
    place = tensor.data_ptr()
    assert buffers.kept() == 0
    del tensor
    assert buffers.kept() == 4 * LARGE
    assert empty(LARGE, torch.int32).data_ptr() == place


def test_memory_is_not_used_again_while_a_view_is_on_it() -> None:
    tensor = empty(LARGE)
    tensor.fill_(3.0)
    part = tensor.view(-1, 2)[10:, 1].detach()
    del tensor
    gc.collect()
    assert buffers.kept() == 0
    other = empty(LARGE)
    other.zero_()
    assert bool((part == 3.0).all())


def test_tensors_that_live_together_share_no_memory() -> None:
    one, other = empty(LARGE), empty(LARGE)
    one.fill_(1.0)
    other.fill_(2.0)
    assert bool((one == 1.0).all())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.complex64, torch.bool])
def test_any_dtype_has_its_numbers(dtype) -> None:
    tensor = buffers.empty(torch.empty(0, dtype=dtype), 3, LARGE)
    assert (tensor.dtype, tuple(tensor.shape)) == (dtype, (3, LARGE))
    tensor.fill_(1)
    assert int((tensor == 1).sum()) == 3 * LARGE


def test_small_tensors_are_torchs_own() -> None:
    tensor = empty(10)
    del tensor
    assert buffers.kept() == 0


def test_memory_is_given_back_where_it_does_not_fit() -> None:
    small = empty(LARGE)
    del small
    large = empty(8 * LARGE)
    assert buffers.kept() == 0
    del large
    assert empty(LARGE).untyped_storage().nbytes() == 4 * LARGE
    assert buffers.kept() < 32 * LARGE


def test_no_more_is_kept_than_allowed(monkeypatch) -> None:
    monkeypatch.setattr(buffers, "MOST_KEPT", 6 * LARGE)
    tensors = [empty(LARGE) for _ in range(3)]
    tensors.clear()
    assert buffers.kept() == 4 * LARGE
    buffers.release()
    assert buffers.kept() == 0


def test_what_is_kept_counts_as_free(monkeypatch) -> None:
    monkeypatch.setattr(memory, "_of_the_machine", lambda: 100)
    monkeypatch.setattr(memory, "_of_the_group", lambda: 1000)
    tensor = empty(LARGE)
    assert memory.free_bytes(torch.device("cpu")) == 100
    del tensor
    assert memory.free_bytes(torch.device("cpu")) == 100 + 4 * LARGE


@pytest.mark.parametrize("make", [
    lambda: torch.randn(5, 7).T,
    lambda: torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
    lambda: torch.randn(3, 4, dtype=torch.complex64).conj(),
    lambda: torch.randn(3, 4).to_sparse(),
    lambda: torch.nn.Parameter(torch.randn(1 << 19)),
])  # fmt: skip
def test_a_duplicate_has_the_numbers_and_neither_the_memory_nor_the_history(make) -> None:
    tensor = make()
    found = buffers.duplicated(tensor)
    assert torch.equal(found.to_dense(), tensor.detach().to_dense())
    assert not found.requires_grad
    if tensor.layout is torch.strided:
        assert found.data_ptr() != tensor.data_ptr()
