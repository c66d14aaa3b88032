"""Papers: cards that say which convention and optimizer a paper trains with, and how that is known."""

from suite.papers.card import Paper, papers

__all__ = ["Paper", "papers"]
