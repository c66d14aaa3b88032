"""Every engine against autograd, and the refusal of those that are wrong."""

from __future__ import annotations

import copy
import logging
import weakref
from importlib import import_module, metadata
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import suite
from cases import models
from suite.engines import engines
from suite.engines.check import check_gradients
from suite.engines.engine import Refused
from suite.engines.per_sample_gradients import per_sample_gradients
from suite.engines.unit_gradients import Materialised
from suite.errors import CaseError, UsageError
from suite.machine import cuda


def cross_entropy(model, batch):
    x, y = batch
    return F.cross_entropy(model(x), y, reduction="none")


def two_terms(model, batch):
    x, y = batch
    out = model(x)
    return torch.stack([out.square().sum(1), F.cross_entropy(out, y, reduction="none")], dim=1)


def by_definition(model, batch, losses) -> torch.Tensor:
    """`[units, params]` one backward pass a unit, written without any engine."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    rows = []
    for loss in losses(model, batch).flatten():
        grads = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        rows.append(torch.cat([
            (torch.zeros_like(p) if g is None else g).flatten()
            for p, g in zip(parameters, grads, strict=True)
        ]))  # fmt: skip
    return torch.stack(rows)


class Frozen(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 5), nn.Linear(5, 3)
        self.first.weight.requires_grad_(False)
        self.unused = nn.Linear(2, 2)

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))


class Tied(nn.Module):
    """The embedding's weight is used again outside its module: Opacus 1.6 misses that use."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 4)

    def forward(self, tokens):
        return F.linear(self.embedding(tokens).mean(1), self.embedding.weight)


VECTORS = (torch.randn(5, 6, dtype=torch.float64), torch.tensor([0, 2, 1, 1, 0]))
PICTURES = (torch.randn(5, 1, 8, 8, dtype=torch.float64), torch.tensor([0, 2, 1, 1, 0]))
TOKENS = (torch.randint(0, 7, (5, 3)), torch.tensor([0, 2, 1, 1, 0]))


@pytest.mark.parametrize("name", engines.names)
@pytest.mark.parametrize(
    ("make", "batch", "losses"),
    [
        (lambda: models.mlp(6, 5, 3), VECTORS, cross_entropy),
        (lambda: models.mlp(6, 5, 3), VECTORS, two_terms),
        (Frozen, VECTORS, cross_entropy),
        (lambda: models.convolutional(3), PICTURES, cross_entropy),
    ],
    ids=["mlp", "mlp, two terms", "frozen and unused", "convolution"],
)
def test_engines_give_the_gradient_of_each_unit(name, make, batch, losses) -> None:
    model = make().double()
    found = suite.per_sample_gradients(model, batch, losses, engine=name)
    assert (found.engine, dict(found.refused)) == (name, {})
    torch.testing.assert_close(found.matrix, by_definition(model, batch, losses), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("make", "batch", "parameter"),
    [
        (lambda: models.channels_last(3), PICTURES, "model.0.weight"),
        (Tied, TOKENS, "embedding.weight"),
        (lambda: nn.Sequential(nn.Embedding(7, 4, padding_idx=0), nn.Flatten(), nn.Linear(12, 3)),
         (torch.tensor([[0, 1, 2]] * 5), TOKENS[1]), "0.weight"),
        (lambda: nn.Sequential(nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular"), nn.Flatten(),
                               nn.Linear(128, 3)), PICTURES, "0.weight"),
    ],
    ids=["channels last", "tied weights", "padding_idx", "circular padding"],
)  # fmt: skip
def test_opacus_is_refused_where_it_is_silently_wrong(make, batch, parameter) -> None:
    model = make().double()
    found = suite.per_sample_gradients(model, batch, cross_entropy, engine="opacus")
    assert found.engine != "opacus"
    reason = found.refused["opacus"]
    # Opacus before 1.6 raises where an embedding is float64.
    old = "scatter" in reason and metadata.version("opacus") < "1.6"
    assert old or f"is wrong for {parameter}: relative error" in reason
    torch.testing.assert_close(
        found.matrix, by_definition(model, batch, cross_entropy), rtol=1e-12, atol=1e-12
    )


