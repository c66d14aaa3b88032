"""The result of a recovery: as text, as a frame, as a figure, and for machines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite.figures import style, weights
from suite.recovery.findings import Findings
from suite.recovery.text import as_html, as_text

if TYPE_CHECKING:
    import pandas as pd


class Recovery(Findings):
    """The weights behind a gradient, and what can be said of them: see `Findings` for its fields."""

    @property
    def frame(self) -> pd.DataFrame:
        """The units table with weights, error bounds and what can be told."""
        return self.units.frame.assign(weight=self.weights, error=self.error, identifiable=self.identifiable)

    def card(self) -> dict[str, Any]:
        """All of it, for machines."""
        return {
            "samples": self.units.n,
            "weights": self.weights.tolist(),
            "error": self.error.tolist(),
            "identifiable": self.identifiable.tolist(),
            "groups": [
                {"units": g.units, "ratios": g.ratios, "total": g.total, "error": g.error}
                for g in self.groups
            ],
            "silent": self.silent,
            "residual": self.residual,
            "tolerance": self.tolerance,
            "rounding": self.rounding,
            "norm": self.norm,
            "condition": self.condition,
            "linear": self.linear,
            "spans": self.spans,
            "convention": self.convention and self.convention.name,
            "scale": self.scale,
            "formula": self.formula and str(self.formula),
            "formulas": [str(formula) for formula in self.formulas],
            "numbers": dict(self.explanation.numbers),
            "also": self.also,
            "unresolved": self.unresolved,
            "fault": self.fault and self.fault.name,
            "not_ruled_out": [{"fault": s.fault.name, "tell": s.tell} for s in self.suspects],
            "cause": self.cause and {"name": self.cause.name, "says": self.cause.says},
            "engine": self.engine,
            "drawn": self.drawn,
            "restored": self.restored,
            "solved_on": self.solved_on,
            "within": self.within,
        }

    def plot(self, path: str | Path, *, width: str = "two") -> None:
        """Draw the weights, a bar a unit, into a file that ends in .pdf, .svg or .png.

        Args:
            path: of the file.
            width: of one or of `two` columns of a page.

        Raises:
            UsageError: Another ending or width, matplotlib is missing, or the file cannot be written.
        """
        shown = weights.of_card(self.card())
        style.save(Path(path), width, lambda figure: weights.draw(figure, shown))

    def __str__(self) -> str:
        return as_text(self)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return as_html(self)
