"""Where a fact of a card was read: a function of a file of a repository, at a commit."""

from __future__ import annotations

import re
from dataclasses import dataclass

from suite.errors import UsageError, shortened

_FORM = re.compile(r"([\w.-]+/[\w.-]+)@([0-9a-f]{7,40}):([^:\s]+):(\S.*)")


@dataclass(frozen=True)
class CodeSource:
    """One place in a repository.

    Args:
        repository: `owner/name` on GitHub.
        commit: seven or more digits of its hash.
        path: of the file in the repository.
        function: or the name of the setting, where the file is a configuration.
    """

    repository: str
    commit: str
    path: str
    function: str

    @property
    def url(self) -> str:
        """The file at that commit."""
        return f"https://github.com/{self.repository}/blob/{self.commit}/{self.path}"

    def __str__(self) -> str:
        return f"{self.repository}@{self.commit}:{self.path}:{self.function}"


def parse_source(text: str) -> CodeSource:
    """The source that `owner/name@commit:path:function` names.

    Raises:
        UsageError: It is not of this form.

    Examples:
        >>> parse_source("karpathy/nanoGPT@3adf61e:train.py:grad_clip").url
        'https://github.com/karpathy/nanoGPT/blob/3adf61e/train.py'
    """
    found = _FORM.fullmatch(text)
    if found is None:
        raise UsageError(f"{shortened(text)} is no source: owner/name@commit:path:function is needed")
    return CodeSource(*found.groups())
