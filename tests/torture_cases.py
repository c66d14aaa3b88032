"""Cases that misbehave, each in its own way, and two sound ones before and after them."""

import ctypes
import os
import random
import tempfile
import time
import traceback
import warnings

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from suite.case import Problem, case


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
def torture_nan():
    """One of its losses is not a number."""
    nan = torch.tensor([0.0, 0.0, float("nan"), 0.0])
    return problem(losses=lambda model, batch: losses(model, batch) + nan)


@torture
def torture_far_too_large():
    """The squares of its gradients are infinite."""
    return problem(losses=lambda model, batch: losses(model, batch) * 1e200)


@torture
def torture_too_large():
    """Sums of the squares of its gradients may be infinite."""
    return problem(losses=lambda model, batch: losses(model, batch) * 1e150)


@torture
def torture_too_small():
    """The squares of its gradients have lost their last digits."""
    return problem(losses=lambda model, batch: losses(model, batch) * 1e-155)


@torture
def torture_far_too_small():
    """The squares of its gradients are zero, its gradients are not."""
    return problem(losses=lambda model, batch: losses(model, batch) * 1e-200)


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
def torture_too_many():
    """It has a loss more than samples."""
    return problem(losses=lambda model, batch: torch.cat([losses(model, batch), torch.ones(1)]))


@torture
def torture_detached():
    """Its losses are numbers only."""
    return problem(losses=lambda model, batch: losses(model, batch).detach())


@torture
def torture_complex():
    """Its losses are complex numbers."""
    return problem(losses=lambda model, batch: losses(model, batch) * 1j)


@torture
def torture_spoils_its_batch():
    """It changes the batch that it is given."""

    def changed(model, batch):
        batch[0].mul_(2)
        return losses(model, batch)

    return problem(losses=changed)


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


def add_one(module, inputs, output):
    """A hook that changes what every module returns."""
    return output + 1


def tf32():
    """As torch has it since 2.9; what it had before refuses to answer then."""
    if hasattr(torch.backends, "fp32_precision"):
        torch.backends.fp32_precision = "tf32"
    else:
        torch.backends.cuda.matmul.allow_tf32 = True


CHANGES = {
    "random-numbers": lambda: (torch.manual_seed(7), random.seed(7), np.random.seed(7)),  # noqa: NPY002
    "default-dtype": lambda: torch.set_default_dtype(torch.float16),
    "default-device": lambda: torch.set_default_device("meta"),
    "grad-mode": lambda: torch.set_grad_enabled(False),
    "threads": lambda: torch.set_num_threads(1 + torch.get_num_threads() % 2),
    "anomaly": lambda: torch.autograd.set_detect_anomaly(True),
    "autocast": lambda: torch.set_autocast_enabled("cpu", True),
    "autocast-on-cuda": lambda: torch.set_autocast_enabled("cuda", True),
    "precision": lambda: torch.set_float32_matmul_precision("medium"),
    "tf32": tf32,
    "cudnn": lambda: setattr(torch.backends.cudnn, "enabled", False),
    "cudnn-benchmark": lambda: setattr(torch.backends.cudnn, "benchmark", True),
    "cudnn-deterministic": lambda: setattr(torch.backends.cudnn, "deterministic", True),
    "determinism": lambda: torch.use_deterministic_algorithms(False),
    "denormals": lambda: torch.set_flush_denormal(True),
    "global-hooks": lambda: nn.modules.module.register_module_forward_hook(add_one),
    "optimizer-hooks": lambda: register_optimizer_step_post_hook(lambda *_: None),
    "numpy-errors": lambda: np.seterr(all="raise"),
    "warnings": lambda: warnings.filterwarnings("error", message="anything"),
    "environment": lambda: os.environ.update(TORTURE="1"),
    "directory": lambda: os.chdir(tempfile.gettempdir()),
}
"""What a case can do to everyone, each by itself."""


def changing(name, change):
    """A case that changes it as it is built, and again each time that its losses were computed."""

    def changed(model, batch):
        found = losses(model, batch)
        change()
        return found

    changed.__doc__ = f"It changes the {name}."

    def torture_changes():
        """It changes something for everyone, whenever it can."""
        change()
        return problem(losses=changed)

    torture_changes.__name__ = f"torture_changes_{name.replace('-', '_')}"
    return torture(torture_changes)


for _name, _change in CHANGES.items():
    changing(_name, _change)


@torture
def torture_draws():
    """Its data are random, and it has no seed."""
    x = torch.randn(8, 3) + torch.tensor(np.random.standard_normal((8, 3)))  # noqa: NPY002  as others do
    return problem(data=(x.float() * random.random(), torch.randn(8, 1)))  # noqa: S311  nothing secret


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


@case(dataset="two numbers", batch_sizes=(2,))
def turned_round():
    """One parameter, whose gradient is the other way round with the weights than without them."""
    slopes = torch.tensor([[0.5], [-0.7]])
    return problem(
        model=lambda: nn.Linear(1, 1, bias=False),
        data=slopes,
        losses=lambda model, batch: model(batch)[:, 0],
        columns=lambda batch: {"weight": [4.0, 1.0][: len(batch)]},
    )


# Those that never end. They are run with a time limit, in processes of their own.


def hanging(function):
    return case(dataset="random numbers", batch_sizes=(8,))(function)


@hanging
def hangs_not():
    """Sound."""
    return problem()


@hanging
def hangs_when_built():
    """A loop of Python that does not end."""
    while True:
        pass


@hanging
def hangs_asleep():
    """Waits for what never comes."""
    return problem(losses=lambda model, batch: time.sleep(10_000))


@hanging
def hangs_holding_the_lock():
    """In C, and no other thread of Python may run meanwhile."""
    return problem(losses=lambda model, batch: ctypes.PyDLL(None).sleep(10_000))


@hanging
def hangs_in_checks():
    """As it is trained."""

    def sometimes(model, batch):
        if any(frame.name == "check_rates" for frame in traceback.extract_stack()):
            time.sleep(10_000)
        return losses(model, batch)

    return problem(losses=sometimes)
