"""Paper cards: which convention, optimizer and hyperparameters a paper trains with, and how that is known.

A card is a TOML file, the built-in ones in `cases/papers`. A fact on it carries how it was verified:
`measured`, `source read`, `paper read`, `third party` (seen quoted or implemented elsewhere), or
`not checked`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from suite.discovery import card_folders
from suite.errors import UsageError, one_line, unknown
from suite.papers.schema import CARD, GRADIENT, OPTIMIZER, check_card
from suite.registry import Registry

LONGEST_CARD = 2**14
"""How many bytes a card may have: the longest built-in one has a tenth."""
RATES = ("lr", "learning_rate", "base_lr", "learning_rate_init", "eta0")


@dataclass(frozen=True)
class Paper:
    """One card.

    Args:
        name: the card's file name without its ending, as people type it.
        title: of the paper.
        authors: in the paper's order.
        year: of the paper, or of the code where the card is about code.
        reference: where it is: arXiv number, DOI or address.
        bibtex: an entry to cite it with.
        convention: the convention of its gradient, a name in `suite.conventions`.
        also: conventions that its other texts or codes use instead.
        where: where it says so.
        verified: how that is verified, one of `suite.papers.schema.VERIFIED`.
        dialect: in which its optimizer is written, a name in `suite.equivalence.dialects`.
        optimizer: as that dialect calls it.
        hyperparameters: as that dialect spells them; those that the card does not know are left out.
        optimizer_where: where the paper says so.
        optimizer_verified: how that is verified, one of `suite.papers.schema.VERIFIED`.
        sizes: what is known of `batch_size`, `elements`, `micro_batches`, `ranks`,
            `expected_batch_size` and `max_elements`.
        max_norm: its clip threshold, or None.
        notes: what else is to know.
    """

    name: str
    title: str
    authors: tuple[str, ...]
    year: int
    reference: str
    bibtex: str
    convention: str
    also: tuple[str, ...]
    where: str
    verified: str
    dialect: str
    optimizer: str
    hyperparameters: Mapping[str, Any]
    optimizer_where: str
    optimizer_verified: str
    sizes: Mapping[str, int]
    max_norm: float | None
    notes: tuple[str, ...]

    @property
    def batch_size(self) -> int | None:
        """The batch size, if the card knows it."""
        return self.sizes.get("batch_size")

    @property
    def summary(self) -> str:
        """One line."""
        return f"{self.authors[0]} et al. {self.year}: {self.title}"

    @property
    def has_rate(self) -> bool:
        """Whether the card knows the learning rate."""
        return any(name in self.hyperparameters for name in RATES)

    def card(self) -> dict[str, Any]:
        """All that a person may want to know of it, for `gradsuite show`."""
        sizes = {name.replace("_", " "): value for name, value in self.sizes.items()}
        if self.max_norm is not None:
            sizes["max norm"] = self.max_norm  # type: ignore[assignment]  # a float among counts
        settings = ", ".join(f"{name}={value}" for name, value in self.hyperparameters.items())
        return {
            "paper": self.name,
            "title": self.title,
            "authors": ", ".join(self.authors),
            "year": self.year,
            "reference": self.reference,
            "convention": self.convention,
            "also": ", ".join(self.also),
            "says so": self.where,
            "verified": self.verified,
            "optimizer": f"{self.optimizer}({settings}), dialect {self.dialect}",
            "optimizer says so": self.optimizer_where,
            "optimizer verified": self.optimizer_verified,
            **sizes,
            "note": " ".join(self.notes),
        }


class Papers:
    """Cards by name; a card is read when it is asked for.

    Args:
        folder: holds the cards; those of all distributions if None: see `suite.discovery`.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    @cached_property
    def _files(self) -> dict[str, Path]:
        """The file of each card by its name."""
        folders = card_folders() if self._folder is None else (self._folder,)
        return {path.stem: path for folder in folders for path in sorted(folder.glob("*.toml"))}

    @property
    def names(self) -> list[str]:
        """The names of all cards, sorted."""
        return sorted(self._files)

    def __getitem__(self, name: str) -> Paper:
        if name not in self:
            raise unknown("paper", name, self.names)
        return load_card(self._files[name])

    def __contains__(self, name: str) -> bool:
        return name in self._files

    def __iter__(self) -> Iterator[Paper]:
        return (self[name] for name in self.names)

    def __len__(self) -> int:
        return len(self.names)

    def match(self, patterns: Sequence[str] = ()) -> list[Paper]:
        """The papers whose names match any of the glob `patterns`; all where there is none.

        Raises:
            UsageError: A pattern matches no name, or a card is broken.
        """
        registry: Registry[Paper] = Registry("paper")
        for paper in self:
            registry.add(paper)
        return registry.match(patterns)


