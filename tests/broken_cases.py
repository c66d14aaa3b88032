"""Cases from outside the project: one that works and several that do not. Loaded as `--cases` does."""

import torch
import torch.nn.functional as F
from torch import nn

from suite.case import Problem, case


def losses(model, batch):
    x, y = batch
    return F.mse_loss(model(x), y, reduction="none").sum(1)


def problem(**changes):
    generator = torch.Generator().manual_seed(0)
    data = tuple(torch.randn(8, width, generator=generator) for width in (3, 1))
    return Problem(**{"model": lambda: nn.Linear(3, 1), "data": data, "losses": losses, **changes})


@case(dataset="random numbers", batch_sizes=(4,))
def outside_works():
    """A case from outside."""
    return problem()


@case(dataset="none", batch_sizes=(4,))
def outside_raises():
    """A case that cannot be built."""
    raise FileNotFoundError("data.csv is missing")


@case(dataset="random numbers", batch_sizes=(4,))
def outside_nan():
    """A model whose output is not a number."""
    return problem(losses=lambda model, batch: losses(model, batch) * float("nan"))


@case(dataset="random numbers", batch_sizes=(4,))
def outside_averages():
    """Losses that are averaged already."""
    return problem(losses=lambda model, batch: losses(model, batch).mean())


@case(dataset="random numbers", batch_sizes=(4,))
def outside_batchnorm():
    """Samples that depend on each other."""
    return problem(model=lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)))


@case(dataset="random numbers", batch_sizes=(4,))
def outside_changes_torch():
    """A model that changes torch's state."""

    def model():
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        return nn.Linear(3, 1)

    return problem(model=model)
