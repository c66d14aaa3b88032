"""Caffe, AlexNet and MXNet, with the rate inside the velocity, and Darknet, with it outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from suite.equivalence.dialects import formulas
from suite.equivalence.dialects.dialect import (
    Dialect,
    Parameter,
    TranslationContext,
    Values,
    Written,
    dialects,
)

if TYPE_CHECKING:
    from suite.equivalence.dialects.translation import Translation

# weight_decay is coupled in all of these, λ/2·‖w‖²: added to the gradient, hence torch's own.
_RATE = Parameter("base_lr", "lr")
_STEP = Parameter("base_lr", "lr", exponent=-1)
_DECAY = Parameter("weight_decay", "l2", 0.0, 1)
_DELTA = Parameter("delta", "eps", 1e-8, 1)


def _inside(values: Values, context: TranslationContext) -> Translation:
    return formulas.sgd(values, context, inside=True)


def _nesterov(values: Values, context: TranslationContext) -> Translation:
    return formulas.sgd({**values, "nesterov": True}, context, inside=True)


def _outside(values: Values, context: TranslationContext) -> Translation:
    return formulas.sgd(values, context, inside=False)


def _adam(values: Values, _: TranslationContext) -> Translation:
    return formulas.adam(values, hat=True)


def _rmsprop(values: Values, context: TranslationContext) -> Translation:
    return formulas.rmsprop(values, context, root=False)


def _adagrad(values: Values, context: TranslationContext) -> Translation:
    return formulas.adagrad(values, context, root=False)


CAFFE = dialects.add(
    Dialect(
        name="caffe",
        summary="Caffe's solvers",
        source="caffe/src/caffe/solvers/*_solver.cpp; defaults in caffe.proto, SolverParameter",
        verified="code read",
        optimizers=(
            Written(
                "SGD",
                "v ← μv + η(g + λw), w ← w − v",
                (_STEP, Parameter("momentum", "momentum", 0.0), _DECAY),
                _inside,
            ),
            Written(
                "Nesterov",
                "v' ← μv + η(g + λw), w ← w − (1+μ)v' + μv",
                (_STEP, Parameter("momentum", "momentum", 0.0), _DECAY),
                _nesterov,
            ),
            Written("AdaGrad", "a ← a + g², w ← w − ηg/(√a + δ)", (_RATE, _DELTA, _DECAY), _adagrad),
            Written(
                "RMSProp",
                "v ← αv + (1−α)g², w ← w − ηg/(√v + δ)",
                (_RATE, Parameter("rms_decay", "alpha", 0.99), _DELTA, _DECAY),
                _rmsprop,
            ),
            Written(
                "AdaDelta",
                "w ← w − η √((u + δ)/(v + δ)) g",
                (
                    _STEP,
                    Parameter("momentum", "alpha"),
                    Parameter("delta", "eps", 1e-8, 2),
                    _DECAY,
                ),
                formulas.adadelta,
            ),
            Written(
                "Adam",
                "w ← w − η (√(1−β2^t)/(1−β1^t)) m/(√v + δ)",
                (
                    _RATE,
                    Parameter("momentum", "beta1", 0.0),
                    Parameter("momentum2", "beta2", 0.999),
                    _DELTA,
                    _DECAY,
                ),
                _adam,
            ),
        ),
    )
)

ALEXNET = dialects.add(
    Dialect(
        name="alexnet",
        summary="the update of Krizhevsky et al. 2012, section 5",
        source="Krizhevsky, Sutskever & Hinton 2012, section 5",
        verified="paper read",
        optimizers=(
            Written(
                "SGD",
                "v ← 0.9v − 0.0005·ηw − ηg, w ← w + v",
                (
                    Parameter("lr", "lr", exponent=-1),
                    Parameter("momentum", "momentum", 0.9),
                    Parameter("weight_decay", "l2", 0.0005, 1),
                ),
                _inside,
            ),
        ),
    )
)

MXNET = dialects.add(
    Dialect(
        name="mxnet",
        summary="Apache MXNet's sgd_mom_update",
        source="mxnet/src/operator/optimizer_op-inl.h, SGDMomKernel",
        verified="code read",
        optimizers=(
            Written(
                "SGD",
                "v ← μv − ηλw − ηg, w ← w + v",
                (
                    Parameter("learning_rate", "lr", exponent=-1),
                    Parameter("momentum", "momentum", 0.0),
                    Parameter("wd", "l2", 0.0, 1),
                ),
                _inside,
            ),
        ),
    )
)

DARKNET = dialects.add(
    Dialect(
        name="darknet",
        summary="Darknet's update of summed gradients",
        source="darknet/src/convolutional_layer.c, update_convolutional_layer",
        verified="code read",
        optimizers=(
            Written(
                "SGD",
                "u ← u + Σg − λnw, w ← w + (η/n)u, u ← μu: torch's step on the mean gradient",
                (
                    Parameter("learning_rate", "lr", exponent=-1),
                    Parameter("momentum", "momentum"),
                    Parameter("decay", "l2", exponent=1),
                ),
                _outside,
            ),
        ),
    )
)
