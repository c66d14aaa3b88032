"""The search for counter-examples, in the suite itself and in anybody's reduction."""

from suite.fuzz.search import Found, search
from suite.fuzz.target import Target

__all__ = ["Found", "Target", "search"]
