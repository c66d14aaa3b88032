"""What goes wrong, or seems to, where gradients are accumulated, zeroed, divided and clipped."""

from __future__ import annotations

import math

import pytest
import torch

import suite
from suite.watch import RunAudit
from tests.watch.others.kit import Loops, judge, mean, sgd
from tests.watch.runs import Pairs, batches, losses, network

LOOPS = Loops()


@LOOPS.add(
    "https://github.com/simchowitzlabpublic/nano-world-model/pull/22",
    "A mistake, in update 0: after micro-batch 0 (from 0) the accumulated gradient was multiplied by",
    "Weights: 0.0145738 for samples 0 – 2; 0.25 for samples 3 – 4.",
)
def clipped_before_the_backward_pass() -> RunAudit:
    """What is clipped in the training step is the gradient of the micro-batches before."""
    model = network()
    optimizer = sgd(model)
    with suite.watch(model, losses) as audit:
        for number, (x, y) in enumerate(audit.see(batches(3, 2, 4, 5)), 1):
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.05)
            (mean(model, x, y) / 2).backward()
            if number % 2 == 0:
                optimizer.step()
                optimizer.zero_grad()
    return audit


@LOOPS.add(
    "https://github.com/bytetriper/RAE/issues/67",
    "Update 0: the weights are 1/(n·3), 1/3 × mean.",
    "Before this update the gradient of 2 micro-batches was set to zero: no update used it.",
)
def zeroed_before_each_micro_batch() -> RunAudit:
    model = network()
    optimizer = sgd(model)
    with suite.watch(model, losses) as audit:
        for number, (x, y) in enumerate(audit.see(batches(3, 2, 4)), 1):
            optimizer.zero_grad()
            (mean(model, x, y) / 3).backward()
            if number == 3:
                optimizer.step()
    return audit


@LOOPS.add(
    "https://github.com/pytorch/torchtitan/pull/3575",
    "Before this update the gradient of 2 micro-batches was set to zero: no update used it.",
)
def zeroed_between_forward_and_backward() -> RunAudit:
    model = Pairs(network())
    optimizer = sgd(model)
    with suite.watch(model, suite.losses.classification) as audit:
        for number, (x, y) in enumerate(batches(3, 2, 4), 1):
            loss = model(x, labels=y)["loss"] / 3
            model.zero_grad(set_to_none=False)
            loss.backward()
            if number == 3:
                optimizer.step()
    return audit


@LOOPS.add(
    "https://github.com/abhishekkrthakur/tez/issues/38",
    "Updates 0 – 3 (4 audited): the weights are those of mean.",
    "−set to zero",
    "−mistake",
)
def zeroed_after_the_forward_pass_of_each_update() -> RunAudit:
    """It is asked whether this is wrong: it is not."""
    model = network()
    optimizer = sgd(model)
    with suite.watch(model, losses) as audit:
        for x, y in audit.see(batches(3, 2, 4, 5)):
            loss = mean(model, x, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return audit


@LOOPS.add(
    "https://github.com/ajbrock/BigGAN-PyTorch/issues/25",
    "Updates 1 – 2 (2 audited): the step is no weighting of them;",
    "A mistake, in update 1: the gradient was not zero before the first micro-batch (its norm was ",
    "as without zero_grad(). In what was added to it the weights are those of mean.",
)
def never_zeroed() -> RunAudit:
    model = network()
    optimizer = sgd(model)
    with suite.watch(model, losses) as audit:
        for x, y in audit.see(batches(3, 2, 4)):
            mean(model, x, y).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.05)
            optimizer.step()
    return audit


