"""The steps of papers as sources of claims: what a card says is put to the test by its step."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from suite.claim import Claim, ClaimSource


@dataclass(frozen=True)
class PaperStepSource(ClaimSource):
    """The claims of a paper's card, put to the test by its step, the `STEP` of the module.

    Args:
        card_file: the file of the card, which they depend on besides the code.
    """

    card_file: Path = Path()

    def claims(self) -> tuple[Claim, ...]:
        """What the card claims, and what people claim of its port."""
        from suite.replication.measure import claims_of

        return claims_of(import_module(self.module).STEP)

    @property
    def files(self) -> tuple[Path, ...]:
        """The card."""
        return (self.card_file,)
