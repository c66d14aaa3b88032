"""Recover the weight that each sample gets in a training step of yours."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from suite.discovery import load_python
from suite.errors import CaseError, UsageError, one_line
from suite.machine.streams import aside
from suite.machine.terminal import columns_of, wrapped

NAMES = ("step", "model", "batch", "losses")
OPTIONAL = ("units", "regulariser", "select", "collate")
CALLS = {"select": "(batch, rows)", "collate": "(samples)"}
"""With what functions are called that only some files define."""

EPILOG = """\
examples:
  gradsuite recover examples/kept_as_views.py
  gradsuite recover mine.py:accumulated_step --expect mean
  gradsuite recover mine.py --json
  gradsuite recover step.safetensors --with mine.py
  gradsuite recover tokens.py --memory 8GiB

The file defines
  model                  a torch.nn.Module
  batch                  a tensor, or a tuple, list, dict, dataclass or object of tensors, samples along
                         the first axis; or a list of samples
  losses(model, batch)   the unreduced losses, [samples] or [samples, parts]
  step(model, batch)     any code that leaves a gradient in .grad, returns it, or calls optimizer.step()
and may define
  units                  a gradsuite.Units: which sample is in which micro-batch, on which rank, …
  regulariser(model)     a scalar
  collate(samples)       a batch of a list of samples, which `batch` is then
  select(batch, rows)    some samples of a batch that is laid out otherwise, as a batch

An update that gradsuite.watch recorded (docs/watch.md) needs no step and no batch: the file after --with
defines model, or a function that makes it, and losses(model, batch).

exit codes: 0 all is well, 1 the losses or the model cannot be measured, or --expect was not
met, 2 the input is wrong.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `gradsuite recover`."""
    parser.add_argument(
        "file",
        metavar="PATH.py[:NAME]|STEP.safetensors",
        help=f"a file that defines {', '.join(NAMES)} (and may define {', '.join(OPTIONAL)}); "
        "NAME is that of the step, if it is not `step`; or an update that was recorded",
    )
    parser.add_argument(
        "--with",
        dest="definitions",
        metavar="PATH.py",
        help="a file that defines model and losses, for an update that was recorded",
    )
    parser.add_argument(
        "--expect", metavar="CONVENTION", help="exit with 1 if the step does not compute this one"
    )
    parser.add_argument(
        "--engine", default="opacus", metavar="NAME", help="first engine to try (default: opacus)"
    )
    parser.add_argument(
        "--memory",
        metavar="BYTES",
        help="limit for the units' gradients: 500MB, 2GiB (default: half of what is free)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def execute(arguments: argparse.Namespace) -> int:
    """Print what was recovered.

    Raises:
        UsageError: The file does not have what is needed, or the step leaves no gradient.
    """
    from suite.conventions import conventions
    from suite.machine.memory import parse_bytes

    expected = None if arguments.expect is None else conventions[arguments.expect]
    memory = parse_bytes(arguments.memory)
    if arguments.file.endswith(".safetensors"):
        return _of_update(arguments, memory)
    if arguments.definitions is not None:
        raise UsageError(
            f"--with is for an update that was recorded, STEP.safetensors; {arguments.file} is none"
        )
    from suite.machine.global_state import full_precision
    from suite.machine.stages import stages_shown
    from suite.recovery.assertion import complaint
    from suite.recovery.recovery import experiment, recovery
    from suite.recovery.samples import given_batch

    try:
        with stages_shown(), aside(), full_precision():  # what the step prints is not the answer
            given = _given(arguments.file)
            select, collate = given.pop("select"), given.pop("collate")
            if collate is not None and not _of_samples(given["batch"]):
                collate = None  # it has done its work: the file is that of a training
            given["batch"] = given_batch(given["batch"], select, collate)
            tried = experiment(**given, engine=arguments.engine, memory=memory)
            found = recovery(tried)
            advice = "" if expected is None else complaint(tried, found, expected)
    except CaseError as error:
        print(f"gradsuite recover: {one_line(error)}", file=sys.stderr)
        return 1
    print(_json(found.card()) if arguments.json else wrapped(str(found), columns_of(sys.stdout)))
    if advice:
        print(f"\nThe step does not compute {arguments.expect!r}. {advice}", file=sys.stderr)
    return 1 if advice else 0


def _of_update(arguments: argparse.Namespace, memory: int | None) -> int:
    """Print what was recovered from an update that was recorded."""
    from suite.machine.stages import stages_shown
    from suite.watch.elsewhere import recover_saved

    try:
        with stages_shown(), aside():
            found = recover_saved(
                Path(arguments.file),
                None if arguments.definitions is None else _definitions(arguments.definitions),
                engine=arguments.engine,
                memory=memory,
            )
    except CaseError as error:
        print(f"gradsuite recover: {one_line(error)}", file=sys.stderr)
        return 1
    text = f"{found.place.capitalize()}. {found}"
    print(_json(found.card()) if arguments.json else wrapped(text, columns_of(sys.stdout)))
    if arguments.expect is None or found.computes(arguments.expect):
        return 0
    print(f"\nThe update does not compute {arguments.expect!r}: {found.says}.", file=sys.stderr)
    return 1


def _definitions(file: str) -> tuple[Any, Any]:
    """Model and losses, from a file."""
    module = load_python(Path(file), "a file that defines model and losses")
    missing = [name for name in ("model", "losses") if not hasattr(module, name)]
    if missing:
        raise UsageError(
            f"{file} does not define {', '.join(missing)}: it must define model (or a function that makes "
            "it) and losses(model, batch)"
        )
    return module.model, module.losses


def _json(card: dict[str, Any]) -> str:
    from suite.records.file import plain

    return json.dumps(plain(card), indent=2, ensure_ascii=False)


def _given(file: str) -> dict[str, Any]:
    """The names that `recover` needs, from a file."""
    path, colon, name = file.partition(".py:")
    from suite.loops.given import require_function

    module = load_python(Path(path + ".py" if colon else file), "PATH.py:NAME of the step")
    step = name or "step"
    missing = [n for n in (step, *NAMES[1:]) if not hasattr(module, n)]
    if missing:
        raise UsageError(
            f"{path + '.py' if colon else file} does not define {', '.join(missing)}: it must define "
            f"{step}(model, batch), model, batch, and losses(model, batch)"
        )
    found = {n: getattr(module, n, None) for n in (*NAMES, *OPTIONAL)} | {"step": getattr(module, step)}
    for name, words in CALLS.items():
        if found[name] is not None:
            require_function(name, found[name], words)
    return found


def _of_samples(batch: object) -> bool:
    """Whether this is a list of samples, rather than what `collate` made of one: a list of tensors."""
    from torch import Tensor

    return isinstance(batch, list | tuple) and not all(isinstance(part, Tensor) for part in batch)
