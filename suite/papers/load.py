"""Reading a card: a TOML file, its variants, and the check that what it names exists.

A fact on a card carries how it was verified: `measured` (the code was run: `ran` says which package's),
`code read`, `paper read`, `third party` (seen quoted or implemented elsewhere), or `not checked`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from suite.algebra.formula import Formula
from suite.errors import UsageError, one_line, unknown
from suite.papers.paper import CardGroup, Paper
from suite.papers.schema import (
    BATCH_SIZES_KNOWN,
    CARD,
    CARD_GRADIENT,
    CARD_GROUP,
    CARD_OPTIMIZER,
    CARD_SCHEDULE,
    CARD_VARIANT,
    check_card,
    check_texts,
)
from suite.papers.source import CodeSource, parse_source

LONGEST_CARD = 2**14
"""How many bytes a card may have: the longest built-in one has a fourth."""

_VARIANT = re.compile(r"^\[+variants\.([A-Za-z0-9-]+)", re.MULTILINE)


def variant_names(path: Path) -> list[str]:
    """The variants of a card, in its order; none where it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return []
    return list(dict.fromkeys(_VARIANT.findall(text)))


def load_card(path: Path | str, variant: str = "") -> Paper:
    """Read and check one card.

    Args:
        path: of the file.
        variant: which of its variants; the card itself if empty.

    Raises:
        UsageError: It cannot be read, or a key is missing, unknown or wrong; the message names the file
            and the key.
    """
    path = Path(path)
    card = _read(path)
    check_card(path.name, "", card, CARD)
    for name, changes in card.get("variants", {}).items():
        if not isinstance(changes, dict):
            raise UsageError(f"{path.name}: variants.{name} must be a table")
        check_card(path.name, f"variants.{name}.", changes, CARD_VARIANT)
    if variant:
        if variant not in card.get("variants", {}):
            raise unknown(f"variant of {path.stem}", variant, card.get("variants", {}))
        card = _changed(card, card["variants"][variant])
    paper = _paper(path, variant, card)
    _check_names(path.name, paper)
    return paper


def _read(path: Path) -> dict[str, Any]:
    try:
        content = path.read_bytes()
        if len(content) > LONGEST_CARD:  # tomllib takes a time that grows with the square of a key's length
            raise UsageError(f"{path.name}: has {len(content)} bytes; a card has {LONGEST_CARD} at most")
        return tomllib.loads(content.decode("utf-8").replace("\r\n", "\n"))
    except UsageError:
        raise
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path.name}: cannot be read: {one_line(error)}") from None
    except (ValueError, RecursionError) as error:  # a number of 5000 digits is no TOMLDecodeError
        raise UsageError(f"{path.name}: is no TOML: {one_line(error)}") from None


def _changed(card: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The card with what its variant says in place of its own; what is a table, key by key."""
    merged = dict(card)
    for key, value in changes.items():
        own = merged.get(key)
        if isinstance(own, dict) and isinstance(value, dict) and key != "hyperparameters":
            merged[key] = _changed(own, value)
        else:
            merged[key] = value
    if "verified" in changes and "ran" not in changes:
        merged.pop("ran", None)  # other code is said to be read: what was run was the card's
    return merged


def _paper(path: Path, variant: str, card: Mapping[str, Any]) -> Paper:
    file = path.name
    gradient, optimizer, schedule = card["gradient"], card["optimizer"], card.get("schedule", {})
    check_card(file, "gradient.", gradient, CARD_GRADIENT)
    check_card(file, "optimizer.", optimizer, CARD_OPTIMIZER)
    check_card(file, "schedule.", schedule, CARD_SCHEDULE)
    for where, table in (("gradient", gradient), ("optimizer", optimizer)):
        if (table["verified"] == "measured") != ("ran" in table):
            raise UsageError(
                f"{file}: {where}.verified = 'measured' and {where}.ran, the package's code that was run, "
                "belong together: give both, or neither"
            )
    moving = gradient.get("moving_start"), gradient.get("moving_decay")
    if (moving[0] is None) != (moving[1] is None):
        raise UsageError(
            f"{file}: gradient.moving_start and gradient.moving_decay belong together: give both"
        )
    if "clip_over" in gradient and "max_norm" not in gradient:
        raise UsageError(f"{file}: gradient.clip_over goes with gradient.max_norm: give the threshold")
    return Paper(
        name=f"{path.stem}:{variant}" if variant else path.stem,
        title=card["title"],
        authors=check_texts(file, "authors", card["authors"]),
        year=card["year"],
        reference=_reference(file, card),
        bibtex=card["bibtex"].strip(),
        convention=gradient["convention"],
        formula=_formula(file, gradient.get("formula", "")),
        also=check_texts(file, "gradient.also", gradient.get("also", [])),
        where=gradient["where"],
        sources=_sources(file, "gradient", gradient),
        verified=gradient["verified"],
        ran=gradient.get("ran", ""),
        dialect=optimizer["dialect"],
        optimizer=optimizer["name"],
        hyperparameters={
            name: tuple(value) if isinstance(value, list) else value
            for name, value in optimizer["hyperparameters"].items()
        },
        optimizer_where=optimizer["where"],
        optimizer_sources=_sources(file, "optimizer", optimizer),
        optimizer_verified=optimizer["verified"],
        optimizer_ran=optimizer.get("ran", ""),
        sizes={key: gradient[key] for key in BATCH_SIZES_KNOWN if key in gradient},
        max_norm=gradient.get("max_norm"),
        clip_over=gradient.get("clip_over", "all"),
        moving=None if moving[0] is None else (float(moving[0]), float(moving[1])),
        groups=_groups(file, card.get("groups", [])),
        warmup=schedule.get("warmup", ""),
        decay=schedule.get("decay", ""),
        port=gradient.get("port", "mean"),
        lost=gradient.get("lost", ""),
        notes=check_texts(file, "notes", card.get("notes", [])),
    )


def _formula(file: str, text: str) -> str:
    try:
        return str(Formula.parse(text)) if text else ""
    except ValueError as error:
        raise UsageError(f"{file}: gradient.{one_line(error).removeprefix('ValueError: ')}") from None


def _sources(file: str, where: str, table: Mapping[str, Any]) -> tuple[CodeSource, ...]:
    found = []
    for text in check_texts(file, f"{where}.sources", table.get("sources", [])):
        try:
            found.append(parse_source(text))
        except UsageError as error:
            raise UsageError(f"{file}: {where}.sources: {one_line(error)}") from None
    return tuple(found)


def _groups(file: str, groups: Any) -> tuple[CardGroup, ...]:
    found = []
    for number, group in enumerate(groups, 1):
        if not isinstance(group, dict):
            raise UsageError(f"{file}: groups must be a list of tables")
        check_card(file, f"groups[{number}].", group, CARD_GROUP)
        if len(group) == len([key for key, (_, needed) in CARD_GROUP.items() if needed]):
            raise UsageError(
                f"{file}: groups[{number}] says nothing: give lr_factor, weight_decay or gradient_factor"
            )
        found.append(CardGroup(**group))
    return tuple(found)


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
        conventions[paper.convention]
        key = "gradient.port"
        conventions[paper.port]
        key = "gradient.also"
        for name in paper.also:
            conventions[name]
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
