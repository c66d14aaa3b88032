"""Print what a shell needs to complete the commands and options of `gradsuite`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

SHELLS = ("bash", "zsh", "fish")

EPILOG = """\
examples:
  gradsuite completion bash  for the end of ~/.bashrc
  gradsuite completion zsh   for the end of ~/.zshrc
  gradsuite completion fish  for ~/.config/fish/completions/gradsuite.fish

Commands, options and their choices are completed; names (`gradsuite list`) and files by the shell.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `gradsuite completion`."""
    parser.add_argument("shell", choices=SHELLS, help="which shell")


def execute(arguments: argparse.Namespace) -> int:
    """Print the script."""
    words = _words()
    print(_fish(words) if arguments.shell == "fish" else _bash(words, zsh=arguments.shell == "zsh"))
    return 0


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


def _bash(words: Mapping[str, Sequence[str]], *, zsh: bool) -> str:
    cases = "\n".join(f"    {name}) words={' '.join(options)!r} ;;" for name, options in words.items())
    head = "autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n" if zsh else ""
    return f"""\
{head}_gradsuite() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" words={" ".join(words)!r}
  if [ "$COMP_CWORD" -gt 1 ]; then case "${{COMP_WORDS[1]}}" in
{cases}
  esac; fi
  COMPREPLY=($(compgen -W "$words" -- "$current") $(compgen -f -- "$current"))
}}
complete -F _gradsuite gradsuite"""


def _fish(words: Mapping[str, Sequence[str]]) -> str:
    lines = [f"complete -c gradsuite -n __fish_use_subcommand -a '{' '.join(words)}'"]
    for name, options in words.items():
        seen = f"-n '__fish_seen_subcommand_from {name}'"
        for word in options:
            kind = f"-l {word[2:]}" if word.startswith("--") else f"-a {word}"
            lines.append(f"complete -c gradsuite {seen} {kind}")
    return "\n".join(lines)