def test_an_engine_that_raises_is_refused_with_what_it_said() -> None:
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(inplace=True), nn.Linear(5, 3)).double()
    found = suite.per_sample_gradients(model, VECTORS, cross_entropy, engine="opacus")
    assert found.engine == "streaming"
    assert found.refused["opacus"].startswith("raised RuntimeError")


def test_losses_that_couple_samples_are_left_to_the_loop() -> None:
    model = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)).double()
    found = suite.per_sample_gradients(model, VECTORS, cross_entropy)
    assert found.engine == "loop"
    torch.testing.assert_close(found.matrix, by_definition(model, VECTORS, cross_entropy))


def test_engines_that_agree_in_the_sum_only_are_refused() -> None:
    def coupled(model, batch):
        losses = cross_entropy(model, batch)
        return losses.flip(0) if len(losses) > 1 else losses  # each sample answers for another

    model = models.mlp(6, 5, 3).double()
    found = suite.per_sample_gradients(model, VECTORS, coupled, engine="torch-func")
    assert found.engine == "loop"
    assert "in unit" in found.refused["torch-func"]


def test_stacked_copies_are_units_of_their_own() -> None:
    x, y = VECTORS
    copies = torch.stack([x, x.flip(1)], dim=1)

    def losses(model, batch):
        x, y = batch
        return F.cross_entropy(model(x.flatten(0, 1)), y.repeat_interleave(2), reduction="none").unflatten(
            0, (-1, 2)
        )

    model = models.mlp(6, 5, 3).double()
    found = suite.per_sample_gradients(model, (copies, y), losses, engine="opacus")
    assert (found.engine, found.shape[0]) == ("opacus", 10)
    torch.testing.assert_close(found.matrix, by_definition(model, (copies, y), losses))


def test_the_regulariser_is_the_last_unit() -> None:
    model = models.mlp(6, 5, 3).double()
    found = suite.per_sample_gradients(
        model, VECTORS, cross_entropy, regulariser=lambda m: sum(p.square().sum() for p in m.parameters()) / 2
    )
    theta = torch.cat([p.detach().flatten() for p in model.parameters()])
    torch.testing.assert_close(found.matrix[-1], theta)


def test_the_two_verbs_agree_with_the_matrix() -> None:
    found = suite.per_sample_gradients(models.mlp(6, 5, 3).double(), VECTORS, cross_entropy)
    g = found.matrix
    torch.testing.assert_close(torch.from_numpy(found.gram()), g @ g.T)
    torch.testing.assert_close(found.reduce([1, 0, 2, 0, 0])[0], g[0] + 2 * g[2])


@pytest.mark.parametrize("name", engines.names)
def test_nothing_is_left_behind(name) -> None:
    model = nn.Sequential(nn.Linear(6, 5), nn.Dropout(0.5), nn.Linear(5, 3)).double().eval()
    model(VECTORS[0]).sum().backward()
    before = copy.deepcopy(model.state_dict())
    grads = [p.grad.clone() for p in model.parameters()]
    state, handlers = torch.get_rng_state(), list(logging.getLogger().handlers)
    suite.per_sample_gradients(model, VECTORS, cross_entropy, engine=name)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), grads, strict=True))
    assert not any(hasattr(p, "grad_sample") for p in model.parameters())
    assert not any(m._forward_hooks or m._backward_hooks for m in model.modules())
    assert torch.equal(torch.get_rng_state(), state)
    assert logging.getLogger().handlers == handlers


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        (lambda m, b: cross_entropy(m, b).mean(), "it must be unreduced"),
        (lambda m, b: m(b[0]).flatten(), r"gave \[15\]; for 5 samples"),
        (lambda m, b: [1.0], "gave list"),
    ],
)
def test_losses_that_are_not_unreduced_are_bad_input(losses, said) -> None:
    with pytest.raises(UsageError, match=said):
        suite.per_sample_gradients(models.mlp(6, 5, 3).double(), VECTORS, losses)


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        (lambda m, b: cross_entropy(m, b) * float("nan"), "5 of the 5 losses are nan or infinite"),
        (lambda m, b: b[0].sum(1), "depend on no parameter"),
        (lambda m, b: (m(b[0]).sum(1) * 0).sqrt(), "not finite"),
    ],
)
def test_losses_without_a_usable_gradient_fail_the_case(losses, said) -> None:
    with pytest.raises(CaseError, match=said):
        suite.per_sample_gradients(models.mlp(6, 5, 3).double(), VECTORS, losses)