papers = Papers()


def load_card(path: Path | str) -> Paper:
    """Read and check one card.

    Raises:
        UsageError: It cannot be read, or a key is missing, unknown or wrong; the message names the file
            and the key.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
        if len(content) > LONGEST_CARD:  # tomllib takes a time that grows with the square of a key's length
            raise UsageError(f"{path.name}: has {len(content)} bytes; a card has {LONGEST_CARD} at most")
        card = tomllib.loads(content.decode("utf-8").replace("\r\n", "\n"))
    except UsageError:
        raise
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path.name}: cannot be read: {one_line(error)}") from None
    except (ValueError, RecursionError) as error:  # a number of 5000 digits is no TOMLDecodeError
        raise UsageError(f"{path.name}: is no TOML: {one_line(error)}") from None
    check_card(path.name, "", card, CARD)
    gradient, optimizer = card["gradient"], card["optimizer"]
    check_card(path.name, "gradient.", gradient, GRADIENT)
    check_card(path.name, "optimizer.", optimizer, OPTIMIZER)
    for key, texts in (
        ("authors", card["authors"]),
        ("notes", card.get("notes", [])),
        ("gradient.also", gradient.get("also", [])),
    ):
        if not all(isinstance(text, str) and text for text in texts):
            raise UsageError(f"{path.name}: {key} must be a list of texts")
    hyperparameters = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in optimizer["hyperparameters"].items()
    }
    sizes = {key: value for key, value in gradient.items() if GRADIENT[key][0] is int}
    paper = Paper(
        name=path.stem,
        title=card["title"],
        authors=tuple(card["authors"]),
        year=card["year"],
        reference=_reference(path.name, card),
        bibtex=card["bibtex"].strip(),
        convention=gradient["convention"],
        also=tuple(gradient.get("also", [])),
        where=gradient["where"],
        verified=gradient["verified"],
        dialect=optimizer["dialect"],
        optimizer=optimizer["name"],
        hyperparameters=hyperparameters,
        optimizer_where=optimizer["where"],
        optimizer_verified=optimizer["verified"],
        sizes=sizes,
        max_norm=gradient.get("max_norm"),
        notes=tuple(card.get("notes", [])),
    )
    _check_names(path.name, paper)
    return paper


def _reference(file: str, card: Mapping[str, Any]) -> str:
    kinds = {"arxiv": "arXiv ", "doi": "doi:", "url": ""}
    found = [f"{prefix}{card[key]}" for key, prefix in kinds.items() if key in card]
    if not found:
        raise UsageError(f"{file}: one of arxiv, doi or url is needed")
    return ", ".join(found)


def _check_names(file: str, paper: Paper) -> None:
    """That convention, dialect, optimizer and hyperparameters exist."""
    from suite.conventions import conventions
    from suite.equivalence.dialects import dialects
    from suite.equivalence.laws import law

    key = "gradient.convention"
    try:
        for name in (paper.convention, *paper.also):
            conventions[name]
            key = "gradient.also"
        key = "optimizer.dialect"
        dialect = dialects[paper.dialect]
        key = "optimizer.name"
        if paper.dialect == "torch":
            found = law(paper.optimizer)
            key = "optimizer.hyperparameters"
            found.settings(paper.hyperparameters)
        else:
            written = dialect[paper.optimizer]
            key = "optimizer.hyperparameters"
            rate = next((p.name for p in written.parameters if p.key == "lr"), None)
            written.values(({rate: 1.0} if rate and not paper.has_rate else {}) | dict(paper.hyperparameters))
    except UsageError as error:
        raise UsageError(f"{file}: {key}: {one_line(error)}") from None
