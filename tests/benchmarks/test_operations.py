"""Counts of operations are those of the products, counts of bytes those of the tensors."""

from __future__ import annotations

import torch

from tests.benchmarks.operations import counted, moved


def test_products_in_place_are_counted_as_others_are() -> None:
    a, b, total = torch.randn(3, 4), torch.randn(4, 5), torch.zeros(3, 5)
    assert counted(lambda: a @ b) == 2 * 3 * 4 * 5
    assert counted(lambda: total.addmm_(a, b)) == 2 * 3 * 4 * 5
    assert counted(lambda: torch.mm(a, b, out=total)) == 2 * 3 * 4 * 5


def test_a_pass_of_a_linear_layer_has_four_operations_a_sample_and_weight() -> None:
    layer, x = torch.nn.Linear(4, 5, bias=False), torch.randn(7, 4)
    assert counted(lambda: layer(x).sum().backward()) == 2 * 7 * 20 * 2  # its input takes no gradient


def test_bytes_are_those_that_operations_read_and_write() -> None:
    a, b, total = torch.randn(3, 4), torch.randn(4, 5), torch.zeros(3, 5)
    assert moved(lambda: a @ b) == 4 * (12 + 20 + 15)
    assert moved(lambda: torch.mm(a, b, out=total)) == 4 * (12 + 20 + 15)
    assert moved(lambda: total.addmm_(a, b)) == 4 * (12 + 20 + 15)
    assert moved(lambda: (a.T, a.view(-1), torch.empty(5), a.detach())) == 0
