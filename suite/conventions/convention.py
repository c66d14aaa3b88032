"""What a convention is, and the decorator that registers one."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from suite.algebra.formula import Formula
from suite.algebra.units import UNSTATED
from suite.registry import Registry

if TYPE_CHECKING:
    from suite.algebra.gram import Gram
    from suite.algebra.units import Column, Units
    from suite.loops.loop import Loop


@dataclass(frozen=True)
class Convention:
    """A named, citable way to make one gradient of a batch.

    Args:
        name: as people type it.
        family: the module that it is defined in (`averages`, `weights`, …).
        summary: one line.
        note: what else is to know; may be empty.
        formula: the reduced gradient, in the words of the units table.
        product: the coefficient of a unit as a product of quantities, or None where it is none; it says
            nothing of the regulariser.
        denominator: the unit that is counted in the denominator.
        used_by: who computes this.
        source: where that can be read.
        against: the convention that it is taken for, and so is compared with besides the reference.
        needs: what the units table must hold; keys of `suite.algebra.columns.NEEDS`.
        uses_gram: whether the coefficients depend on the Gram matrix.
        reference_loop: the literal loop, which leaves the gradient in `.grad`.
        column: the coefficients, from the units table (and the Gram matrix).
    """

    name: str
    family: str
    summary: str
    note: str
    formula: str
    product: Formula | None
    denominator: str
    used_by: str
    source: str
    against: str | None
    needs: tuple[str, ...]
    uses_gram: bool
    reference_loop: Callable[[Loop], None]
    column: Callable[..., Column]

    def missing(self, units: Units) -> str | None:
        """Why this convention does not apply to `units`, or None where it does."""
        reason = units.missing(self.needs)
        if reason is None and units.values is not None and self._counts_elements(units):
            return UNSTATED.format(units.values)
        return reason

    def _counts_elements(self, units: Units) -> bool:
        """Whether the coefficients would be others if each unit had twice the elements."""
        twice = replace(units, elements=2 * units.elements)
        gram = np.eye(len(units) if self.uses_gram else 0)
        return not np.array_equal(self.coefficients(units, gram), self.coefficients(twice, gram))

    def coefficients(self, units: Units, gram: Gram) -> Column:
        """`[units]` the coefficient of each unit."""
        return self.column(units, gram) if self.uses_gram else self.column(units)

    def card(self) -> dict[str, Any]:
        """All that a person may want to know of it, for `gradsuite show`."""
        return {
            "convention": self.name,
            "family": self.family,
            "summary": self.summary,
            "formula": self.formula,
            "unit of the denominator": self.denominator,
            "used by": self.used_by,
            "source": self.source,
            "compared with": self.against or "the reference",
            "needs": ", ".join(self.needs) or "nothing",
            "note": self.note,
        }


conventions: Registry[Convention] = Registry("convention")


def convention(
    *,
    reference_loop: Callable[[Loop], None],
    formula: str,
    denominator: str,
    used_by: str,
    source: str,
    needs: tuple[str, ...] = (),
    product: str | None = None,
    against: str | None = None,
    name: str | None = None,
) -> Callable[[Callable[..., Column]], Convention]:
    """Register the decorated function, which gives the coefficients, as a convention.

    The function takes the units table, and the Gram matrix if it has a second parameter. Its name
    (underscores become hyphens) is the convention's name unless `name` is given; its docstring is the
    summary and the note. `product` is its coefficient in the symbols of `suite.algebra.symbols`,
    `"1/(K·V_k)"`, where it is a product of quantities.

    Raises:
        UsageError: A convention of this name exists.
        ValueError: `product` is no product of known symbols.
    """

    def register(column: Callable[..., Column]) -> Convention:
        summary, _, note = inspect.cleandoc(column.__doc__ or "").partition("\n\n")
        return conventions.add(
            Convention(
                name=name or column.__name__.strip("_").replace("_", "-"),
                family=column.__module__.rpartition(".")[2],
                summary=" ".join(summary.split()),
                note=" ".join(note.split()),
                formula=formula,
                product=None if product is None else Formula.parse(product),
                denominator=denominator,
                used_by=used_by,
                source=source,
                against=against,
                needs=needs,
                uses_gram=len(inspect.signature(column).parameters) > 1,
                reference_loop=reference_loop,
                column=column,
            )
        )

    return register
