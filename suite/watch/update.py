"""One audited update: a recovery, with its place in the run."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from suite.algebra.symbols import CLIP
from suite.recovery.result import Recovery
from suite.recovery.text import verdict

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False, repr=False)
class AuditedUpdate(Recovery):
    """The weights behind the gradient of one update: see `Recovery`, and `Findings` for its fields.

    Args:
        number: of the update in the run, from 0.
        microbatches: how many micro-batches it was made of, on all ranks.
        full: how many there are in a full window.
        last: whether it is the last one of its epoch, where somebody said so.
        factor: by what the gradient was multiplied after the last backward pass by clipping; 1 where it was
            not.
        beneath: what the gradient was before it was clipped; None where it was not.
        mistake: what was done to the gradient that nobody means, in one sentence; empty where nothing was.
        served: for each micro-batch, how many audited updates it has been in, this one included.
        notes: what else was seen, one sentence each.
    """

    number: int = 0
    microbatches: int = 1
    full: int = 1
    last: bool = False
    factor: float = 1.0
    beneath: Recovery | None = None
    mistake: str = ""
    served: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, found: Recovery, **more: Any) -> AuditedUpdate:
        """A recovery with its place in the run, in which nothing is run again."""
        values = {field.name: getattr(found, field.name) for field in fields(found)}
        return cls(**{**values, "restored": (), **more})

    @property
    def partial(self) -> bool:
        """Whether its window is not full."""
        return self.microbatches < self.full

    @property
    def over_full(self) -> bool:
        """Whether its window is not full, and was divided by the number of a full one."""
        found = self.beneath or self
        formula = found.formula
        return self.partial and (
            (formula is not None and "W" in formula.symbols)
            or ("partial-window-over-full-k" in found.names and found.scale == 1)
        )

    @property
    def kind(self) -> tuple[object, ...]:
        """What is the same in two updates that are made in the same way, whatever they are called."""
        found = self.beneath or self
        cause = found.cause.name if found.cause else None
        mistake = without_numbers(self.mistake)
        return found.linear, cause, found.norm == 0.0, mistake, self.over_full, bool(self.conventions)

    @property
    def conventions(self) -> frozenset[str]:
        """The names of what it computes at scale 1; empty where it computes no convention."""
        found = self.beneath or self
        return frozenset(found.names) if found.linear and found.scale == 1 else frozenset()

    @property
    def explained(self) -> bool:
        """Whether its weights have a name or a formula."""
        found = self.beneath or self
        explanation = found.explanation
        named = found.convention is not None or found.formula is not None
        return named or bool(explanation.by_part) or explanation.shape is not None

    @property
    def weighting(self) -> tuple[object, ...]:
        """What its weights are, where that is no convention."""
        found = self.beneath or self
        explanation = found.explanation
        formula = str(found.formula) if found.formula else str(explanation.by_part or explanation.shape)
        return formula, None if found.formula else explanation.constant or found.scale, found.names

    @property
    def place(self) -> str:
        """Which update it is: `update 31, the last window of the epoch, 1 of 4 micro-batches`."""
        last = ", the last window of the epoch" if self.last else ""
        some = f", {self.microbatches} of {self.full} micro-batches" if self.partial else ""
        return f"update {self.number}{last}{some}"

    @property
    def says(self) -> str:
        """What it computes, as part of a sentence."""
        found = self.beneath or self
        divided = f" (divided by the full K = {self.full})" if self.over_full else ""
        clipped = "" if self.beneath is None else f", then clipped by norm to {self.norm:.5g}"
        return f"{verdict(found)}{divided}{clipped}"

    @property
    def line(self) -> str:
        """One line for a logger."""
        return f"{self.place}: {self.says}; residual {self.residual:.2g}, norm {self.norm:.4g}"

    @property
    def clipped(self) -> bool:
        """Whether the gradient was seen to be clipped by its norm."""
        return self.beneath is not None or (self.formula is not None and CLIP in self.formula.symbols)

    def computes(self, name: str) -> bool:
        """Whether this update computes the convention of this name, clipped by its norm or not."""
        found = self.beneath or self
        scale = found.scale == 1 or (self.beneath is None and self.clipped)
        return self.linear and not self.mistake and name in found.names and scale

    @property
    def frame(self) -> pd.DataFrame:
        """The units table with weights and error bounds, and the number of the update."""
        found = super().frame
        found.insert(0, "update", self.number)
        return found


def without_numbers(says: str) -> str:
    """A sentence in which numbers do not count."""
    return re.sub(r"\d[\d.e+-]*(, \d+)*", "#", says)
