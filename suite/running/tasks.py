"""The tasks of a run: what is measured at a time, how, and what comes of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from suite.errors import UsageError
from suite.records.fields import Row
from suite.running.options import RunOptions


@dataclass(frozen=True)
class Task:
    """What is measured at a time: the cells of a case are planned, one is measured, and so on.

    Args:
        kind: `plan` builds a case and finds its batches, `cell` measures one, `training_check` trains
            what its rates promise, `claim` puts one claim of a thread to the test.
        case: the name of the case or thread.
        batch_size: of the cell or the training check.
        batch: the name of the cell's batch.
        claim: the name of the claim.
        pair: the convention and the reference that a training check trains.
        marks: what else the plan says of a cell.
        rates: their rows of kind `learning_rate`.
    """

    kind: Literal["plan", "cell", "training_check", "claim"]
    case: str
    batch_size: int = 0
    batch: str = ""
    claim: str = ""
    pair: tuple[str, ...] = ()
    marks: tuple[tuple[str, Any], ...] = ()
    rates: tuple[Row, ...] = field(default=(), repr=False)

    @property
    def label(self) -> str:
        """What of the case it is, for people."""
        return {
            "plan": "its batches",
            "cell": f"batch size {self.batch_size}, batch {self.batch}",
            "training_check": f"training check of {' ≠ '.join(self.pair)} at batch size {self.batch_size}",
            "claim": self.claim,
        }[self.kind]

    @property
    def name(self) -> str:
        """Its name in the record, unique among the tasks of one run."""
        return f"{self.case}, {self.label}"

    @property
    def identity(self) -> Row:
        """What its rows say of it, and a failure of it too."""
        if self.kind == "claim":
            return {"case": self.case, "claim": self.claim}
        known = {"batch_size": self.batch_size, "batch": self.batch}
        known |= dict(zip(("convention", "reference"), self.pair, strict=False))
        return {"case": self.case} | {key: value for key, value in known.items() if value}


@dataclass(frozen=True)
class Outcome:
    """What came of a task.

    Args:
        rows: what was measured; one of kind `failure` where it could not be.
        environment: what it was measured with; empty where no worker lived to tell.
        fingerprint: of everything that the rows depend on.
        cells: of a plan, the batches that it found.
        bases: of a plan, what the fingerprints of its tasks start from, by their kind.
        refused: of a plan, the message where what was asked for cannot be.
        broken: why the device computes nothing any more in that process, which a failed kernel breaks; empty
            where it does.
    """

    rows: list[Row]
    environment: Row = field(default_factory=dict)
    fingerprint: str = ""
    cells: tuple[Task, ...] = ()
    bases: Mapping[str, str] = field(default_factory=dict)
    refused: str = ""
    broken: str = ""

    @property
    def failure(self) -> str | None:
        """Why it could not be measured."""
        return next((row["reason"] for row in self.rows if row["kind"] == "failure"), None)


class BrokenDevice(UsageError):  # noqa: N818  what happened, not what to mend
    """Nothing more can be measured in this process: a kernel failed on its device."""


class Executor(Protocol):
    """Who carries out tasks. Entered and left as a context manager."""

    def __enter__(self) -> Executor:
        """Get ready."""

    def __exit__(self, *_: object) -> None:
        """Let go of everything, finished or not."""

    def device(self, name: str) -> str:
        """The device that this asks for, where the work is done."""

    def open(self, options: RunOptions) -> None:
        """Measure with these from now on."""

    def map(self, tasks: Sequence[Task], began: Callable[[Task], None]) -> Iterator[tuple[Task, Outcome]]:
        """Carry out `tasks`; each with its outcome, in the order in which they are done.

        Args:
            tasks: what to do.
            began: called with each as it is taken up.
        """


def options_of_rows(options: RunOptions) -> Row:
    """What every row says of how it was measured."""
    return {"device": options.device, "dtype": options.dtype, "seed": options.seed}


def lost(task: Task, options: RunOptions, reason: str, *, seconds: float = 0.0) -> Outcome:
    """The outcome of a task whose worker did not live to tell; and the seconds it cost, if known."""
    row = {"kind": "failure", **task.identity, **options_of_rows(options), "reason": reason}
    return Outcome([row | {"seconds": round(seconds, 6)}])


def fingerprint(task: Task, base: str, options: RunOptions) -> str:
    """The digest of all that the rows of a task depend on.

    Args:
        task: the task.
        base: the digest of the code, the data, the versions and the options.
        options: of the run.
    """
    steps = options.steps if task.kind == "training_check" else 0
    return short([base, task.kind, task.name, task.marks, task.rates, steps])


def work(task: Task, options: RunOptions) -> str:
    """The name of what was asked for: the same after a change of the code, unlike the fingerprint."""
    o = options
    if task.kind == "claim":
        return short(task.name)
    # The patterns of conventions are the identity of a selection, whatever they match today.
    asked = [o.conventions, o.reference, o.engine, o.dtype, o.seed, o.deterministic, o.device_type]
    return short([task.kind, task.name, asked, o.steps if task.kind == "training_check" else 0])


def short(value: Any) -> str:
    """A digest of plain values, short enough to stand in a row."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]
