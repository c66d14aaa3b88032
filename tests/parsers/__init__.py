"""Whatever is read from outside, each with what is thrown at it: mutations of what is valid, and nonsense.

`python -m tests.parsers [NAME …] --minutes 10` searches for an input that ends in anything but a right
answer or one clear line, within a time limit; `test_parsers.py` does the same under Hypothesis' profiles.
"""

from __future__ import annotations

from tests.parsers import cards, cases, command_lines, kept, records, runs, steps, weights
from tests.parsers.parser import Parser

PARSERS: dict[str, Parser] = {
    parser.name: parser
    for parser in (
        records.PARSER,
        runs.PARSER,
        cards.PARSER,
        cases.PARSER,
        command_lines.PARSER,
        command_lines.SETTINGS,
        steps.PARSER,
        weights.PARSER,
        kept.PARSER,
    )
}
