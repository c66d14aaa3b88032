"""The cards by name: the built-in ones in `cases/papers`, and those of other distributions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from suite.discovery import card_folders
from suite.errors import unknown
from suite.papers.load import load_card, variant_names
from suite.papers.paper import Paper
from suite.registry import Registry


class Papers:
    """Cards and their variants by name; a card is read when it is asked for.

    Args:
        folder: holds the cards; those of all distributions if None: see `suite.discovery`.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    @cached_property
    def _files(self) -> dict[str, tuple[Path, str]]:
        """By name, the file of each card and which variant it is; the card itself has none."""
        folders = card_folders() if self._folder is None else (self._folder,)
        files = {path.stem: path for folder in folders for path in sorted(folder.glob("*.toml"))}
        found = {}
        for name in sorted(files):
            found[name] = files[name], ""
            for variant in variant_names(files[name]):
                found[f"{name}:{variant}"] = files[name], variant
        return found

    @property
    def names(self) -> list[str]:
        """The names of all cards, sorted, each followed by its variants."""
        return list(self._files)

    def __getitem__(self, name: str) -> Paper:
        if name not in self:
            raise unknown("paper", name, self.names, "gradsuite list papers")
        return load_card(*self._files[name])

    def __contains__(self, name: str) -> bool:
        return name in self._files

    def __iter__(self) -> Iterator[Paper]:
        return (self[name] for name in self.names)

    def __len__(self) -> int:
        return len(self.names)

    def match(self, patterns: Sequence[str] = ()) -> list[Paper]:
        """The papers whose names match any of the glob `patterns`; all where there is none.

        A variant is matched by patterns that begin with its card: `retinanet-2017:*`.

        Raises:
            UsageError: A pattern matches no name, or a card is broken.
        """
        registry: Registry[Paper] = Registry("paper")
        for paper in self:
            registry.add(paper)
        return registry.match(patterns) if patterns else list(registry)


papers = Papers()
