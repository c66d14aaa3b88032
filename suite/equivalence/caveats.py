"""Where a law is not exact: why, under which settings and scale, and the nearest thing that holds."""

from __future__ import annotations

import math

from suite.equivalence.law import Hyperparameters, Scale, power_of_two
from suite.errors import UsageError

FLOAT32_EPS = 2.0**-23
"""torch.finfo(torch.float32).eps, which Adafactor takes for eps1 = None."""


def adafactor(settings: Hyperparameters, scale: Scale) -> str:
    """Adafactor bounds a first and a second power of the gradient by the same eps1."""
    if settings["eps"][0] == 0 or scale == 1:
        return ""
    dtype = (
        "; eps1 = None stands for the dtype's machine epsilon, float32's here: give it for another dtype"
        if settings["eps"][0] is None
        else ""
    )
    return (
        "eps1 bounds two things of different size: the root of the second moment (exponent +1, converted "
        "here) and, for parameters of two or more axes, also the mean of the row moments (exponent +2); "
        "exact for vectors, and for matrices while that mean stays above eps1 on both sides; "
        f"with eps1 = 0 exact always{dtype}"
    )


def lbfgs(settings: Hyperparameters, scale: Scale) -> str:
    """LBFGS normalises its first step by bounds that are not scaled."""
    if scale == 1:
        return ""
    tolerance = (
        "tolerance_change bounds both a step and a loss, of exponents 0 and +1 (set it to 0 on both sides); "
        if settings["tolerance_change"]
        else ""
    )
    return (
        "no constant law: the first step is lr · min(1, 1/‖g‖₁) · g, of exponent 0 where ‖g‖₁ ≥ 1 and −1 "
        f"where not; {tolerance}curvature pairs below the fixed 1e-10 are dropped; exact while ‖g‖₁ of the "
        "first gradient is at least 1 on both sides and no such bound is reached"
    )


def muon(_settings: Hyperparameters, scale: Scale) -> str:
    """Muon rounds to bfloat16."""
    if power_of_two(scale):
        return ""
    return (
        "exact in real arithmetic; torch orthogonalises in bfloat16, whose rounding (2⁻⁹) falls "
        "elsewhere unless the scale is a power of two"
    )


def unrectified_steps(beta2: float) -> float:
    """How many first steps RAdam takes without its second moment: those where `ρ_t ≤ 5`.

    `ρ_t = ρ_∞ − 2tβ₂ᵗ/(1−β₂ᵗ)`, `ρ_∞ = 2/(1−β₂) − 1`. `ρ_1 = 1`, hence there is at least one; for
    β₂ ≤ 2/3 all are. Source: Liu et al. 2020, arXiv 1908.03265; torch/optim/radam.py.

    Raises:
        UsageError: β₂ is not between 0 and 1.
    """
    if not 0 <= beta2 < 1:
        raise UsageError(f"RAdam: the second of betas is {beta2}, it must be at least 0 and less than 1")
    longest = 2 / (1 - beta2) - 1
    if longest <= 5:
        return math.inf
    step = 1
    while longest - 2 * step * beta2**step / (1 - beta2**step) <= 5:
        step += 1
    return step - 1
