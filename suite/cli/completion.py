"""Print what a shell needs to complete the commands, options and names of `gradsuite`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

SHELLS = ("bash", "zsh", "fish")

EPILOG = """\
examples:
  gradsuite completion bash  for the end of ~/.bashrc
  gradsuite completion zsh   for the end of ~/.zshrc
  gradsuite completion fish  for ~/.config/fish/completions/gradsuite.fish

Commands, options, their choices and the names of `gradsuite list` are completed, files by the shell.
The names are those of this version: make the script anew after an update.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `gradsuite completion`."""
    parser.add_argument("shell", choices=SHELLS, help="which shell")


def execute(arguments: argparse.Namespace) -> int:
    """Print the script."""
    words, names = _words(), _names()
    if arguments.shell == "fish":
        print(_fish(words, names))
    else:
        print(_bash(words, names, zsh=arguments.shell == "zsh"))
    return 0


def _names() -> Mapping[str, Sequence[str]]:
    """By option, the names that may follow it; those that `show` takes under its own name."""
    from suite.cli.catalogue import KINDS, catalogue
    from suite.equivalence.laws import LAWS

    known = {kind: list(catalogue(kind).names) for kind in KINDS}
    ends = known["conventions"] + known["frameworks"]
    return {
        "--case": known["cases"] + known["claims"],
        "--convention": known["conventions"],
        "--engine": known["engines"],
        "--expect": known["conventions"],
        "--from": ends,
        "--to": ends,
        "--paper": known["papers"],
        "--optimizer": list(LAWS.names),
        "show": list(dict.fromkeys(name for names in known.values() for name in names)),
    }


def _words() -> Mapping[str, Sequence[str]]:
    """By command, what may follow it: its options, and the choices of what has some."""
    from suite.cli.main import parser

    (commands,) = (a for a in parser()._actions if isinstance(a, argparse._SubParsersAction))  # noqa: SLF001
    found: dict[str, list[str]] = {}
    for name, command in commands.choices.items():
        words: list[str] = []
        for action in command._actions:  # noqa: SLF001  argparse has no other way to ask
            words += [option for option in action.option_strings if option.startswith("--")]
            words += [str(choice) for choice in action.choices or ()]
        found[name] = list(dict.fromkeys(words))
    return found


def _bash(words: Mapping[str, Sequence[str]], names: Mapping[str, Sequence[str]], *, zsh: bool) -> str:
    cases = "\n".join(f"    {name}) words={' '.join(options)!r} ;;" for name, options in words.items())
    named = "\n".join(f"    {name}) words={' '.join(found)!r} files= ;;" for name, found in names.items())
    head = "autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n" if zsh else ""
    return f"""\
{head}_gradsuite() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" words={" ".join(words)!r} files=
  if [ "$COMP_CWORD" -gt 1 ]; then files=1; case "${{COMP_WORDS[1]}}" in
{cases}
  esac
  case "${{COMP_WORDS[COMP_CWORD-1]}}" in
{named}
  esac; fi
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  if [ -n "$files" ]; then COMPREPLY+=($(compgen -f -- "$current")); fi
}}
complete -F _gradsuite gradsuite"""


def _fish(words: Mapping[str, Sequence[str]], names: Mapping[str, Sequence[str]]) -> str:
    lines = [f"complete -c gradsuite -n __fish_use_subcommand -a '{' '.join(words)}'"]
    for name, options in words.items():
        seen = f"-n '__fish_seen_subcommand_from {name}'"
        for word in options:
            kind = f"-l {word[2:]}" if word.startswith("--") else f"-a {word}"
            then = f" -xa '{' '.join(names[word])}'" if word in names else ""
            lines.append(f"complete -c gradsuite {seen} {kind}{then}")
        if name in names:
            lines.append(f"complete -c gradsuite {seen} -fa '{' '.join(names[name])}'")
    return "\n".join(lines)