def test_a_batch_without_samples_is_bad_input() -> None:
    with pytest.raises(UsageError, match="the batch has no sample"):
        suite.per_sample_gradients(models.mlp(6, 5, 3).double(), tuple(t[:0] for t in VECTORS), cross_entropy)


def test_an_error_of_the_losses_is_told_as_it_is() -> None:
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        suite.per_sample_gradients(models.mlp(7, 5, 3).double(), VECTORS, cross_entropy)


@pytest.mark.parametrize(
    "penalty", [lambda m: torch.tensor(torch.nan), lambda m: torch.ones(2), lambda m: 1.0]
)
def test_a_regulariser_that_is_no_number_fails_the_case(penalty) -> None:
    with pytest.raises(CaseError, match="the regulariser fails: it gives no finite scalar"):
        suite.per_sample_gradients(models.mlp(6, 5, 3).double(), VECTORS, cross_entropy, regulariser=penalty)


def test_losses_may_differentiate_by_torch_func_themselves() -> None:
    """As of a solution of `|∇u| = 1`, whose residual contains the gradient by the input."""

    def residual(model, batch):
        named = dict(model.named_parameters())

        def u(x):
            return torch.func.functional_call(model, named, (x[None],))[0].sum()

        return torch.func.vmap(torch.func.grad(u))(batch[0]).square().sum(1) - 1

    model = models.mlp(6, 5, 3).double()
    found = suite.per_sample_gradients(model, VECTORS, residual)
    torch.testing.assert_close(found.matrix, by_definition(model, VECTORS, residual))
    assert found.size.saved > 0


def test_a_model_without_trained_parameters_fails_the_case() -> None:
    with pytest.raises(CaseError, match="no parameter that requires a gradient"):
        suite.per_sample_gradients(nn.Identity(), VECTORS, lambda m, b: m(b[0]).sum(1))


def test_an_unknown_engine_is_answered_with_those_that_there_are() -> None:
    with pytest.raises(UsageError, match="no engine is named 'opcus': did you mean 'opacus'"):
        suite.per_sample_gradients(models.mlp(6, 5, 3), VECTORS, cross_entropy, engine="opcus")


