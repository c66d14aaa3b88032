"""Denominators that are not of this batch: the size that random sampling aims at, an average over steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from suite.algebra.units import per
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
    """Sum divided by the expected batch size L, whatever number of samples was drawn.

    Opacus divides by L times the steps that are accumulated, `expected_batch_size * accumulated_iterations`.
    """
    return units.column(1 / units.require("expected_batch_size"))


AT_FIRST, KEPT_OF_IT = 100.0, 0.9
"""Where detectron2's moving average begins, and how much of it each step keeps."""


def moving_average_normaliser_loop(loop: Loop) -> None:
    present = loop.column("elements").sum().clamp(min=1)
    average = KEPT_OF_IT * loop.units.require("moving_average") + (1 - KEPT_OF_IT) * present
    (loop.losses().sum() / average + loop.regulariser()).backward()


@convention(
    reference_loop=moving_average_normaliser_loop,
    formula="Σ_u g_u / (0.9 E + 0.1 V), E the same denominator one step before",
    denominator="element, averaged over the steps before",
    used_by="detectron2's RetinaNet (positives of the rank's images; E begins at 100) and FCOS (300)",
    source="facebookresearch/detectron2@02b5c4e, retinanet.py, losses; dense_detector.py, _ema_update",
    needs=("moving_average",),
    against="element-mean",
)
def moving_average_normaliser(units: Units) -> Column:
    """Sum divided by a moving average of the counts of the batches up to this one.

    Between this and a mean no rate is right for two steps: the scale depends on the batches before. A run
    measures it at the first step.
    """
    average = KEPT_OF_IT * units.require("moving_average") + (1 - KEPT_OF_IT) / per(units.total())
    return units.column(1 / average)
