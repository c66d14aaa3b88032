"""Show the card of anything that `list` names."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap

from suite.cli.catalogue import KINDS, catalogue
from suite.errors import unknown
from suite.machine.terminal import columns_of

EPILOG = """\
examples:
  gradsuite show token-mean
  gradsuite show dqn-2015
  gradsuite show trl:grpo
  gradsuite show fault:kept-as-views --json
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `gradsuite show`."""
    parser.add_argument(
        "name", metavar="NAME", help="of a case, convention, framework's word, engine, paper, dialect or rule"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--cases", action="append", default=[], metavar="PATH", help="a file with cases")


def execute(arguments: argparse.Namespace) -> int:
    """Print the card.

    Raises:
        UsageError: Nothing has this name.
    """
    from suite.frameworks.word import framework_alone, words_of

    registries = [catalogue(kind, arguments.cases) for kind in KINDS]
    cards = [found[arguments.name].card() for found in registries if arguments.name in found]
    if not cards:
        framework, _, rest = arguments.name.partition(":")
        own = words_of(framework)
        if own and not rest:
            raise framework_alone(arguments.name, own)
        known = [name for registry in registries for name in registry.names]
        raise unknown("case, convention or anything else", arguments.name, known)
    if arguments.json:
        print(json.dumps(cards[0] if len(cards) == 1 else cards, indent=2, ensure_ascii=False))
        return 0
    print("\n\n".join(_text(card) for card in cards))
    return 0


def _text(card: dict[str, str]) -> str:
    width = max(map(len, card))
    indent = " " * (width + 2)
    lines = []
    for key, value in card.items():
        if value:
            lines += textwrap.wrap(
                f"{key:{width}}  {value}",
                width=min(columns_of(sys.stdout) or 100, 100),
                subsequent_indent=indent,
                break_on_hyphens=False,
                break_long_words=False,
            )
    return "\n".join(lines)
