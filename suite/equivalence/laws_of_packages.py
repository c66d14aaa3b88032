"""The laws of optimizers that other packages have: one row each, read from the package's own update.

A name is `package:Class`; the class alone does where one package only has it. Defaults are those of the
versions that the sources name.
"""

from __future__ import annotations

from suite.equivalence.law import Entry, Hyperparameters, Scale, power_of_two
from suite.equivalence.laws import COUPLED, FREE, LINEAR, RATIO, options
from suite.equivalence.package_law import (
    LR,
    RUNS_ON,
    add_package_law,
    betas_entry,
    decoupled_entry,
    eps_entry,
    free_entry,
)

add_package_law(
    "lion_pytorch:Lion",
    {
        LR: Entry(1e-4, 0, "only the sign of an average of gradients enters"),
        "betas": betas_entry(0.9, 0.99),
        "weight_decay": decoupled_entry(0.0),
        **options(use_triton=False, decoupled_weight_decay=False),
    },
    {"exp_avg": 1},
    home="lion_pytorch.Lion",
    install="lion-pytorch",
    source="lion-pytorch 0.2.5, lion_pytorch/lion_pytorch.py; Chen et al. 2023, arXiv 2302.06675",
)


def _sophia_caveat(_settings: Hyperparameters, scale: Scale) -> str:
    return (
        ""
        if scale == 1
        else "1e-15 beside the squared gradients stays; exact while rho·bs·hessian is far above it"
    )


add_package_law(
    "sophia:SophiaG",
    {
        LR: Entry(1e-4, 0, "the step is a ratio that is bounded by 1"),
        "betas": betas_entry(0.965, 0.99),
        "rho": Entry(0.04, -1, "multiplies squared gradients that the average gradient is divided by"),
        "weight_decay": decoupled_entry(0.1),
        **options(maximize=False, capturable=False),
    },
    {"step": 0, "exp_avg": 1, "hessian": 2},
    home="sophia.SophiaG",
    install="the file sophia.py of Liuhong99/Sophia",
    source="Liuhong99/Sophia@a7e1572, sophia.py (read, not run); Liu et al. 2023, arXiv 2305.14342",
    limits="1e-15 beside the squared gradients stays; exact while rho·bs·hessian is far above it. The "
    "estimate is of squared gradients of the same loss, on labels that the model draws",
    caveat=_sophia_caveat,
)

add_package_law(
    "pytorch_optimizer:SophiaH",
    {
        LR: Entry(6e-2, 0, "the step is a gradient divided by curvature: the scale cancels"),
        "betas": betas_entry(0.96, 0.99),
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

add_package_law(
    "prodigyopt:Prodigy",
    {
        LR: Entry(
            1.0, 0, "multiplies an estimated rate, from a ratio of two quantities linear in the gradient"
        ),
        "betas": betas_entry(0.9, 0.999),
        "beta3": Entry(None, 0, RATIO),
        "eps": eps_entry(1e-8),
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
    unconverted=RUNS_ON.format("Prodigy", "the numerator of its estimate") + ": convert at the start",
)

add_package_law(
    "schedulefree:AdamWScheduleFree",
    {
        LR: free_entry(0.0025),
        "betas": betas_entry(0.9, 0.999),
        "eps": eps_entry(1e-8),
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

add_package_law(
    "schedulefree:SGDScheduleFree",
    {
        LR: Entry(1.0, -1, LINEAR),
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
    unconverted=RUNS_ON.format("SGDScheduleFree", "sums of powers of the rates") + ": convert at the start",
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
    add_package_law(
        f"bitsandbytes:{_name}",
        {
            LR: free_entry(1e-3),
            "betas": betas_entry(0.9, 0.999),
            "eps": eps_entry(1e-8),
            "weight_decay": decoupled_entry(_decay),
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
    add_package_law(
        f"{_package}:FusedAdam",
        {
            LR: free_entry(1e-3),
            "betas": betas_entry(0.9, 0.999),
            "eps": eps_entry(1e-8),
            "weight_decay": Entry(0.0, 1, COUPLED, flag="adam_w_mode"),
            **options(bias_correction=True, adam_w_mode=True, amsgrad=False, set_grad_none=True),
        },
        {"step": 0, "exp_avg": 1, "exp_avg_sq": 2},
        home=f"{'apex.optimizers' if _package == 'apex' else 'deepspeed.ops.adam'}.FusedAdam",
        install=_install,
        source=_source,
    )

add_package_law(
    "transformers:Adafactor",
    {
        LR: Entry(None, 0, FREE),
        "eps": Entry((1e-30, 1e-3), (2, 0), "eps1 is added to squared gradients, eps2 bounds the weights"),
        "clip_threshold": Entry(1.0, 0, "bounds the update after the scale has cancelled"),
        "decay_rate": Entry(-0.8, 0, RATIO),
        "beta1": Entry(None, 0, RATIO),
        "weight_decay": decoupled_entry(0.0),
        **options(scale_parameter=True, relative_step=True, warmup_init=False),
    },
    {"step": 0, "RMS": 0, "exp_avg": 0, "exp_avg_sq": 2, "exp_avg_sq_row": 2, "exp_avg_sq_col": 2},
    home="transformers.Adafactor",
    install="transformers",
    source="transformers 5.24.0, src/transformers/optimization.py, Adafactor; arXiv 1804.04235",
)
