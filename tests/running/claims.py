"""A thread with two claims, for the tests of runs."""

from suite.claim import Finding, claim


@claim("Two is two")
def two():
    """Counted."""
    return Finding("2", "holds", {"two": 2.0})


@claim("This can be measured")
def broken():
    """It cannot."""
    raise RuntimeError("no")


CLAIMS = (two, broken)