class Borrowed(nn.Module):
    """Reads the weight of a layer that it does not call: the hooks of Opacus see nothing of it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x):
        return self.head(torch.tanh(F.linear(x, self.layer.weight)))


def test_opacus_is_refused_where_its_hooks_miss_a_parameter() -> None:
    found = suite.per_sample_gradients(Borrowed().double(), VECTORS, cross_entropy, engine="opacus")
    assert found.refused["opacus"] == "gave no per-sample gradient of layer.weight, which has a gradient"


def test_gradients_of_another_number_of_units_are_refused() -> None:
    model = models.mlp(6, 5, 3).double()
    fewer = (VECTORS[0][:4], VECTORS[1][:4])
    given = engines["loop"].compute(model, fewer, cross_entropy)
    with pytest.raises(Refused, match="gave 4 gradients where there are 5 units"):
        check_gradients(given, model, VECTORS, cross_entropy)


def test_the_former_name_of_per_sample_gradients_goes_on_working() -> None:
    assert suite.gradients is suite.per_sample_gradients


def doubled(block: torch.Tensor) -> torch.Tensor:
    return torch.cat([block[:2], 2 * block[2:3], block[3:]])


def exchanged(block: torch.Tensor) -> torch.Tensor:
    return block[[0, 2, 1, 3, 4]]


@pytest.mark.parametrize("wrong", [doubled, exchanged])
def test_one_wrong_unit_and_two_that_are_exchanged_are_refused(wrong) -> None:
    model = models.mlp(6, 5, 3).double()
    right = engines["loop"].compute(model, VECTORS, cross_entropy).blocks
    check_gradients(Materialised(right), model, VECTORS, cross_entropy)
    given = Materialised({name: wrong(block) for name, block in right.items()})
    with pytest.raises(Refused, match="is wrong for"):
        check_gradients(given, model, VECTORS, cross_entropy)


class Faint(nn.Module):
    """A parameter whose gradient is a hundred-thousandth of the others'."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.faint = models.mlp(6, 5, 3), nn.Parameter(torch.ones(3))

    def forward(self, x):
        return self.body(x) + 1e-5 * self.faint * x[:, :3]


def test_a_parameter_with_a_faint_gradient_is_checked_as_well() -> None:
    model = Faint().double()
    right = engines["loop"].compute(model, VECTORS, cross_entropy).blocks
    given = Materialised({n: 1.01 * b if n == "faint" else b for n, b in right.items()})
    with pytest.raises(Refused, match=r"is wrong for faint: relative error 0\.0099"):
        check_gradients(given, model, VECTORS, cross_entropy)


def test_attention_under_torch_func_is_of_plain_products() -> None:
    """A fused kernel has no batching rule for its backward pass: vmap runs it sample by sample, silently."""
    seen = []

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.project = nn.Linear(4, 12)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(cuda.attention())
            q, k, v = self.project(x).chunk(3, dim=-1)
            return F.scaled_dot_product_attention(q, k, v)

    def losses(model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
        return model(batch).square().sum((1, 2))

    before = cuda.attention()
    torch._C._functorch._set_vmap_fallback_enabled(False)  # such a loop is an error
    try:
        engines["torch-func"].compute(Attention(), torch.randn(3, 5, 4), losses)
    finally:
        torch._C._functorch._set_vmap_fallback_enabled(True)
    assert set(seen) == {("math",)}
    assert cuda.attention() == before


def test_an_engine_that_runs_out_of_memory_gives_it_back_before_the_next_begins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held: list[weakref.ref[torch.Tensor]] = []
    streaming = import_module("suite.engines.streaming")
    compute = streaming.compute

    def too_large(model: nn.Module, batch: torch.Tensor, unreduced: Any) -> None:
        taken = torch.zeros(1000)
        held.append(weakref.ref(taken))
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has 3 GiB free.")

    def after(*given: Any, **asked: Any) -> Any:
        assert held[0]() is None  # the frames of an exception that is kept would hold it
        return compute(*given, **asked)

    monkeypatch.setattr("suite.engines.opacus.compute", too_large)
    monkeypatch.setattr(streaming, "compute", after)
    model = nn.Linear(3, 2)
    found = per_sample_gradients(model, torch.randn(4, 3), lambda m, b: m(b).square().sum(1))
    assert found.engine == "streaming"
    assert found.refused["opacus"].startswith("raised OutOfMemoryError: CUDA out of memory.")


def test_only_a_model_that_is_in_one_place_is_computed_there() -> None:
    from suite.engines.per_sample_gradients import _only_device

    here, there = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2, device="meta")
    assert _only_device(here) == torch.device("cpu")
    assert _only_device(torch.nn.Sequential(here, there)) is None
