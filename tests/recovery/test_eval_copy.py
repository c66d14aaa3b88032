"""A copy in eval mode is a model of its own, whatever was put on the first one."""

from __future__ import annotations

import functools

import torch
from torch import nn

from suite.recovery import recover
from suite.recovery.eval_copy import in_eval_mode
from tests.recovery.steps import losses, mean, setting


def patched(module: nn.Module) -> None:
    """As Accelerate's `prepare` does it: a function in the place of the bound method that it calls."""
    inner, calls = module.forward, []

    @functools.wraps(inner)
    def forward(*args, scale=1.0):
        calls.append(forward)
        return scale * inner(*args)

    module.forward = forward


def test_a_forward_that_was_patched_before_is_copied_with_its_module() -> None:
    given = setting()
    patched(given.model)
    patched(given.model[0])
    evaluated = in_eval_mode(given.model)
    with torch.no_grad():
        given.model[2].bias.add_(1)
    assert torch.allclose(evaluated(given.batch[0]) + 1, given.model(given.batch[0]))
    again = in_eval_mode(evaluated)
    with torch.no_grad():
        evaluated[2].bias.add_(1)
    assert torch.allclose(again(given.batch[0]) + 1, evaluated(given.batch[0]))


def test_a_model_with_a_patched_forward_is_recovered() -> None:
    given = setting()
    patched(given.model)
    found = recover(mean, given.model, given.batch, losses)
    assert (found.convention.name, found.scale) == ("mean", 1.0)


def test_a_copy_in_eval_mode_has_no_dropout_in_recurrent_layers() -> None:
    model = nn.LSTM(2, 3, num_layers=2, dropout=0.5)
    evaluated = in_eval_mode(model)
    assert (evaluated.dropout, evaluated.training, model.dropout) == (0.0, True, 0.5)
    x = torch.randn(4, 5, 2)
    assert torch.equal(evaluated(x)[0], evaluated(x)[0])
