"""Dialects: the same optimizer as others write it, said in `torch.optim`'s words.

>>> translate("keras", "SGD", {"l2": 0.01}).hyperparameters
{'lr': 0.01, 'weight_decay': 0.02}
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from suite.equivalence.dialects.apply import prepare
from suite.equivalence.dialects.dialect import (
    Dialect,
    Parameter,
    TranslationContext,
    Written,
    dialects,
    rate_schedule,
)
from suite.equivalence.dialects.factors import momentum_correction
from suite.equivalence.dialects.scaling import scaled
from suite.equivalence.dialects.translation import PARAM, Schedule, Translation
from suite.equivalence.law import Scale, check_scale
from suite.errors import UsageError

# The order of import is the order of the tables.
from suite.equivalence.dialects import (  # isort: skip
    torch_,
    keras,
    tf1,
    optax,
    sklearn,
    caffe,
    published,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "PARAM",
    "Dialect",
    "Parameter",
    "Schedule",
    "Translation",
    "TranslationContext",
    "Written",
    "caffe",
    "dialects",
    "keras",
    "momentum_correction",
    "optax",
    "prepare",
    "published",
    "rescale",
    "scaled",
    "sklearn",
    "tf1",
    "torch_",
    "translate",
]


def translate(
    dialect: str,
    optimizer: str,
    hyperparameters: Mapping[str, Any],
    *,
    batch_size: int | None = None,
    steps: int | None = None,
) -> Translation:
    """An optimizer of a dialect as one of `torch.optim`.

    Args:
        dialect: a name in `dialects`.
        optimizer: as the dialect calls it.
        hyperparameters: in the dialect's or in torch's spelling; what is left out has the dialect's
            default. `lr` may be a sequence with one rate a step, or a function of the step.
        batch_size: n, where the dialect divides by it (scikit-learn's `alpha`).
        steps: for how many steps schedules are printed.

    Returns:
        The optimizer and its hyperparameters in `torch.optim`, whether they are exact, and what the training
        loop must do besides.

    Raises:
        UsageError: The dialect, the optimizer or a hyperparameter is unknown, wrong or missing, or
            `torch.optim` has nothing that comes near.

    Examples:
        Keras writes `l2 · w²` where torch writes `weight_decay · w²/2`:

        >>> from suite import translate
        >>> found = translate("keras", "SGD", {"l2": 0.01})
        >>> found.python, found.exact
        ('torch.optim.SGD(model.parameters(), lr=0.01, weight_decay=0.02)', True)
    """
    if batch_size is not None and batch_size < 1:
        raise UsageError(f"batch_size is {batch_size}; it must be at least 1")
    if steps is not None and steps < 1:
        raise UsageError(f"steps is {steps}; it must be at least 1")
    if dialect == "torch":
        return replace(torch_.passed(optimizer, hyperparameters), steps=steps)
    written = dialects[dialect][optimizer]
    if written.translate is None:
        raise UsageError(f"{dialect} {written.name} has no translation: {written.missing}")
    constant, rate = _split_rate(written, hyperparameters)
    values = written.values(constant)
    try:
        translation = written.translate(values, TranslationContext(batch_size=batch_size, rate=rate))
    except (ZeroDivisionError, OverflowError) as error:
        shown = ", ".join(f"{name}={value!r}" for name, value in values.items())
        raise UsageError(
            f"{dialect} {written.name} has no translation with {shown}: {error}; give other numbers"
        ) from error
    schedule = dict(translation.schedule)
    if rate is not None:
        schedule.setdefault("lr", rate)
    return replace(translation, dialect=dialect, written=written.name, schedule=schedule, steps=steps)


def rescale(dialect: str, optimizer: str, hyperparameters: Mapping[str, Any], scale: Scale) -> dict[str, Any]:
    """The dialect's own hyperparameters that take the same steps with `scale` times the gradient.

    Args:
        dialect: a name in `dialects`, but not `torch`, whose laws are `suite.equivalence.laws`.
        optimizer: as the dialect calls it.
        hyperparameters: in the dialect's or in torch's spelling.
        scale: s > 0, the new gradient over the old.

    Returns:
        All hyperparameters in the dialect's spelling, defaults filled in.

    Raises:
        UsageError: Something is unknown or wrong, or no constants absorb the scale.
    """
    check_scale(scale)
    if dialect == "torch":
        raise UsageError("PyTorch's own optimizers have laws: use suite.equivalence.equivalent")
    written = dialects[dialect][optimizer]
    if not written.parameters:
        raise UsageError(f"{dialect} {written.name} is not worked out: {written.missing}")
    if written.unscaled:
        raise UsageError(f"{dialect} {written.name}: {written.unscaled}")
    values = written.values(hyperparameters)
    return {p.name: p.scaled(values, scale) for p in written.parameters}


def _split_rate(
    written: Written, hyperparameters: Mapping[str, Any]
) -> tuple[dict[str, Any], Schedule | None]:
    """The hyperparameters with the first step's rate, and the rates of all steps if they differ."""
    constant = dict(hyperparameters)
    names = [name for p in written.parameters if p.key == "lr" for name in (p.name, p.key)]
    for name in names:
        rate = rate_schedule(constant.get(name), written.name)
        if rate is not None:
            constant[name] = rate(1)
            return constant, rate
    return constant, None
