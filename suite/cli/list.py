"""List cases, claims, conventions, frameworks' words, engines, papers, dialects and batch-size rules."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap

from suite.cli.catalogue import KINDS, catalogue
from suite.machine.terminal import columns_of

EPILOG = """\
examples:
  gradsuite list
  gradsuite list conventions
  gradsuite list frameworks
  gradsuite list papers --json
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `gradsuite list`."""
    parser.add_argument("kind", nargs="?", choices=KINDS, help="one kind only")
    parser.add_argument("--json", action="store_true", help="print the cards as JSON")
    parser.add_argument("--cases", action="append", default=[], metavar="PATH", help="a file with cases")


def execute(arguments: argparse.Namespace) -> int:
    """Print names with their summaries, or cards as JSON."""
    chosen = [arguments.kind] if arguments.kind else KINDS
    found = {kind: list(catalogue(kind, arguments.cases)) for kind in chosen}
    if arguments.json:
        cards = {kind: [item.card() for item in items] for kind, items in found.items()}
        print(json.dumps(cards, indent=2, ensure_ascii=False))
        return 0
    if sys.flags.optimize > 1:
        print("No summaries: Python runs with -OO, which drops docstrings.", file=sys.stderr)
    for kind, items in found.items():
        print(f"{kind}:")
        width = max((len(item.name) for item in items), default=0)
        for item in items:
            line = f"  {item.name:{width}}  {item.summary}"
            room = columns_of(sys.stdout)
            print(line if room is None else textwrap.fill(line, room, subsequent_indent=" " * (width + 4)))
    return 0
