"""Parts of a sample's loss: terms, augmented copies, and the regulariser."""

from __future__ import annotations

from typing import TYPE_CHECKING

from suite.algebra.units import per
from suite.conventions.convention import convention

if TYPE_CHECKING:
    from suite.algebra.units import Column, Units
    from suite.loops.loop import Loop


def sum_of_terms_loop(loop: Loop) -> None:
    loss = sum(term.sum() / loop.n for term in loop.losses().unbind(1))
    (loss + loop.regulariser()).backward()


@convention(
    reference_loop=sum_of_terms_loop,
    formula="Σ_t (1/n) Σ_i g_it",
    product="1/n",
    denominator="sample",
    used_by="loss = loss_a + loss_b, each a mean over samples; Mask R-CNN, its own divisors aside",
    source="arXiv 1703.06870, §3 (L_cls + L_box + L_mask); torchvision references/detection/engine.py",
    needs=("terms",),
)
def sum_of_terms(units: Units) -> Column:
    """Sum over the loss terms of their means over samples."""
    return units.column(per(units.n))


def mean_of_terms_loop(loop: Loop) -> None:
    terms = [term.sum() / loop.n for term in loop.losses().unbind(1)]
    (sum(terms) / len(terms) + loop.regulariser()).backward()


@convention(
    reference_loop=mean_of_terms_loop,
    formula="(1/T) Σ_t (1/n) Σ_i g_it",
    product="1/(n·P)",
    denominator="sample and term",
    used_by="torch.stack(losses).mean()",
    source="the usual way to average a list of losses",
    needs=("terms",),
    against="sum-of-terms",
)
def mean_of_terms(units: Units) -> Column:
    """Mean over the loss terms of their means over samples."""
    return units.column(per(units.n) * per(len(units.parts)))


def weighted_sum_of_terms_loop(loop: Loop) -> None:
    weights = loop.column("term_weight")[0]
    terms = [term.sum() / loop.n for term in loop.losses().unbind(1)]
    loss = sum(weight * term for weight, term in zip(weights, terms, strict=True))
    (loss + loop.regulariser()).backward()


@convention(
    reference_loop=weighted_sum_of_terms_loop,
    formula="Σ_t λ_t (1/n) Σ_i g_it",
    product="λ_t/n",
    denominator="sample",
    used_by="loss = λ_a·loss_a + λ_b·loss_b; Faster R-CNN (λ = 10) and SSD (α), their own divisors aside",
    source="arXiv 1506.01497, eq. 1; arXiv 1512.02325, eq. 1",
    needs=("terms", "term_weight"),
    against="sum-of-terms",
)
def weighted_sum_of_terms(units: Units) -> Column:
    """Weighted sum over the loss terms of their means over samples."""
    return units.column(units.require("term_weight") * per(units.n))


def sum_of_term_means_loop(loop: Loop) -> None:
    counts = loop.column("elements").sum(0).clamp(min=1)
    loss = sum(term.sum() / count for term, count in zip(loop.losses().unbind(1), counts, strict=True))
    (loss + loop.regulariser()).backward()


@convention(
    reference_loop=sum_of_term_means_loop,
    formula="Σ_t (1/Σ_i m_it) Σ_i g_it",
    product="1/V_t",
    denominator="element of the term",
    used_by="mse_loss(a, b) + cross_entropy(c, d) at PyTorch's defaults; Faster R-CNN (λ aside)",
    source="torch.nn.functional, reduction='mean'; arXiv 1506.01497, eq. 1 (N_cls, N_reg)",
    needs=("terms",),
    against="sum-of-terms",
)
def sum_of_term_means(units: Units) -> Column:
    """Sum over the loss terms, each divided by its own number of elements.

    Where terms differ in their elements, this changes the mixture, which no learning rate repairs.
    """
    return units.column(per(units.total(by="part")))


def mean_of_copies_loop(loop: Loop) -> None:
    (loop.losses().mean(1).sum() / loop.n + loop.regulariser()).backward()


@convention(
    reference_loop=mean_of_copies_loop,
    formula="(1/nM) Σ_i Σ_j g_ij",
    product="1/(n·P)",
    denominator="sample and copy",
    used_by="batch augmentation (Hoffer et al. 2019), repeated augmentation (Berman et al. 2019)",
    source="arXiv 1901.09335; arXiv 1902.05509 (both: one mean over a batch that holds the copies)",
    needs=("copies",),
)
def mean_of_copies(units: Units) -> Column:
    """Mean over the M augmented copies of each sample, then over samples."""
    return units.column(per(units.n) * per(len(units.parts)))


def sum_of_copies_loop(loop: Loop) -> None:
    for copy in range(len(loop.units.parts)):
        share = loop.regulariser() if copy == 0 else 0
        (loop.losses()[:, copy].sum() / loop.n + share).backward()


@convention(
    reference_loop=sum_of_copies_loop,
    formula="(1/n) Σ_i Σ_j g_ij",
    product="1/n",
    denominator="sample",
    used_by="loops that call backward() once a copy and divide by n only",
    source="torch.Tensor.backward: gradients accumulate in .grad",
    needs=("copies",),
    against="mean-of-copies",
)
def sum_of_copies(units: Units) -> Column:
    """Sum over the augmented copies of each sample, then the mean over samples: M times too large."""
    return units.column(per(units.n))


def regulariser_alone_loop(loop: Loop) -> None:
    (loop.losses().sum() / loop.n).backward()
    loop.regulariser().backward()


@convention(
    reference_loop=regulariser_alone_loop,
    formula="(1/n) Σ_u g_u + ∇R",
    product="1/n",
    denominator="sample, for the data only",
    used_by="weight_decay of torch.optim.SGD and of Caffe (½λ‖w‖²); keras.regularizers.L2 (λ‖w‖²)",
    source="torch/optim/sgd.py; caffe/src/caffe/solvers/sgd_solver.cpp, Regularize; keras/src/regularizers",
    needs=("regulariser",),
)
def regulariser_alone(units: Units) -> Column:
    """Mean over samples, the regulariser added as it is."""
    return units.column(per(units.n), regulariser=1)


def regulariser_over_n_loop(loop: Loop) -> None:
    ((loop.losses().sum() + loop.regulariser()) / loop.n).backward()


@convention(
    reference_loop=regulariser_over_n_loop,
    formula="(1/n) (Σ_u g_u + ∇R)",
    product="1/n",
    denominator="sample, for the data and the regulariser",
    used_by="scikit-learn MLPClassifier and MLPRegressor (alpha)",
    source="sklearn/neural_network/_multilayer_perceptron.py, _compute_loss_grad",
    needs=("regulariser",),
)
def regulariser_over_n(units: Units) -> Column:
    """The regulariser divided by n together with the data; with sample weights, both by their sum."""
    return units.column(per(units.n), regulariser=float(per(units.n)))
