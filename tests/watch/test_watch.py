"""The audit in place of loops as people write them."""

from __future__ import annotations

import copy
import random
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import optimizer as optimizers

import suite
from suite.errors import UsageError
from suite.watch import AuditWarning, UnexpectedUpdateError
from tests.watch.runs import Language, Pairs, accumulate, batches, losses, network, sentences


def test_a_plain_loop_is_audited_update_for_update_and_the_short_window_is_told() -> None:
    model = network()
    with suite.watch(model, losses) as audit:
        accumulate(
            model, audit.see(batches(3, 2, 2, 1, 2, 3, 2)), torch.optim.SGD(model.parameters(), lr=0.1), 3
        )
    assert [update.number for update in audit.updates] == [0, 1, 2]
    assert [str(update.formula) for update in audit.updates] == ["1/(K·n_k)", "1/(K·n_k)", "1/(W·n_k)"]
    np.testing.assert_allclose(audit.updates[0].weights, [1 / 9] * 3 + [1 / 6] * 4)
    np.testing.assert_allclose(audit.updates[2].weights, [1 / 6] * 2)
    assert "Update 2, 1 of 3 micro-batches" in str(audit)
    assert "divided by the full K = 3" in str(audit)
    assert len(audit.frame) == 7 + 6 + 2
    assert not audit.failures


def test_targets_that_reach_the_model_need_no_loader() -> None:
    model = Pairs(network())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with suite.watch(model, suite.losses.classification, expect="mean") as audit:
        for x, y in batches(5, 4):
            model(x, labels=y)["loss"].backward()
            optimizer.step()
            optimizer.zero_grad()
    audit.assert_convention("mean")
    assert len(audit.updates) == 2


def test_clipping_does_not_hide_the_constant_that_was_there_before_it() -> None:
    model = network()
    twice = lambda scores, y: F.cross_entropy(scores, y) / 4  # noqa: E731  K = 2, divided twice
    with suite.watch(model, losses) as audit:
        accumulate(
            model,
            audit.see(batches(3, 2)),
            torch.optim.SGD(model.parameters(), lr=0.1),
            2,
            loss=twice,
            clip=0.01,
        )
    (update,) = audit.updates
    assert update.norm == pytest.approx(0.01, rel=1e-3)
    assert update.beneath.fault.name == "fault:divided-twice"
    np.testing.assert_allclose(update.weights, update.factor * np.array([1 / 12] * 3 + [1 / 8] * 2))
    assert "then clipped by norm to 0.01" in str(audit)


def test_tokens_padding_and_ignored_targets_are_units() -> None:
    torch.manual_seed(0)
    model = Language().double()
    with suite.watch(model, suite.losses.causal_lm) as audit:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for batch in sentences((7, 3), (4, 5)):
            (model(**batch)["loss"] / 2).backward()
        optimizer.step()
    (update,) = audit.updates
    assert "mean-of-microbatch-means" in update.names
    valid = update.units.elements == 1
    np.testing.assert_allclose(update.weights[valid], [1 / 16] * 8 + [1 / 14] * 7)
    assert set(update.silent) == set(np.flatnonzero(~valid))


def test_the_first_other_update_ends_the_loop_or_warns() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def loop(audit: Any) -> None:
        accumulate(model, audit.see(batches(3, 2, 2)), optimizer, 2)

    with (
        pytest.raises(
            UnexpectedUpdateError, match="update 1, 1 of 2 micro-batches: 'mean-of-microbatch-means'"
        ),
        suite.watch(model, losses, expect="mean-of-microbatch-means") as audit,
    ):
        loop(audit)
    assert len(audit.updates) == 2
    optimizer.zero_grad()
    with (
        pytest.warns(AuditWarning, match="was expected"),
        suite.watch(model, losses, expect="mean-of-microbatch-means", warn=True) as audit,
    ):
        loop(audit)
    with pytest.raises(AssertionError, match="update 1"):
        audit.assert_convention("mean-of-microbatch-means")


