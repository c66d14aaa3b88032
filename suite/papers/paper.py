"""What a card says of a paper: its convention, optimizer and hyperparameters, and how that is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from suite.papers.source import CodeSource
from suite.papers.unstated import unstated_text

if TYPE_CHECKING:
    from suite.claim import ClaimSource

RATES = ("lr", "learning_rate", "base_lr", "learning_rate_init", "eta0")


@dataclass(frozen=True)
class CardGroup:
    """Parameters that are trained otherwise than the others.

    Args:
        parameters: which, in words.
        select: which, for a model: one of `suite.papers.schema.SELECT`.
        lr_factor: what multiplies the rate.
        weight_decay: in place of the optimizer's, or None where it is the same.
        gradient_factor: what multiplies the gradient, which other parameters' is not.
    """

    parameters: str
    select: str
    lr_factor: float = 1.0
    weight_decay: float | None = None
    gradient_factor: float = 1.0

    def __str__(self) -> str:
        says = [f"lr × {self.lr_factor:g}"] if self.lr_factor != 1 else []
        says += [f"weight decay {self.weight_decay:g}"] if self.weight_decay is not None else []
        says += [f"gradient × {self.gradient_factor:g}"] if self.gradient_factor != 1 else []
        return f"{self.parameters}: {', '.join(says)}"


@dataclass(frozen=True)
class Paper:
    """One card, or a variant of one.

    Args:
        name: the card's file name without its ending, as people type it; `card:variant` for a variant.
        title: of the paper.
        authors: in the paper's order.
        year: of the paper, or of the code where the card is about code.
        reference: where it is: arXiv number, DOI or address.
        bibtex: an entry to cite it with.
        convention: the convention of its gradient, a name in `suite.conventions`.
        formula: the coefficient of a unit as a product of symbols, where it is another than the convention's;
            empty where it is that.
        also: conventions that its other texts or codes use instead.
        where: where it says so.
        sources: the code that says so.
        verified: how that is verified, one of `suite.papers.schema.VERIFIED`.
        ran: the package and the function that were run, where it is measured.
        dialect: in which its optimizer is written, a name in `suite.equivalence.dialects`.
        optimizer: as that dialect calls it.
        hyperparameters: as that dialect spells them; those that the card does not know are left out.
        optimizer_where: where the paper says so.
        optimizer_sources: the code that says so.
        optimizer_verified: how that is verified, one of `suite.papers.schema.VERIFIED`.
        optimizer_ran: the package and the function that were run, where it is measured.
        sizes: what is known of `batch_size`, `elements`, `micro_batches`, `ranks`,
            `expected_batch_size` and `max_elements`.
        max_norm: its clip threshold, or None.
        clip_over: what is clipped to it at a time, one of `suite.papers.schema.CLIPPED_OVER`.
        moving: where a moving average of counts divides, the value that it starts from and its decay.
        groups: the parameters that are trained otherwise.
        warmup: how the rate begins.
        decay: how it goes on.
        port: the convention of what people write in PyTorch in its place.
        lost: what no hyperparameter of a port makes up for.
        notes: what else is to know.
    """

    name: str
    title: str
    authors: tuple[str, ...]
    year: int
    reference: str
    bibtex: str
    convention: str
    formula: str
    also: tuple[str, ...]
    where: str
    sources: tuple[CodeSource, ...]
    verified: str
    ran: str
    dialect: str
    optimizer: str
    hyperparameters: Mapping[str, Any]
    optimizer_where: str
    optimizer_sources: tuple[CodeSource, ...]
    optimizer_verified: str
    optimizer_ran: str
    sizes: Mapping[str, int]
    max_norm: float | None
    clip_over: str
    moving: tuple[float, float] | None
    groups: tuple[CardGroup, ...]
    warmup: str
    decay: str
    port: str
    lost: str
    notes: tuple[str, ...]

    @property
    def batch_size(self) -> int | None:
        """The batch size, if the card knows it."""
        return self.sizes.get("batch_size")

    @property
    def summary(self) -> str:
        """One line."""
        among = f"{self.authors[0]} et al." if len(self.authors) > 1 else self.authors[0]
        variant = self.name.partition(":")[2]
        return f"{among} {self.year}: {self.title}{f' ({variant})' if variant else ''}"

    @property
    def has_rate(self) -> bool:
        """Whether the card knows the learning rate."""
        return any(name in self.hyperparameters for name in RATES)

    @property
    def weights(self) -> str:
        """What a unit's gradient is multiplied with, as a formula; empty where it is no product."""
        from suite.conventions import conventions

        return self.formula or str(conventions[self.convention].product or "")

    @property
    def clipping(self) -> str:
        """How it clips, in words; empty where it does not."""
        if self.max_norm is None:
            return ""
        over = {
            "all": "the norm of all parameters",
            "tensor": "the norm of each parameter tensor",
            "entry": "each entry",
            "unit": "each unit's norm",
            "micro-batch": "the norm of each micro-batch's gradient",
            "rank": "the norm of each rank's gradient",
            "group": "the norm of each layer's gradient",
        }[self.clip_over]
        return f"{over} at {self.max_norm:g}"

    @property
    def step(self) -> ClaimSource | None:
        """The step that was written from its code or text and is held against this card, if there is one."""
        from suite.claim import STEP_PREFIX
        from suite.discovery import load_claims

        name = f"{STEP_PREFIX}{self.name}"
        return next((source for source in load_claims() if source.name == name), None)

    def card(self) -> dict[str, Any]:
        """All that a person may want to know of it, for `gradsuite show`."""
        settings = ", ".join(f"{name}={value}" for name, value in self.hyperparameters.items())
        step = "" if self.step is None else f"gradsuite run --case {self.step.name}"
        if self.step is not None and self.step.tested:
            step = f"agrees with this card: {step}"
        moving = ""
        if self.moving is not None:
            moving = f"starts at {self.moving[0]:g}, decay {self.moving[1]:g}"
        return {
            "paper": self.name,
            "title": self.title,
            "authors": ", ".join(self.authors),
            "year": self.year,
            "reference": self.reference,
            "convention": self.convention,
            "formula": self.weights,
            "also": ", ".join(self.also),
            "says so": self.where,
            "read at": "; ".join(map(str, self.sources)),
            "verified": self.verified,
            "ran": self.ran,
            "step": step,
            "optimizer": f"{self.optimizer}({settings}), dialect {self.dialect}",
            "not stated": unstated_text(self),
            "optimizer says so": self.optimizer_where,
            "optimizer read at": "; ".join(map(str, self.optimizer_sources)),
            "optimizer verified": self.optimizer_verified,
            "optimizer ran": self.optimizer_ran,
            **{name.replace("_", " "): value for name, value in self.sizes.items()},
            "clipping": self.clipping,
            "moving denominator": moving,
            "groups": "; ".join(map(str, self.groups)),
            "warm-up": self.warmup,
            "schedule": self.decay,
            "cannot be matched": self.lost,
            "note": " ".join(self.notes),
        }
