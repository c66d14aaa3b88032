"""Known mistakes that a batch cannot rule out: what they leave here, an innocent loop leaves too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from suite.conventions import Convention
from suite.recovery.correct_loops import composition, innocent
from suite.recovery.other_batch import SEVERAL, UNEQUAL, other_batch

if TYPE_CHECKING:
    from suite.algebra.units import Units
    from suite.recovery.correct_loops import Slack
    from suite.recovery.solve import Root


@dataclass(frozen=True)
class Suspect:
    """A known mistake that has the weights of an innocent loop on this batch.

    Args:
        fault: the mistake.
        tell: what a batch must be like to tell the two apart; None where they are the same on every batch,
            so that only what was meant makes a mistake of it.
        shows: whether the mistake would change anything on this batch.
    """

    fault: Convention
    tell: str | None
    shows: bool

    @property
    def says(self) -> str:
        """One sentence."""
        if self.tell is None:
            summary = self.fault.summary
            return f"If {self.fault.against} was meant: {summary[0].lower()}{summary[1:]}"
        return f"This batch cannot rule out {self.fault.name}; a batch {self.tell} would."


def suspects(
    faults: Sequence[Convention],
    innocents: Sequence[Convention],
    root: Root,
    slack: Slack,
    units: Units,
) -> list[Suspect]:
    """Those of `faults` for which there is an innocent explanation: all of them, or none.

    Args:
        faults: the known mistakes that have these weights at scale 1.
        innocents: the other conventions that have them.
        root: the units' gradients, and the gradient as the last column.
        slack: the norm that rounding may leave of `g − Gᵀc`, for coefficients `c`.
        units: the units table.
    """
    if not faults:
        return []
    explanations = [convention.coefficients for convention in innocents]
    if not explanations:
        name = innocent(root, slack, units)
        explanations = [] if name is None else [partial(composition, name)]
    names = {convention.name for convention in innocents}
    found = []
    for fault in faults if explanations else ():
        tell = other_batch(fault.coefficients, explanations, units)
        # Where nobody said how many elements there are, nobody is suspected of counting them wrongly.
        unheard = tell in (SEVERAL, UNEQUAL) and bool((units.elements[units.data] == 1).all())
        found.append(Suspect(fault, tell, shows=fault.against not in names and not unheard))
    return found