def states(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[Any]:
    """Every bit that a training leaves."""
    tensors = [
        *model.parameters(),
        *model.buffers(),
        *(p.grad for p in model.parameters() if p.grad is not None),
    ]
    tensors += [
        v for state in optimizer.state.values() for v in state.values() if isinstance(v, torch.Tensor)
    ]
    modes = [module.training for module in model.modules()]
    drawn = [torch.rand(3), np.random.rand(3).tolist(), random.random()]  # noqa: NPY002, S311
    return [[t.detach().clone() for t in tensors], modes, drawn]


@pytest.mark.parametrize("every", [1, 2])
def test_a_training_ends_in_the_same_bits_with_and_without_watch(every) -> None:
    left = []
    for watched in (False, True):
        torch.manual_seed(3)
        random.seed(3)
        np.random.seed(3)  # noqa: NPY002
        model = network(nn.BatchNorm1d(12), nn.Dropout(0.3), dtype=torch.float32)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
        loader = batches(3, 2, 3, 2, 4, 2, dtype=torch.float32)
        if watched:
            with suite.watch(model, losses, every=every) as audit:
                accumulate(model, audit.see(loader), optimizer, 2, clip=0.5)
            assert len(audit.updates) == (3 if every == 1 else 2)
            assert not audit.failures
        else:
            accumulate(model, loader, optimizer, 2, clip=0.5)
        left.append(states(model, optimizer))
    torch.testing.assert_close(left[0], left[1], rtol=0, atol=0)


def test_dropout_and_batch_norm_are_read_as_they_were_in_the_run() -> None:
    model = network(nn.BatchNorm1d(12), nn.Dropout(0.5))
    with suite.watch(model, losses) as audit:
        accumulate(model, audit.see(batches(5, 4)), torch.optim.SGD(model.parameters(), lr=0.1), 2)
    (update,) = audit.updates
    assert update.linear
    assert "mean-of-microbatch-means" in update.names
    assert update.engine == "loop, in train mode"


def test_only_some_updates_are_looked_at() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with suite.watch(model, losses, every=3) as audit:
        for number, (x, y) in enumerate(audit.see(batches(2, 3, 4, 5, 2, 3, 2))):
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            optimizer.zero_grad()
            assert bool(model._forward_pre_hooks) == (number % 3 == 2)
    assert [update.number for update in audit.updates] == [0, 3, 6]
    assert [update.units.n for update in audit.updates] == [2, 5, 2]
    assert audit.seen == 7


def test_hooks_are_gone_after_and_the_model_can_be_copied_meanwhile() -> None:
    model = network()
    with suite.watch(model, losses) as audit:
        copied = copy.deepcopy(model)
        copied(torch.zeros(1, 6, dtype=torch.float64))
        torch.optim.SGD(copied.parameters(), lr=0.1).step()
        one_update(model, audit)
    assert len(audit.updates) == 1
    assert not model._forward_pre_hooks
    assert not optimizers._global_optimizer_pre_hooks
    assert not optimizers._global_optimizer_post_hooks


def one_update(model: nn.Module, audit: Any = None) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for x, y in audit.see(batches(4)) if audit is not None else batches(4):
        F.cross_entropy(model(x), y).backward()
        optimizer.step()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda m, b: losses(m, b).mean(), "losses\\(model, batch\\) gave \\[\\]"),
        (lambda m, b: losses(m, b).reshape(2, 2), "for a micro-batch of 4 samples"),
        (lambda m, b: losses(m, b[:1]), "the losses failed \\(runs.py:"),
        (lambda m, b: "much", "gave a str: a tensor is needed"),
        (lambda _, b: losses(network(seed=4), b), "has to use its argument, not a model from outside"),
    ],
)
def test_losses_that_do_not_fit_are_a_warning_and_a_failure_and_the_run_goes_on(wrong, says) -> None:
    model = network()
    with pytest.warns(AuditWarning, match=says), suite.watch(model, wrong) as audit:
        one_update(model, audit)
    assert model[0].weight.grad is not None
    assert len(audit.failures) == 1
    assert "Not audited: update 0" in str(audit)


