"""Batches whose size is random: the denominator is the size that the sampling aims at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from suite.conventions.convention import convention

if TYPE_CHECKING:
    from suite.algebra.units import Column, Units
    from suite.loops.loop import Loop


def expected_batch_size_loop(loop: Loop) -> None:
    (loop.losses().sum() / loop.units.require("expected_batch_size") + loop.regulariser()).backward()


@convention(
    reference_loop=expected_batch_size_loop,
    formula="(1/L) Σ_u g_u",
    product="1/L",
    denominator="sample of the expected batch",
    used_by="DP-SGD (Abadi et al. 2016, lot size L); Opacus DPOptimizer (expected_batch_size)",
    source="arXiv 1607.00133, Algorithm 1; opacus/optimizers/optimizer.py, scale_grad",
    needs=("expected_batch_size",),
)
def expected_batch_size(units: Units) -> Column:
    """Sum divided by the expected batch size L, whatever number of samples was drawn."""
    return units.column(1 / units.require("expected_batch_size"))
