"""Layers are seen where they are called, and do nothing where they are switched off."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.functional import dropout as by_its_own_name
from torch.utils.checkpoint import checkpoint

from suite.recovery.switches import switched, switches

X = torch.arange(1.0, 25.0).reshape(4, 6)
DROPPING = {
    "a layer": nn.Dropout(0.5),
    "channels": nn.Sequential(nn.Unflatten(1, (3, 2)), nn.Dropout1d(0.5)),
    "alpha": nn.AlphaDropout(0.5),
    "a name of its own": lambda x: by_its_own_name(x, 0.5),
    "attention by name": lambda x: F.scaled_dot_product_attention(*[x[None]] * 3, dropout_p=0.5),
    "attention by place": lambda x: F.scaled_dot_product_attention(*[x[None]] * 3, None, 0.5),
    "attention layer": lambda x: ATTENTION(*[x[None]] * 3)[0],
    "recurrent": lambda x: LSTM(x[None])[0],
    "packed": lambda x: GRU(nn.utils.rnn.pack_padded_sequence(x[None], [4], batch_first=True))[0].data,
}
torch.manual_seed(0)
ATTENTION = nn.MultiheadAttention(6, 2, dropout=0.5)
LSTM, GRU = (kind(6, 5, num_layers=2, dropout=0.5, batch_first=True) for kind in (nn.LSTM, nn.GRU))


@pytest.mark.parametrize("call", DROPPING.values(), ids=DROPPING)
def test_dropout_is_seen_and_switched_off_whoever_calls_it(call) -> None:
    with switched() as seen:
        assert not torch.equal(call(X), call(X))
    assert seen.names == {"dropout"}
    with switched(["dropout"]):
        assert torch.equal(call(X), call(X))


@pytest.mark.parametrize(
    "call",
    [
        nn.Dropout(0.5).eval(),
        nn.Dropout(0.0),
        nn.BatchNorm1d(6).eval(),
        nn.LayerNorm(6),
        nn.LSTM(6, 5, 2, dropout=0.5).eval(),
    ],
    ids=["eval", "p = 0", "BatchNorm in eval mode", "LayerNorm", "LSTM in eval mode"],
)
def test_what_does_nothing_is_not_seen(call) -> None:
    with switched() as seen:
        call(X)
    assert seen.names == set()


def test_batchnorm_is_seen_in_train_mode_only_where_it_has_something_else_to_normalise_by() -> None:
    layer, without = nn.BatchNorm1d(6), nn.BatchNorm1d(6, track_running_stats=False)
    with switched() as seen:
        layer(X)
    assert seen.names == {"BatchNorm in train mode"}
    with switched(switches.names) as seen:
        assert torch.equal(layer(X), layer.eval()(X))
    assert seen.names == {"BatchNorm in train mode"}
    with switched() as seen:
        without(X)
    assert seen.names == set()


@pytest.mark.parametrize("reentrant", [True, False])
def test_what_a_backward_pass_computes_once_more_is_switched_too(reentrant) -> None:
    layer = nn.Dropout(0.5)
    x = X.clone().requires_grad_()
    with switched(["dropout"]):
        checkpoint(layer, x, use_reentrant=reentrant, preserve_rng_state=False).sum().backward()
    assert torch.equal(x.grad, torch.ones_like(x))


def test_torch_is_as_before_afterwards_even_after_a_failure() -> None:
    before = dict(vars(F))
    with pytest.raises(RuntimeError, match="half way"), switched(["dropout"]):
        raise RuntimeError("half way")
    assert dict(vars(F)) == before