@LOOPS.add(
    "https://github.com/ultralytics/ultralytics/pull/11217",
    "Updates 0 – 1 (2 audited): the weights are those of mean-of-microbatch-means.",
    "In update 1: Before this update the gradient of 1 micro-batch was set to zero: no update used it.",
    "After the last update the gradient of 1 micro-batch was used by none.",
)
def the_last_window_of_an_epoch_is_thrown_away() -> RunAudit:
    model = network()
    optimizer = sgd(model)
    with suite.watch(model, losses) as audit:
        for _ in range(2):
            optimizer.zero_grad()
            for number, (x, y) in enumerate(audit.see(batches(3, 2, 4)), 1):
                (mean(model, x, y) / 2).backward()
                if number % 2 == 0:
                    optimizer.step()
                    optimizer.zero_grad()
    return audit


@LOOPS.add(
    "https://discuss.pytorch.org/t/pytorch-gradient-accumulation/55955",
    "Update 0: the weights are those of half-mean.",
    "Updates 1 – 2 (2 audited): the weights are those of mean-of-microbatch-means, a change.",
)
def the_first_window_has_one_micro_batch() -> RunAudit:
    model = network()
    optimizer = sgd(model)
    with suite.watch(model, losses) as audit:
        for number, (x, y) in enumerate(audit.see(batches(3, 2, 4, 2, 5))):
            (mean(model, x, y) / 2).backward()
            if number % 2 == 0:
                optimizer.step()
                optimizer.zero_grad()
    return audit


@LOOPS.add(
    "https://github.com/openai/guided-diffusion/issues/111",
    "the weights are those of sum-of-microbatch-means.",
    "nobody divided by the number of micro-batches: the gradient is K times too large",
)
def nobody_divides() -> RunAudit:
    return divided_afterwards(1, None)


@LOOPS.add(
    "https://github.com/petuum/adaptdl/pull/26",
    "the weights are those of sum-of-microbatch-means, then clipped by norm to 0.05.",
    "−nobody divided",  # somebody did, between the last backward pass and clipping
)
def gradients_are_divided_and_clipped() -> RunAudit:
    return divided_afterwards(2, 0.05)


@LOOPS.add(
    "https://github.com/petuum/adaptdl/pull/26",
    "the weights are those of mean-of-microbatch-means.",
    "After the last backward pass the gradient was multiplied by 0.5.",
)
def gradients_are_divided() -> RunAudit:
    return divided_afterwards(2, None)


def divided_afterwards(divisor: int, clip: float | None) -> RunAudit:
    model = network()
    optimizer = sgd(model)
    with suite.watch(model, losses) as audit:
        for number, (x, y) in enumerate(audit.see(batches(3, 2, 4, 5)), 1):
            mean(model, x, y).backward()
            if number % 2 == 0:
                for p in model.parameters():
                    p.grad /= divisor
                if clip:
                    torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
                optimizer.step()
                optimizer.zero_grad()
    return audit


@LOOPS.add(
    "https://github.com/milesial/Pytorch-UNet/issues/468",
    "A mistake, in update 0: the gradient was clipped before it was unscaled",
    "−set to zero",
)
def clipped_before_it_is_unscaled() -> RunAudit:
    model = network(dtype=torch.float32)
    optimizer = sgd(model)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12)
    with suite.watch(model, losses) as audit:
        for x, y in audit.see(batches(4, 3, dtype=torch.float32)):
            optimizer.zero_grad(set_to_none=True)
            scaler.scale(mean(model, x, y)).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
    return audit


@LOOPS.add(
    "https://discuss.pytorch.org/t/pytorch-gradient-accumulation/55955",
    "Updates 0 – 2 (3 audited): the weights are those of mean.",
    "In update 1: Micro-batch 0 (from 0) has weight 0 and is left out",
    "−1 of 2 micro-batches",
)
def a_loss_that_is_nan_is_skipped() -> RunAudit:
    model = network()
    optimizer = sgd(model)
    with suite.watch(model, losses) as audit:
        for number, (x, y) in enumerate(audit.see(batches(3, 2, 4, 5))):
            loss = mean(model, x, y) * (math.nan if number == 1 else 1)
            if not torch.isfinite(loss):
                continue
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return audit


@pytest.mark.parametrize("name", LOOPS.all)
def test_what_is_said_of_a_loop_is_so(name) -> None:
    judge(LOOPS.all[name])
