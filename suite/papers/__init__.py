"""Papers: cards that say which convention and optimizer a paper trains with, and how that is known."""

from suite.papers.library import papers
from suite.papers.paper import Paper

__all__ = ["Paper", "papers"]
