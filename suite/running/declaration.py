"""How an option is declared: a field of a dataclass, from which all that needs the option derives.

`add_to` and `parsed` are for a command line, `checked` and `for_workers` for what was given, `documented` for
a docstring. See `suite.running.options` for the options of a run.
"""

from __future__ import annotations

import argparse
import dataclasses
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

Options = TypeVar("Options")
"""A frozen dataclass, each field of which is an `option`."""

Check = Callable[[Any], Any]


@dataclass(frozen=True)
class Option:
    """How one option is written, checked and passed on.

    Args:
        flags: on the command line; none where it has no such option.
        help: for `gradsuite run --help`.
        about: for the documentation of `suite.run`.
        type: what the command line makes of the word that was given.
        metavar: the name of that word.
        repeatable: whether the command line takes it several times.
        check: gives the value as it is used; raises `UsageError` for what is not allowed.
        worker: whether workers get it, too.
    """

    flags: tuple[str, ...]
    help: str
    about: str
    type: Callable[[str], Any] | None
    metavar: str | None
    repeatable: bool
    check: Check | None
    worker: bool

    def add_to(self, parser: argparse.ArgumentParser, name: str, default: object) -> None:
        """Let `parser` take it. What was not given is absent from the namespace."""
        more: dict[str, Any] = {"dest": name, "default": argparse.SUPPRESS, "help": self.help}
        if default is False:
            more |= {"action": "store_true"}
        elif default is True:
            negated = self.flags[0].startswith("--no-")
            more |= {"action": "store_false" if negated else argparse.BooleanOptionalAction}
        else:
            more |= {"action": "append" if self.repeatable else "store"}
            more |= {"type": self.type, "metavar": self.metavar}
        parser.add_argument(*self.flags, **more)


def option(
    *flags: str,
    default: Any,
    help: str,  # noqa: A002  as argparse calls it
    about: str,
    type: Callable[[str], Any] | None = None,  # noqa: A002  as argparse calls it
    metavar: str | None = None,
    repeatable: bool = False,
    check: Check | None = None,
    worker: bool = False,
) -> Any:
    """A field that declares an option: see `Option`. The command line shows `default` where it is a word."""
    if isinstance(default, str | int) and not isinstance(default, bool):
        help = f"{help} (default: {default})"  # noqa: A001  as argparse calls it
    declared = Option(flags, help, about, type, metavar, repeatable, check, worker)
    return field(default=default, metadata={"option": declared})


def declared(options: type) -> Iterator[tuple[str, Any, Option]]:
    """The name, the default and the declaration of each option, in order."""
    for declaration in dataclasses.fields(options):
        yield declaration.name, declaration.default, declaration.metadata["option"]


def add_to(parser: argparse.ArgumentParser, options: type) -> None:
    """Let `parser` take all that have flags."""
    for name, default, declaration in declared(options):
        if declaration.flags:
            declaration.add_to(parser, name, default)


def parsed(arguments: argparse.Namespace, options: type) -> Mapping[str, Any]:
    """What was given on the command line, by the name of the option."""
    names = {name for name, _, _ in declared(options)}
    return {name: value for name, value in vars(arguments).items() if name in names}


def checked(options: Options) -> Options:
    """The options as they are used.

    Raises:
        UsageError: One of them is not allowed.
    """
    given = ((name, getattr(options, name), declaration) for name, _, declaration in declared(type(options)))
    return type(options)(**{name: one.check(value) if one.check else value for name, value, one in given})


def for_workers(options: Options) -> Options:
    """What workers get: options that are none of their business have their defaults."""
    kept = {name: getattr(options, name) for name, _, o in declared(type(options)) if o.worker}
    return type(options)(**kept)


def documented(options: type) -> str:
    """The lines of the section `Args` of a docstring."""
    lines = (
        textwrap.fill(f"{name}: {one.about}", 108, initial_indent=" " * 8, subsequent_indent=" " * 12)
        for name, _, one in declared(options)
    )
    return "\n".join(lines)
