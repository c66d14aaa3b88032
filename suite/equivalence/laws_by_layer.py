"""The laws of other packages' optimizers whose step sees a whole layer: its norm, or its axes."""

from __future__ import annotations

from suite.equivalence.law import Entry, Hyperparameters, Scale, power_of_two
from suite.equivalence.laws import COUPLED, OPTION, RATIO, options
from suite.equivalence.package_law import (
    LR,
    add_package_law,
    betas_entry,
    decoupled_entry,
    eps_entry,
    free_entry,
)


def _lamb_caveat(settings: Hyperparameters, scale: Scale) -> str:
    if settings["rectify"] and scale != 1:
        return "no constant law with rectify: the first steps are not rectified, as RAdam's"
    if scale == 1 or settings["eps"] == 0:
        return ""
    return (
        "eps stands in two places: beside the root of the squared gradients (exponent +1, converted here) "
        "and beside the norm of the update (exponent 0); off by at most eps over the norm of an update"
    )


add_package_law(
    "pytorch_optimizer:Lamb",
    {
        LR: free_entry(1e-3),
        "betas": betas_entry(0.9, 0.999),
        "weight_decay": Entry(0.0, 0, "multiplies the weights, or is added to the normalised update"),
        **options(weight_decouple=True, fixed_decay=False, rectify=False, degenerated_to_sgd=False),
        "n_sma_threshold": Entry(5, 0, "counts steps"),
        **options(grad_averaging=True, adam=False, foreach=None),
        "max_grad_norm": Entry(1.0, 1, "compared with the gradient, with pre_norm"),
        "pre_norm": Entry(False, 0, OPTION),  # noqa: FBT003  a default, not an argument
        "eps": eps_entry(1e-6),
        **options(maximize=False),
    },
    {"exp_avg": 1, "exp_avg_sq": 2, "weight_norm": 0, "adam_norm": 0, "trust_ratio": 0},
    home="pytorch_optimizer.Lamb",
    install="pytorch-optimizer",
    source="pytorch-optimizer 4.1.0, pytorch_optimizer/optimizer/lamb.py; arXiv 1904.00962",
    limits="eps is added to the norm of the update too, where it would have to stay; nearest: eps +1, "
    "right to eps over that norm, exact with eps = 0",
    caveat=_lamb_caveat,
)

add_package_law(
    "apex:FusedLAMB",
    {
        LR: free_entry(1e-3),
        "betas": betas_entry(0.9, 0.999),
        "eps": eps_entry(1e-6),
        "weight_decay": Entry(0.01, 1, COUPLED, flag="adam_w_mode"),
        "max_grad_norm": Entry(1.0, 1, "gradients are clipped to it inside step()"),
        **options(
            bias_correction=True, adam_w_mode=True, grad_averaging=True, set_grad_none=True, use_nvlamb=False
        ),
    },
    {"step": 0, "exp_avg": 1, "exp_avg_sq": 2},
    home="apex.optimizers.FusedLAMB",
    install="apex",
    source="NVIDIA/apex@6424da3, apex/optimizers/fused_lamb.py and csrc/multi_tensor_lamb.cu (read, not run)",
)


def _lars_caveat(_settings: Hyperparameters, scale: Scale) -> str:
    if scale == 1:
        return ""
    return (
        "exact for parameters of two or more axes; scalars and vectors take plain momentum steps, linear in "
        "the gradient: give them a group of their own with lr/s"
    )


add_package_law(
    "pytorch_optimizer:LARS",
    {
        LR: Entry(1e-3, 0, "the gradient is divided by its own norm, tensor by tensor: the scale cancels"),
        "weight_decay": Entry(0.0, 1, "weight_decay · weights is added to the gradient, and to its norm"),
        "momentum": Entry(0.9, 0, RATIO),
        "dampening": Entry(0.0, 0, RATIO),
        "trust_coefficient": Entry(1e-3, 0, "multiplies the ratio of norms"),
        **options(nesterov=False, foreach=None, maximize=False),
    },
    {"momentum_buffer": 0},
    home="pytorch_optimizer.LARS",
    install="pytorch-optimizer",
    source="pytorch-optimizer 4.1.0, pytorch_optimizer/optimizer/lars.py; You et al. 2017, arXiv 1708.03888",
    limits="no one rate for all parameters: scalars and vectors take plain momentum steps, lr −1; nearest: "
    "this row, exact for parameters of two or more axes",
    caveat=_lars_caveat,
)


def _shampoo_caveat(settings: Hyperparameters, scale: Scale) -> str:
    if scale == 1 or not settings["momentum"]:
        return ""
    return (
        "no constant law with momentum: this implementation averages the gradient (exponent +1) with the "
        "preconditioned one of the step before (exponent 0); exact with momentum = 0"
    )


add_package_law(
    "pytorch_optimizer:Shampoo",
    {
        LR: Entry(1e-3, 0, "the preconditioners' roots take the scale out"),
        "momentum": Entry(0.0, 0, RATIO),
        "weight_decay": Entry(0.0, 1, COUPLED, flag="weight_decouple"),
        **options(weight_decouple=False, fixed_decay=False),
        "preconditioning_compute_steps": Entry(1, 0, "counts steps"),
        "matrix_eps": Entry(1e-6, 2, "added to a matrix of squared gradients"),
        **options(maximize=False),
    },
    {
        "momentum_buffer": 0,
        **{f"pre_cond_{axis}": 2 for axis in range(4)},
        "inv_pre_cond_0": -1,
    },
    home="pytorch_optimizer.Shampoo",
    install="pytorch-optimizer",
    source="pytorch-optimizer 4.1.0, pytorch_optimizer/optimizer/shampoo.py; arXiv 1802.09568",
    limits="no constant law with momentum, which mixes a gradient with a preconditioned one; nearest: this "
    "row, exact without momentum",
    caveat=_shampoo_caveat,
    unconverted="the exponent of its inverse roots goes with the number of axes: convert at the start",
)


def _soap_caveat(_settings: Hyperparameters, scale: Scale) -> str:
    if power_of_two(scale):
        return ""
    return (
        "exact in real arithmetic; where a matrix of the first gradient is not of full rank, as of every "
        "parameter that is far from square, rounding chooses the rest of its eigenvectors, others than "
        "before unless the scale is a power of two"
    )


add_package_law(
    "pytorch_optimizer:SOAP",
    {
        LR: free_entry(3e-3),
        "betas": betas_entry(0.95, 0.95),
        "shampoo_beta": Entry(None, 0, RATIO),
        "weight_decay": decoupled_entry(1e-2),
        "precondition_frequency": Entry(10, 0, "counts steps"),
        "max_precondition_dim": Entry(10000, 0, "counts entries"),
        **options(
            merge_dims=False,
            precondition_1d=False,
            correct_bias=True,
            normalize_gradient=False,
            data_format="channels_first",
        ),
        "eps": eps_entry(1e-8),
        **options(maximize=False),
    },
    {"exp_avg": 1, "exp_avg_sq": 2},
    home="pytorch_optimizer.SOAP",
    install="pytorch-optimizer",
    source="pytorch-optimizer 4.1.0, pytorch_optimizer/optimizer/soap.py; Vyas et al. 2024, arXiv 2409.11321",
    limits="exact for powers of two only: rounding chooses eigenvectors where matrices of the first gradient "
    "are not of full rank; nearest: the same exponents",
    caveat=_soap_caveat,
    unconverted="its preconditioners are lists of matrices: convert at the start",
)
