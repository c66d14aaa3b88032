"""Print how to cite the suite, as BibTeX."""

from __future__ import annotations

import argparse

from suite.version import __version__

YEAR = 2026


def configure(parser: argparse.ArgumentParser) -> None:
    """`gradsuite cite` has no options."""


def execute(arguments: argparse.Namespace) -> int:
    """Print one BibTeX entry."""
    del arguments
    print(
        "@software{gradsuite,\n"
        "  title   = {gradsuite: a reproducibility benchmark suite for gradient conventions},\n"
        "  author  = {{The gradsuite authors}},\n"
        f"  year    = {{{YEAR}}},\n"
        f"  version = {{{__version__}}},\n"
        "  license = {MIT}\n"
        "}"
    )
    return 0