def without_gradients(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    with torch.no_grad():
        model(torch.zeros(1, 6, dtype=torch.float64))
    optimizer.step()


def test_a_model_that_is_never_called_or_without_gradients_only_is_told() -> None:
    model, other = network(), network(seed=1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.warns(AuditWarning, match="was not called"), suite.watch(model, losses) as audit:
        optimizer.step()
    assert len(audit.failures) == 1
    with pytest.warns(AuditWarning, match="under no_grad only"), suite.watch(model, losses):
        without_gradients(model, optimizer)
    with pytest.warns(AuditWarning, match="made a step"), suite.watch(other, losses):
        one_update(model)


def test_a_watch_that_was_not_entered_says_so() -> None:
    model = network()
    audit = suite.watch(model, losses)
    one_update(model, audit)
    assert str(audit) == "Nothing was watched: put the training inside `with gradsuite.watch(…) as audit:`."


def test_two_watches_of_one_model_are_refused_and_of_two_models_are_not() -> None:
    model, other = network(), network(seed=1)
    with suite.watch(model, losses) as first:
        with pytest.raises(UsageError, match="watched already"), suite.watch(model, losses):
            pass
        with suite.watch(other, losses) as second:
            one_update(model, first)
            one_update(other, second)
    assert len(first.updates) == len(second.updates) == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"model": 3}, "the model is a int"),
        ({"losses": "ce"}, "losses is a str"),
        ({"losses": torch.nn.CrossEntropyLoss(reduction="none")}, "losses is a CrossEntropyLoss"),
        ({"losses": None}, "say where to save="),
        ({"every": 0}, "every is 0"),
        ({"context": 0}, "context is 0"),
        ({"window": True}, "window is True"),
        ({"max_norm": -1}, "max_norm is -1"),
        ({"expect": "meen"}, "did you mean 'mean'"),
    ],
)
def test_wrong_arguments_are_one_line(arguments, says) -> None:
    given = {"model": network(), "losses": losses} | arguments
    with pytest.raises(UsageError, match=says):
        suite.watch(given.pop("model"), given.pop("losses"), **given)


def test_batches_that_tell_less_are_no_change() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with suite.watch(model, losses) as audit:
        # 2 + 2 and 1 + 1 are plain means too.
        accumulate(model, audit.see(batches(3, 2, 2, 2, 1, 1, 4, 3)), optimizer, 2)
    assert "Updates 0 – 3 (4 audited): the weights are those of mean-of-microbatch-means." in str(audit)
    assert "a change" not in str(audit)


def test_one_rank_is_no_multiple_of_two() -> None:
    model = network()
    with pytest.raises(UsageError, match="1 ranks are no multiple"), suite.watch(model, losses, context=2):
        pass
    with suite.watch(model, losses) as audit:  # the refused one left nothing behind
        one_update(model, audit)


def epochs(model: nn.Module, audit: Any) -> None:
    """Each ends in a short window; the third is nothing else, so that two short ones follow each other."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for sizes in ((3, 2, 4, 1, 2), (3, 2, 4, 1, 2), (2,)):
        accumulate(model, audit.see(batches(*sizes)), optimizer, 2)
        audit.epoch_ended()


def test_the_last_window_of_each_epoch_is_told_and_warned_of_once_a_run_of_them() -> None:
    model = network()
    with (
        pytest.warns(AuditWarning, match="was expected") as warned,
        suite.watch(model, losses, expect="mean-of-microbatch-means", warn=True) as audit,
    ):
        epochs(model, audit)
    text = str(audit)
    last = "the last window of the epoch, 1 of 2 micro-batches"
    assert (
        f"Update 2, {last}: the weights are those of partial-window-over-full-k (divided by the full" in text
    )
    assert "Updates 3 – 4 (2 audited): the weights are those of mean-of-microbatch-means, a change." in text
    assert [str(one.message)[:8] for one in warned] == ["update 2", "update 5"]
