"""What an audit tells the run that it looks at."""

from __future__ import annotations


class AuditWarning(UserWarning):
    """An audit could not do its work. The training goes on as if there were none."""


class UnexpectedUpdateError(AssertionError):
    """An update computes another convention than the one that was expected."""
