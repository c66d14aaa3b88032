"""Who plans a run, hands out its tasks, and keeps what comes back: the only one that writes records."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from suite.errors import UsageError
from suite.machine.signals import raise_again
from suite.records.fields import SCHEMA, Row
from suite.records.file import plain
from suite.running.options import RunOptions
from suite.running.order import pairs_to_train, training_check
from suite.running.tasks import (
    Executor,
    Outcome,
    Task,
    fingerprint,
    lost,
    options_of_rows,
    work,
)

if TYPE_CHECKING:
    from suite.claim import ClaimSource
    from suite.machine.progress import Progress
    from suite.records.writer import Recorder

PAIRS = 10_000


@dataclass(frozen=True)
class Plan:
    """What a run measures.

    Args:
        tasks: the cells and the claims, in the order of the tables.
        checks: what is trained afterwards, with rates that come of the cells.
        bases: what the fingerprints start from, by kind of task and case.
        failed: the plans of cases that could not be built.
        order: the place of each in the whole run, of which this may be a part, by name; a training check
            leaves room for as many places as it may have pairs.
    """

    tasks: Sequence[Task]
    checks: Sequence[Task]
    bases: Mapping[tuple[str, str], str]
    failed: Sequence[tuple[Task, Outcome]]
    order: Mapping[str, int]

    def part(self, names: set[str]) -> Plan:
        """Only the tasks of these names."""
        tasks, checks = ([task for task in some if task.name in names] for some in (self.tasks, self.checks))
        return dataclasses.replace(self, tasks=tasks, checks=checks)


def make(executor: Executor, cases: Sequence[str], sources: Sequence[ClaimSource], *, train: bool) -> Plan:
    """The plan of a run over these cases and sources of claims.

    Raises:
        UsageError: A batch size that was asked for does not fit a case.
    """
    claims = {s.name: [Task("claim", s.name, claim=c.name) for c in s.claims()] for s in sources}
    found = {
        task.case: (task, outcome)
        for task, outcome in executor.map([Task("plan", name) for name in (*cases, *claims)], _silently)
    }
    tasks: list[Task] = []
    checks: list[Task] = []
    failed: list[tuple[Task, Outcome]] = []
    bases: dict[tuple[str, str], str] = {}
    for name in (*cases, *claims):
        task, outcome = found[name]
        if outcome.refused:
            raise UsageError(outcome.refused)
        if outcome.failure is not None:
            failed.append((task, outcome))
        bases |= {(kind, name): base for kind, base in outcome.bases.items()}
        tasks += outcome.cells
        if train and outcome.cells:
            checks.append(training_check(outcome.cells))
        if outcome.failure is None:
            tasks += claims.get(name, [])
    order = {task.name: place for place, task in enumerate(tasks)}
    order |= {task.name: len(tasks) + k * PAIRS for k, task in enumerate(checks)}
    return Plan(tasks, checks, bases, failed, order)


def _silently(task: Task) -> None:
    """Planning is over before there is anything to show."""


class Driver:
    """Carries out a plan.

    Args:
        options: of the run.
        executor: who measures.
        plan: what.
        shown: where progress is shown.
        recorder: where it is kept; nowhere if None.
    """

    def __init__(
        self,
        options: RunOptions,
        executor: Executor,
        plan: Plan,
        shown: Progress,
        recorder: Recorder | None,
    ) -> None:
        self._options = options
        self._executor = executor
        self._plan = plan
        self._shown = shown
        self._recorder = recorder
        self._places = dict(plan.order)
        self._rows: dict[str, list[Row]] = {}
        self._environments: dict[str, Row] = {}
        self._said: set[tuple[str, str]] = set()

    @property
    def rows(self) -> list[Row]:
        """What was found so far: the environments, then all rows in the order of the plan."""
        names = sorted(self._rows, key=lambda name: self._places.get(name, -1))
        rows = [row for name in names for row in self._rows[name]]
        known = {row["environment"]: row for row in self._recorder.environments} if self._recorder else {}
        known |= self._environments
        return [known[name] for name in dict.fromkeys(row["environment"] for row in rows)] + rows

    def go(self) -> None:
        """Measure all that was not measured yet."""
        for task, outcome in self._plan.failed:
            self._keep(task, outcome)
        self._do(self._plan.tasks)
        measured, paired = self.rows, []
        for whole in self._plan.checks:
            for place, task in enumerate(pairs_to_train(whole, measured), start=self._places[whole.name]):
                self._places[task.name] = place
                paired.append(task)
        self._shown.expect(len(self._plan.tasks) + len(paired))
        self._do(paired)

    def _do(self, tasks: Sequence[Task]) -> None:
        todo = []
        for task in tasks:
            rows = (
                self._recorder.find(self._fingerprint(task))
                if self._recorder and self._options.resume
                else None
            )
            if rows is None:
                todo.append(task)
            else:
                self._rows[task.name] = rows
        self._shown.skip(len(tasks) - len(todo))
        for task, outcome in self._executor.map(todo, self._began):
            self._keep(task, self._checked(task, outcome))
            self._shown.ended(task.name)

    def _began(self, task: Task) -> None:
        raise_again()
        self._shown.began(task.name, task.case, task.label)

    def _fingerprint(self, task: Task) -> str:
        return fingerprint(task, self._plan.bases.get((task.kind, task.case), ""), self._options)

    def _checked(self, task: Task, outcome: Outcome) -> Outcome:
        """The outcome, or a failure if other code measured it than planned it."""
        if outcome.fingerprint in ("", self._fingerprint(task)):
            return outcome
        return lost(
            task,
            self._options,
            "the code, the data or the versions changed during the run, or differ on a worker",
        )

    def _keep(self, task: Task, outcome: Outcome) -> None:
        environment = outcome.environment or self._own()
        rows = outcome.rows
        if not outcome.environment:
            cost = {"environment": environment["environment"], "peak_memory": None}
            rows = [{**row, **cost, "started": _ago(row["seconds"])} for row in rows]
        # As they are read again: a resumed run and one that was not killed are the same.
        rows = [plain({"schema": SCHEMA, **row}) for row in rows]
        environment = plain({"schema": SCHEMA, **environment})
        self._environments.setdefault(environment["environment"], environment)
        self._rows[task.name] = rows
        if self._recorder is not None:
            done = {
                "item": task.name,
                "work": work(task, self._options),
                "fingerprint": self._fingerprint(task),
                "index": self._places.get(task.name, -1),
            }
            self._recorder.write(rows, done, environment)
        reason = outcome.failure
        if reason is not None and (task.case, reason) not in self._said:
            self._said.add((task.case, reason))
            self._shown.failed(f"{task.name}: {reason}")

    def _own(self) -> Row:
        """The environment of the driver, for what no worker lived to tell."""
        import torch

        from suite.machine.environment import describe
        from suite.records.schema import name_of

        o = self._options
        row = (
            describe(torch.device("cpu"))
            | options_of_rows(o)
            | {"reference": o.reference, "engine": o.engine, "memory": o.memory}
        )
        started = datetime.now(UTC).isoformat(timespec="seconds")
        return {"kind": "environment", "environment": name_of(row), "started": started, **row}


def _ago(seconds: float) -> str:
    """What time it was so many seconds ago."""
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat(timespec="milliseconds")
