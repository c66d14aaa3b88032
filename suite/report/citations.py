"""BibTeX for the suite, and for the papers and the citable sources of the conventions of a run.

Nothing is added to what the cards say: a paper has the entry of its card, an arXiv number or an address
is an `@misc`, and a source that is a file of a framework's code is named in a comment, which BibTeX skips.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from suite.machine.version import __version__

if TYPE_CHECKING:
    from suite.conventions import Convention
    from suite.papers.paper import Paper

YEAR = 2026

_ARXIV = re.compile(r"\barXiv (\d{4}\.\d{4,5})")
_ISSUE = re.compile(r"(?<![\w/.])([\w.-]+/[\w.-]+)#(\d+)")
_ADDRESS = re.compile(r"(?<![\w/.])(?:https?://)?((?:[\w-]+\.)+(?:com|org|net|io|edu)/[\w./?=-]+[\w/])")
_AUTHOR = re.compile(r"\b([A-Z][\w-]+) et al\.,? (\d{4})")


@dataclass
class MiscEntry:
    """One `@misc`, and the conventions that rest on it."""

    key: str
    title: str
    url: str
    conventions: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        kind = "convention" if len(self.conventions) == 1 else "conventions"
        return (
            f"@misc{{{self.key},\n  title = {{{{{_escape(self.title)}}}}},\n"
            f"  howpublished = {{\\url{{{self.url}}}}},\n"
            f"  note  = {{Source of {kind} {', '.join(self.conventions)}}}\n}}"
        )


def suite() -> str:
    """The entry of the suite itself."""
    return (
        "@software{gradsuite,\n"
        "  title   = {gradsuite: a reproducibility benchmark suite for gradient conventions},\n"
        "  author  = {{The gradsuite authors}},\n"
        f"  year    = {{{YEAR}}},\n"
        f"  version = {{{__version__}}},\n"
        "  license = {MIT}\n"
        "}"
    )


def entries(names: Iterable[str]) -> list[str]:
    """The entries of what conventions rest on, papers first, and a comment with the other sources.

    Args:
        names: of conventions; those that are not registered any more are passed over.
    """
    from suite.conventions import conventions
    from suite.papers.library import papers

    chosen = [conventions[name] for name in dict.fromkeys(names) if name in conventions]
    cards = list(papers)
    cited = {card.name: card for card in cards if {card.convention, *card.also} & {c.name for c in chosen}}
    found: dict[str, MiscEntry] = {}
    plain: list[str] = []
    for convention in chosen:
        of_papers, misc = _sources(convention, cards)
        cited |= {card.name: card for card in of_papers}
        for entry in misc:
            found.setdefault(entry.key, entry).conventions.append(convention.name)
        if not of_papers and not misc:
            plain.append(f"% {convention.name}: {convention.source}")
    comment = ["\n".join(["% Sources that are not to be cited by an entry:", *plain])] if plain else []
    cited_papers = dict.fromkeys(card.bibtex for card in cited.values())  # a variant has that of its card
    return [*cited_papers, *map(str, found.values()), *comment]


def _sources(convention: Convention, cards: list[Paper]) -> tuple[list[Paper], list[MiscEntry]]:
    """The papers with cards and the other citable things that a convention's card names."""
    text = f"{convention.source}; {convention.used_by}"
    numbers = dict.fromkeys(_ARXIV.findall(convention.source))
    papers = [card for card in cards if any(f"arXiv {number}" in card.reference for number in numbers)]
    authors = _AUTHOR.findall(text)
    papers += [c for c in cards if (c.authors[0].split()[-1], str(c.year)) in authors and c not in papers]
    known = " ".join(card.reference for card in papers)
    misc = [
        MiscEntry(f"arxiv-{number}", f"arXiv:{number}", f"https://arxiv.org/abs/{number}")
        for number in numbers
        if number not in known
    ]
    for repository, issue in _ISSUE.findall(convention.source):
        title = f"{repository}#{issue}"
        misc.append(MiscEntry(_key(title), title, f"https://github.com/{repository}/issues/{issue}"))
    misc += [
        MiscEntry(_key(address), address, f"https://{address}")
        for address in _ADDRESS.findall(convention.source)
    ]
    return papers, misc


def _key(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _escape(text: str) -> str:
    return re.sub(r"([_#&%$])", r"\\\1", text)
