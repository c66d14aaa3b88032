"""Cases whose targets have five values a sample: one that says nothing of elements, and two that do."""

import torch
import torch.nn.functional as F

from suite.case import Problem, case


def problem(columns=None):
    generator = torch.Generator().manual_seed(0)
    return Problem(
        model=lambda: torch.nn.Linear(4, 5),
        data=(torch.randn(8, 4, generator=generator), torch.randn(8, 5, generator=generator)),
        losses=lambda model, batch: F.mse_loss(model(batch[0]), batch[1], reduction="none").sum(1),
        columns=None if columns is None else lambda batch: columns,
    )


@case(dataset="random numbers", batch_sizes=(4,))
def wide_unstated():
    """Says nothing of elements."""
    return problem()


@case(dataset="random numbers", batch_sizes=(4,))
def wide_of_five():
    """Five elements a sample."""
    return problem({"elements": 5})


@case(dataset="random numbers", batch_sizes=(4,))
def wide_of_one():
    """One element a sample, however many values it is a sum of."""
    return problem({"elements": 1})
