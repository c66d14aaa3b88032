"""The laws of optimizers that other packages have: one row each, read from the package's own update.

A name is `package:Class`; the class alone does where one package only has it. Defaults are those of the
versions that the sources name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from suite.equivalence.law import LAWS, Entry, Hyperparameters, Law, Scale, power_of_two
from suite.equivalence.laws import ADDED_TO_ROOT, COUPLED, DECOUPLED, FREE, LINEAR, OPTION, RATIO, options

_LR = "lr"
_RUNS_ON = "{} keeps {} for all parameters together, which no buffer of a parameter holds"


def _add(
    name: str,
    hyperparameters: Mapping[str, Entry],
    state: Mapping[str, int],
    *,
    home: str,
    install: str,
    source: str,
    **rest: Any,
) -> Law:
    return LAWS.add(Law(name, hyperparameters, state, source, home=home, install=install, **rest))


def _betas(first: float, second: float) -> Entry:
    return Entry((first, second), 0, RATIO)


def _free(default: float) -> Entry:
    return Entry(default, 0, FREE)


def _eps(default: float) -> Entry:
    return Entry(default, 1, ADDED_TO_ROOT)


def _decoupled(default: float) -> Entry:
    return Entry(default, 0, DECOUPLED)


_add(
    "lion_pytorch:Lion",
    {
        _LR: Entry(1e-4, 0, "only the sign of an average of gradients enters"),
        "betas": _betas(0.9, 0.99),
        "weight_decay": _decoupled(0.0),
        **options(use_triton=False, decoupled_weight_decay=False),
    },
    {"exp_avg": 1},
    home="lion_pytorch.Lion",
    install="lion-pytorch",
    source="lion-pytorch 0.2.5, lion_pytorch/lion_pytorch.py; Chen et al. 2023, arXiv 2302.06675",
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


_add(
    "pytorch_optimizer:Lamb",
    {
        _LR: _free(1e-3),
        "betas": _betas(0.9, 0.999),
        "weight_decay": Entry(0.0, 0, "multiplies the weights, or is added to the normalised update"),
        **options(weight_decouple=True, fixed_decay=False, rectify=False, degenerated_to_sgd=False),
        "n_sma_threshold": Entry(5, 0, "counts steps"),
        **options(grad_averaging=True, adam=False, foreach=None),
        "max_grad_norm": Entry(1.0, 1, "compared with the gradient, with pre_norm"),
        "pre_norm": Entry(False, 0, OPTION),  # noqa: FBT003  a default, not an argument
        "eps": _eps(1e-6),
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

_add(
    "apex:FusedLAMB",
    {
        _LR: _free(1e-3),
        "betas": _betas(0.9, 0.999),
        "eps": _eps(1e-6),
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


_add(
    "pytorch_optimizer:LARS",
    {
        _LR: Entry(1e-3, 0, "the gradient is divided by its own norm, tensor by tensor: the scale cancels"),
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


_add(
    "pytorch_optimizer:Shampoo",
    {
        _LR: Entry(1e-3, 0, "the preconditioners' roots take the scale out"),
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


_add(
    "pytorch_optimizer:SOAP",
    {
        _LR: _free(3e-3),
        "betas": _betas(0.95, 0.95),
        "shampoo_beta": Entry(None, 0, RATIO),
        "weight_decay": _decoupled(1e-2),
        "precondition_frequency": Entry(10, 0, "counts steps"),
        "max_precondition_dim": Entry(10000, 0, "counts entries"),
        **options(
            merge_dims=False,
            precondition_1d=False,
            correct_bias=True,
            normalize_gradient=False,
            data_format="channels_first",
        ),
        "eps": _eps(1e-8),
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

_add(
    "sophia:SophiaG",
    {
        _LR: Entry(1e-4, 0, "the step is a ratio that is bounded by 1"),
        "betas": _betas(0.965, 0.99),
        "rho": Entry(0.04, -1, "multiplies squared gradients that the average gradient is divided by"),
        "weight_decay": _decoupled(0.1),
        **options(maximize=False, capturable=False),
    },
    {"step": 0, "exp_avg": 1, "hessian": 2},
    home="sophia.SophiaG",
    install="the file sophia.py of Liuhong99/Sophia",
    source="Liuhong99/Sophia@a7e1572, sophia.py (read, not run); Liu et al. 2023, arXiv 2305.14342",
    limits="1e-15 beside the squared gradients stays; exact while rho·bs·hessian is far above it. The "
    "estimate is of squared gradients of the same loss, on labels that the model draws",
)

_add(
    "pytorch_optimizer:SophiaH",
    {
        _LR: Entry(6e-2, 0, "the step is a gradient divided by curvature: the scale cancels"),
        "betas": _betas(0.96, 0.99),
        "weight_decay": Entry(0.0, 1, COUPLED, flag="weight_decouple"),
        **options(weight_decouple=True, fixed_decay=False),
        "p": Entry(1e-2, 0, "bounds the step, not the gradient"),
        "update_period": Entry(10, 0, "counts steps"),
        "num_samples": Entry(1, 0, "counts draws"),
        **options(hessian_distribution="gaussian"),
        "eps": Entry(1e-12, 1, "bounds the curvature from below"),
        **options(maximize=False, foreach=None),
    },
    {"momentum": 1, "hessian_moment": 1, "hessian": 1},
    home="pytorch_optimizer.SophiaH",
    install="pytorch-optimizer",
    source="pytorch-optimizer 4.1.0, pytorch_optimizer/optimizer/sophia.py; arXiv 2305.14342",
)

_add(
    "prodigyopt:Prodigy",
    {
        _LR: Entry(
            1.0, 0, "multiplies an estimated rate, from a ratio of two quantities linear in the gradient"
        ),
        "betas": _betas(0.9, 0.999),
        "beta3": Entry(None, 0, RATIO),
        "eps": _eps(1e-8),
        "weight_decay": Entry(0, 1, COUPLED, flag="decouple"),
        **options(decouple=True, use_bias_correction=False, safeguard_warmup=False),
        "d0": Entry(1e-6, 0, "a distance of weights"),
        "d_coef": Entry(1.0, 0, "multiplies that distance"),
        "growth_rate": Entry(float("inf"), 0, "a factor of that distance"),
        **options(fsdp_in_use=False),
        "slice_p": Entry(1, 0, "counts entries"),
    },
    {"step": 0, "s": 1, "p0": 0, "exp_avg": 1, "exp_avg_sq": 2},
    home="prodigyopt.Prodigy",
    install="prodigyopt",
    source="prodigyopt 1.1.2, prodigyopt/prodigy.py; Mishchenko & Defazio 2023, arXiv 2306.06101",
    unconverted=_RUNS_ON.format("Prodigy", "the numerator of its estimate") + ": convert at the start",
)

_add(
    "schedulefree:AdamWScheduleFree",
    {
        _LR: _free(0.0025),
        "betas": _betas(0.9, 0.999),
        "eps": _eps(1e-8),
        "weight_decay": Entry(0, 0, "added to the step after the scale has cancelled"),
        "warmup_steps": Entry(0, 0, "counts steps"),
        "r": Entry(0.0, 0, "a power of the step's number"),
        "weight_lr_power": Entry(2.0, 0, "a power of the rate, in a ratio of such powers"),
        **options(foreach=True),
    },
    {"z": 0, "exp_avg_sq": 2},
    home="schedulefree.AdamWScheduleFree",
    install="schedulefree",
    source="schedulefree 1.4.1, schedulefree/adamw_schedulefree.py; Defazio et al. 2024, arXiv 2405.15682",
)

_add(
    "schedulefree:SGDScheduleFree",
    {
        _LR: Entry(1.0, -1, LINEAR),
        "momentum": Entry(0.9, 0, RATIO),
        "weight_decay": Entry(0, 1, COUPLED),
        "warmup_steps": Entry(0, 0, "counts steps"),
        "r": Entry(0.0, 0, "a power of the step's number"),
        "weight_lr_power": Entry(2.0, 0, "a power of the rate, in a ratio of such powers"),
        **options(foreach=True),
    },
    {"z": 0},
    home="schedulefree.SGDScheduleFree",
    install="schedulefree",
    source="schedulefree 1.4.1, schedulefree/sgd_schedulefree.py; Defazio et al. 2024, arXiv 2405.15682",
    unconverted=_RUNS_ON.format("SGDScheduleFree", "sums of powers of the rates") + ": convert at the start",
)


def _rounded(_settings: Hyperparameters, scale: Scale) -> str:
    if power_of_two(scale):
        return ""
    return (
        "exact in real arithmetic; the moments are kept in 8 bits, which round elsewhere unless the scale is "
        "a power of two"
    )


_EIGHT_BITS = {
    "limits": "exact for powers of two only: the moments are kept in 8 bits, in blocks with a common factor, "
    "and round differently for other scales; nearest: the same exponents, right to that rounding",
    "caveat": _rounded,
    "unconverted": "its moments are numbers of 8 bits: convert at the start",
}

for _name, _decay in (("Adam8bit", 0.0), ("AdamW8bit", 1e-2)):
    _add(
        f"bitsandbytes:{_name}",
        {
            _LR: _free(1e-3),
            "betas": _betas(0.9, 0.999),
            "eps": _eps(1e-8),
            "weight_decay": _decoupled(_decay),
            **options(amsgrad=False, args=None, is_paged=False),
            "optim_bits": Entry(32, 0, "counts bits"),
            "min_8bit_size": Entry(4096, 0, "counts entries; smaller tensors have moments of 32 bits"),
        },
        {"step": 0, "state1": 0, "state2": 0, "qmap1": 0, "qmap2": 0, "absmax1": 1, "absmax2": 2},
        home=f"bitsandbytes.optim.{_name}",
        install="bitsandbytes",
        source=f"bitsandbytes 0.50.2, bitsandbytes/optim/{_name.removesuffix('8bit').lower()}.py",
        **_EIGHT_BITS,
    )

for _package, _install, _source in (
    ("apex", "apex", "NVIDIA/apex@6424da3, apex/optimizers/fused_adam.py (read, not run)"),
    ("deepspeed", "deepspeed", "deepspeed 0.19.8, deepspeed/ops/adam/fused_adam.py (read, not run)"),
):
    _add(
        f"{_package}:FusedAdam",
        {
            _LR: _free(1e-3),
            "betas": _betas(0.9, 0.999),
            "eps": _eps(1e-8),
            "weight_decay": Entry(0.0, 1, COUPLED, flag="adam_w_mode"),
            **options(bias_correction=True, adam_w_mode=True, amsgrad=False, set_grad_none=True),
        },
        {"step": 0, "exp_avg": 1, "exp_avg_sq": 2},
        home=f"{'apex.optimizers' if _package == 'apex' else 'deepspeed.ops.adam'}.FusedAdam",
        install=_install,
        source=_source,
    )

_add(
    "transformers:Adafactor",
    {
        _LR: Entry(None, 0, FREE),
        "eps": Entry((1e-30, 1e-3), (2, 0), "eps1 is added to squared gradients, eps2 bounds the weights"),
        "clip_threshold": Entry(1.0, 0, "bounds the update after the scale has cancelled"),
        "decay_rate": Entry(-0.8, 0, RATIO),
        "beta1": Entry(None, 0, RATIO),
        "weight_decay": _decoupled(0.0),
        **options(scale_parameter=True, relative_step=True, warmup_init=False),
    },
    {"step": 0, "RMS": 0, "exp_avg": 0, "exp_avg_sq": 2, "exp_avg_sq_row": 2, "exp_avg_sq_col": 2},
    home="transformers.Adafactor",
    install="transformers",
    source="transformers 5.24.0, src/transformers/optimization.py, Adafactor; arXiv 1804.04235",
)
