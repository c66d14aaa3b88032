"""Cases that misbehave, each in its own way, and two sound ones before and after them."""

import torch
import torch.nn.functional as F
from torch import nn

from cases.case import Problem, case


def losses(model, batch):
    x, y = batch
    return F.mse_loss(model(x), y, reduction="none").sum(1)


def data(samples=8):
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(samples, width, generator=generator) for width in (3, 1))


def problem(**changes):
    return Problem(**{"model": lambda: nn.Linear(3, 1), "data": data(), "losses": losses, **changes})


def torture(function):
    return case(dataset="random numbers", batch_sizes=(4,))(function)


@torture
def torture_first_sound():
    """Sound."""
    return problem()


@torture
def torture_model_raises():
    """Its model cannot be made."""

    def model():
        raise MemoryError("too large\nby far")

    return problem(model=model)


@torture
def torture_losses_raise():
    """Its losses fail."""
    return problem(losses=lambda model, batch: {}["mask"])


@torture
def torture_exits():
    """Its losses leave the process."""

    def leave(model, batch):
        raise SystemExit(0)

    return problem(losses=leave)


@torture
def torture_infinite():
    """Its losses are infinite."""
    return problem(losses=lambda model, batch: losses(model, batch) / 0)


@torture
def torture_infinite_gradient():
    """Its losses are finite, its gradients are not."""
    return problem(losses=lambda model, batch: (losses(model, batch) * 0).sqrt())


@torture
def torture_transposed():
    """Its losses are parts by samples."""
    return problem(losses=lambda model, batch: losses(model, batch).expand(3, -1))


@torture
def torture_three_axes():
    """Its losses have three axes."""
    return problem(losses=lambda model, batch: losses(model, batch)[:, None, None])


@torture
def torture_no_tensor():
    """Its losses are a list."""
    return problem(losses=lambda model, batch: losses(model, batch).tolist())


@torture
def torture_no_parameters():
    """Its model has nothing to train."""
    return problem(model=nn.Identity, losses=lambda model, batch: batch[0].sum(1))


@torture
def torture_all_frozen():
    """Its parameters are frozen."""
    return problem(model=lambda: nn.Linear(3, 1).requires_grad_(False))


@torture
def torture_independent():
    """Its losses do not depend on the parameters."""
    return problem(losses=lambda model, batch: batch[0].sum(1))


@torture
def torture_ragged():
    """Its tensors disagree in their number of samples."""
    return problem(data=(torch.randn(8, 3), torch.randn(7, 1)))


@torture
def torture_empty():
    """It has no sample."""
    return problem(data=data(0))


@torture
def torture_no_data():
    """Its data are no tensors."""
    return problem(data=("a", "b"))


@torture
def torture_wrong_columns():
    """Its units table does not fit the batch."""
    return problem(columns=lambda batch: {"weight": [1.0, 2.0]})


@torture
def torture_nan_columns():
    """A weight is not a number."""
    return problem(columns=lambda batch: {"weight": [float("nan")] * len(batch[0])})


@torture
def torture_no_problem():
    """It returns nothing."""


@torture
def torture_changes_the_world():
    """It changes whatever it can of torch's state."""

    def model():
        torch.manual_seed(99)
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        torch.use_deterministic_algorithms(False)
        torch.set_num_threads(1 + torch.get_num_threads() % 2)
        return nn.Linear(3, 1)

    return problem(model=model)


@torture
def torture_leaves_hooks():
    """Its model has hooks that change its gradients."""

    def model():
        line = nn.Linear(3, 1)
        line.weight.register_hook(lambda g: 2 * g)
        line.register_forward_hook(lambda module, inputs, output: output + 1)
        return line

    return problem(model=model)


@torture
def torture_all_ignored():
    """No target is valid: every loss is zero."""
    return problem(
        losses=lambda model, batch: 0 * losses(model, batch),
        columns=lambda batch: {"elements": [0] * len(batch[0]), "positions": [3] * len(batch[0])},
    )


@case(dataset="random numbers", batch_sizes=(1,))
def torture_one_sample():
    """One sample."""
    return problem(data=data(1))


@torture
def torture_last_sound():
    """As sound as the first."""
    return problem()
