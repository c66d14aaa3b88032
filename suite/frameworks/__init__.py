"""Frameworks' own words for how losses become one gradient, each as a product over quantities.

A new word is one call of `word` in one of these modules. Where the framework can be installed, a test in
`tests/frameworks` runs it, and `known="run"` says so.
"""

from suite.frameworks.word import CodeLocation, Word, convention_of, convention_with, word, words

# The order of import is the order of the list.
from suite.frameworks import (  # isort: skip
    trainers,
    parallel,
    language,
    reinforcement,
    detection,
)

__all__ = [
    "CodeLocation",
    "Word",
    "convention_of",
    "convention_with",
    "detection",
    "language",
    "parallel",
    "reinforcement",
    "trainers",
    "word",
    "words",
]
