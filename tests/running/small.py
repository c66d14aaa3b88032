"""Small cases that are run in processes of their own: some work, and some end the process."""

import ctypes
import os
import signal

import torch
import torch.nn.functional as F
from torch import nn

from suite.case import Problem, case


def losses(model, batch):
    x, y = batch
    return F.mse_loss(model(x), y, reduction="none").sum(1)


def problem(of=losses):
    generator = torch.Generator().manual_seed(0)
    data = tuple(torch.randn(10, width, generator=generator) for width in (3, 1))
    return Problem(model=lambda: nn.Linear(3, 1), data=data, losses=of)


@case(dataset="random numbers", batch_sizes=(2, 4))
def small_works():
    """A case that works."""
    return problem()


@case(dataset="random numbers", batch_sizes=(4, 5))
def small_works_too():
    """Another one."""
    return problem()


def end(code):
    """End the process as a library in C does, which nothing in Python catches."""
    ctypes.CDLL(None)._exit(code)


@case(dataset="random numbers", batch_sizes=(10,))
def small_exits():
    """Ends its process when it is measured."""
    return problem(lambda model, batch: end(3))


@case(dataset="random numbers", batch_sizes=(5,))
def small_exits_at_once():
    """Ends its process when it is built."""
    end(4)


@case(dataset="random numbers", batch_sizes=(5,))
def small_is_killed():
    """Is killed when it is measured, as for lack of memory."""
    return problem(lambda model, batch: os.kill(os.getpid(), signal.SIGKILL))
