"""Show what a run here would record of the machine, the versions and the state of torch."""

from __future__ import annotations

import argparse
import json

EPILOG = """\
examples:
  gradsuite env
  gradsuite env --device cpu --json
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `gradsuite env`."""
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    parser.add_argument("--json", action="store_true", help="print JSON")


def execute(arguments: argparse.Namespace) -> int:
    """Print the environment as a run would record it."""
    from suite.machine.environment import choose_device, describe
    from suite.machine.global_state import pinned

    device = choose_device(arguments.device)
    with pinned(device):
        found = describe(device)
    if arguments.json:
        print(json.dumps(found, indent=2))
        return 0
    width = max(map(len, found))
    for key, value in found.items():
        print(f"{key:{width}}  {'–' if value is None else value}")
    return 0
