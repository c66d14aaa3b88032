"""Named things and how they are found: one registry a kind, no duplicates, near misses answered."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence
from typing import Generic, Protocol, TypeVar

from suite.errors import UsageError, shortened, unknown

ON_REQUEST = ("large/",)
"""Of names that are matched only when they are asked for by these."""


class Named(Protocol):
    """Anything with a name of its own."""

    @property
    def name(self) -> str:
        """As people type it."""


Member = TypeVar("Member", bound=Named)


class Registry(Generic[Member]):
    """Items of one kind by name, in the order in which they were added."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._items: dict[str, Member] = {}

    def add(self, item: Member) -> Member:
        """Add `item` and return it.

        Raises:
            UsageError: Another item has this name already.
        """
        if item.name in self._items:
            raise UsageError(f"two {self.kind}s are named {item.name!r}: give one of them another name")
        self._items[item.name] = item
        return item

    def remove(self, name: str) -> None:
        """Forget an item, as if it had not been added."""
        del self._items[name]

    def __getitem__(self, name: str) -> Member:
        if not isinstance(name, str):  # one of the items stands for its name
            if any(name is item for item in self):
                return name
            raise UsageError(f"{shortened(name)} is no name of a {self.kind}: a text is needed")
        try:
            return self._items[name]
        except KeyError:
            raise unknown(self.kind, name, self._items) from None

    def __contains__(self, name: str) -> bool:
        return name in self._items

    def __iter__(self) -> Iterator[Member]:
        return iter(self._items.values())

    def __len__(self) -> int:
        return len(self._items)

    @property
    def names(self) -> list[str]:
        """All names, in the order in which they were added."""
        return list(self._items)

    def match(self, patterns: Sequence[str] = ()) -> list[Member]:
        """The items whose names match any of the glob `patterns`; `*` where there is none.

        A name with a prefix (`fault:…`, `large/…`) matches only patterns that begin with it.

        Raises:
            UsageError: A pattern matches no name.
        """
        patterns = patterns or ("*",)
        for pattern in patterns:
            if not any(_matches(name, pattern) for name in self._items):
                raise unknown(self.kind, pattern, self._items)
        return [
            item for name, item in self._items.items() if any(_matches(name, pattern) for pattern in patterns)
        ]


def _matches(name: str, pattern: str) -> bool:
    prefix, colon, _ = name.partition(":")
    asked = prefix + colon if colon else next((p for p in ON_REQUEST if name.startswith(p)), "")
    return fnmatch.fnmatchcase(name, pattern) and pattern.startswith(asked)
