"""The rows of a run by kind, and what follows from them: all that tables and figures are made of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from suite.algebra.symbols import LEGEND, SYMBOLS, in_legend
from suite.records.fields import Row
from suite.report.learning_rates import Formulas, formulas, learning_rates


@dataclass(frozen=True)
class RunRows:
    """What a run found.

    Args:
        rows: its records, in the order in which they were measured.
        optimizers: whose hyperparameters are tabulated besides SGD's learning rate.
    """

    rows: list[Row]
    optimizers: tuple[str, ...] = ("SGD",)

    def of(self, kind: str) -> list[Row]:
        """The rows of one kind: `discrepancy`, `pair`, `noise`, `training_check`, `claim`, …."""
        return [row for row in self.rows if row["kind"] == kind]

    @property
    def environment(self) -> Row:
        """Device, versions and the state of torch; reference and dtype of the rows where it says none."""
        found = self.of("environment")[0]
        first = next(iter(self.of("discrepancy")), {})
        said = {key: found.get(key) or first.get(key) for key in ("reference", "dtype")}
        return {**found, **said}

    @property
    def failures(self) -> list[Row]:
        """The cases and batches that could not be measured, each with its reason."""
        return self.of("failure")

    @cached_property
    def learning_rate_rows(self) -> list[Row]:
        """Rows of kind `learning_rate`, of the discrepancies, joined with the training checks."""
        return learning_rates(self.of("discrepancy"), self.optimizers, self.of("training_check"))

    @cached_property
    def formulas(self) -> Formulas:
        """The formula of the scale by case, convention and reference."""
        return formulas(self.of("discrepancy"))

    @property
    def legend(self) -> str:
        """What the symbols of these formulas mean."""
        used = {name for found in self.formulas.values() if found is not None for name in found.symbols}
        more = [f"{name} {s.meaning}" for name, s in SYMBOLS.items() if name in used and not in_legend(name)]
        return ", ".join([LEGEND, *more])
