"""Tokens, padding and ignored targets: which positions the denominator counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from suite.algebra.units import per
from suite.conventions.convention import convention

if TYPE_CHECKING:
    from suite.algebra.units import Column, Units
    from suite.loops.loop import Loop


def token_mean_loop(loop: Loop) -> None:
    valid = loop.column("elements").sum().clamp(min=1)
    (loop.losses().sum() / valid + loop.regulariser()).backward()


@convention(
    reference_loop=token_mean_loop,
    formula="(1/V) Σ_u g_u, V the valid tokens of the batch",
    product="1/V",
    denominator="valid token",
    used_by="PyTorch ignore_index; Keras ignore_class; Hugging Face causal LMs; Caffe VALID; DAPO; Chainer",
    source="torch.nn.functional.cross_entropy; transformers loss_utils.py; caffe.proto; arXiv 2503.14476",
    needs=("positions",),
)
def token_mean(units: Units) -> Column:
    """Mean over the valid tokens of the batch.

    A batch without a valid token gives nan in PyTorch, and a zero gradient here and in Caffe.
    """
    return units.column(per(units.total()))


def position_mean_loop(loop: Loop) -> None:
    positions = loop.column("positions").sum().clamp(min=1)
    (loop.losses().sum() / positions + loop.regulariser()).backward()


@convention(
    reference_loop=position_mean_loop,
    formula="(1/(n·T)) Σ_u g_u, T the padded length of this batch",
    product="1/(n·T)",
    denominator="position, padding counted",
    used_by="masked losses followed by a plain .mean(); Caffe SoftmaxWithLoss normalization FULL",
    source="caffe/src/caffe/proto/caffe.proto, LossParameter.NormalizationMode",
    needs=("positions",),
    against="token-mean",
)
def position_mean(units: Units) -> Column:
    """Mean over all positions: padded and ignored ones add nothing to the sum but count."""
    return units.column(per(units.total(units.require("positions"))))


def mean_of_sequence_means_loop(loop: Loop) -> None:
    per_sequence = [
        sequence.losses().sum() / sequence.column("elements").sum().clamp(min=1)
        for sequence in loop.samples()
    ]
    (sum(per_sequence) / loop.n + loop.regulariser()).backward()


@convention(
    reference_loop=mean_of_sequence_means_loop,
    formula="(1/n) Σ_i (1/V_i) Σ_{u∈i} g_u",
    product="1/(n·V_i)",
    denominator="sequence, after token",
    used_by="GRPO (DeepSeekMath); TRL loss_type='grpo'; losses reduced sequence by sequence",
    source="arXiv 2402.03300, the GRPO objective; trl/trainer/grpo_trainer.py, _compute_loss",
    needs=("positions",),
    against="token-mean",
)
def mean_of_sequence_means(units: Units) -> Column:
    """Each sequence's token mean, then the mean over sequences: short sequences weigh more a token.

    TRL's `grpo` averages micro-batches besides, see `trl:grpo`; its default is `dapo` now.
    """
    return units.column(per(units.n) * per(units.sample_total()))


def constant_normaliser_loop(loop: Loop) -> None:
    longest = loop.units.require("max_elements")
    (loop.losses().sum() / (loop.n * longest) + loop.regulariser()).backward()


@convention(
    reference_loop=constant_normaliser_loop,
    formula="(1/(n·L_max)) Σ_u g_u",
    product="1/(n·Lmax)",
    denominator="position of the longest sequence allowed",
    used_by="Dr. GRPO; TRL loss_type='dr_grpo' (L_max is max_completion_length)",
    source="arXiv 2503.20783; trl/trainer/grpo_trainer.py, _compute_loss",
    needs=("positions", "max_elements"),
    against="token-mean",
)
def constant_normaliser(units: Units) -> Column:
    """Sum divided by a constant, n times the maximal length, whatever the lengths in the batch."""
    return units.column(per(units.n * units.require("max_elements")))
