"""A parser of command lines that answers a mistake in one line, with the word that was meant."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import NoReturn

from suite.errors import shortened, unknown

_CHOICE = re.compile(
    r"argument (?P<what>\S+): invalid choice: (?P<given>.*) \(choose from (?P<known>.*)\)", re.S
)
_NUMBER = re.compile(r"argument (?P<what>\S+): invalid (?P<kind>int|float) value: (?P<given>.*)", re.S)
_ONE = re.compile(r"argument (?P<what>\S+): expected (one argument|\d+ arguments)")
_KINDS = {"int": "a whole number", "float": "a number"}
MAY_BE_EMPTY = ("--caption", "--label")
"""Options whose value may be no text."""
_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"
"""What word processors make of a hyphen."""


class Parser(argparse.ArgumentParser):
    """Answers a wrong option with one line instead of the whole usage."""

    hint = ""
    """What else is to say of an option that there is not."""

    def parse_known_args(  # type: ignore[override]  # argparse has two overloads of it
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse all of the words: what is left over is named here, where the options are known."""
        self._require_words(list(args or ()))
        found, rest = super().parse_known_args(args, namespace)
        if rest:
            self.error(self._left_over(rest[0]))
        return found, rest

    def _require_words(self, words: list[str]) -> None:
        """Refuse words without a letter: a shell makes them of a variable that is not set."""
        for before, word in zip(["", *words], words, strict=False):
            option = before if word == "" else word[:-1] if re.fullmatch(r"--[\w-]+=", word) else None
            if option is not None and option not in MAY_BE_EMPTY:
                after = f" after {option}" if option else ""
                self.error(f"there is nothing{after}: is a variable of the shell not set?")

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and end with 2."""
        # What was given may have several lines.
        said = " ".join(_plainly(message, f"{self.prog} --help").split())
        then = " " if said.endswith("?") else "; "
        self.exit(2, f"{self.prog}: {said}{then}`{self.prog} --help` shows what is allowed\n")

    def _left_over(self, word: str) -> str:
        """What is wrong with a word that nothing takes."""
        options = list(self._option_string_actions)
        if word[0] in _DASHES:
            return f"{word!r} begins with a dash that is no hyphen: type --{word.lstrip(_DASHES + '-')}"
        if word.startswith("-"):
            name = word.partition("=")[0]
            longer = [option for option in options if option.startswith(name)] if name != "-" else []
            same = [option for option in options if option.lstrip("-") == name.lstrip("-")]
            said = str(unknown("option", name, options, f"{self.prog} --help", meant=(same or longer)[:3]))
            return said + (" " if said.endswith("?") else "; ") * bool(self.hint) + self.hint
        by_name = ": cases are chosen by --case" if "--case" in options else ""
        return f"{shortened(word)} is one word too many{by_name}"


def _plainly(message: str, listed: str) -> str:
    """What argparse says, with the nearest of the allowed words, or the kind of number that is needed."""
    if wrong := _CHOICE.fullmatch(message):
        known = [name.strip().strip("'\"") for name in wrong["known"].split(",")]
        what = wrong["what"].lower() if wrong["what"].isupper() else wrong["what"]
        return str(unknown(what, wrong["given"].strip("'\""), known, listed))
    if wrong := _NUMBER.fullmatch(message):
        return f"{wrong['what']}: {_KINDS[wrong['kind']]} is needed, {wrong['given']} was given"
    if wrong := _ONE.fullmatch(message):
        return f"{message}; what begins with a hyphen is written {wrong['what']}=VALUE"
    return message
