"""Autograd, asked in one way."""

from __future__ import annotations

import torch

from suite.loops.autograd import grad


def test_a_parameter_that_the_loss_ignores_has_zeros_that_need_no_gradient() -> None:
    used, ignored = torch.ones(2, requires_grad=True), torch.ones(3, requires_grad=True)
    found = grad((3 * used).sum(), [used, ignored])
    assert [part.tolist() for part in found] == [[3.0, 3.0], [0.0, 0.0, 0.0]]
    assert not any(part.requires_grad for part in found)
