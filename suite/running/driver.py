"""Who plans a run, hands out its items, and keeps what comes back: the only one that writes records."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from suite.errors import UsageError
from suite.records.file import plain
from suite.records.schema import SCHEMA
from suite.running.order import pairs, proof
from suite.running.tasks import Executor, Item, Outcome, Row, Settings, fingerprint, identity, lost, work

if TYPE_CHECKING:
    from suite.claim import ClaimSource
    from suite.machine.progress import Progress
    from suite.records.writer import Recorder

PAIRS = 10_000


@dataclass(frozen=True)
class Plan:
    """What a run measures.

    Args:
        items: the cells and the claims, in the order of the tables.
        proofs: what is trained afterwards, with rates that come of the cells.
        bases: what the fingerprints start from, by kind of item and case.
        failed: the plans of cases that could not be built.
        order: the place of each in the whole run, of which this may be a part, by name; proofs leave
            room for as many places as they may have pairs.
    """

    items: Sequence[Item]
    proofs: Sequence[Item]
    bases: Mapping[tuple[str, str], str]
    failed: Sequence[tuple[Item, Outcome]]
    order: Mapping[str, int]

    def part(self, names: set[str]) -> Plan:
        """Only the items of these names."""
        items, proofs = ([item for item in some if item.name in names] for some in (self.items, self.proofs))
        return dataclasses.replace(self, items=items, proofs=proofs)


def make(executor: Executor, cases: Sequence[str], sources: Sequence[ClaimSource], *, proven: bool) -> Plan:
    """The plan of a run over these cases and sources of claims.

    Raises:
        UsageError: A batch size that was asked for does not fit a case.
    """
    claims = {s.name: [Item("claim", s.name, claim=c.name) for c in s.claims()] for s in sources}
    found = {
        item.case: (item, outcome)
        for item, outcome in executor.map([Item("plan", name) for name in (*cases, *claims)], _silently)
    }
    items: list[Item] = []
    proofs: list[Item] = []
    failed: list[tuple[Item, Outcome]] = []
    bases: dict[tuple[str, str], str] = {}
    for name in (*cases, *claims):
        item, outcome = found[name]
        if outcome.refused:
            raise UsageError(outcome.refused)
        if outcome.failure is not None:
            failed.append((item, outcome))
        bases |= {(kind, name): base for kind, base in outcome.bases.items()}
        items += outcome.cells
        if proven and outcome.cells:
            proofs.append(proof(outcome.cells))
        if outcome.failure is None:
            items += claims.get(name, [])
    order = {item.name: place for place, item in enumerate(items)}
    order |= {item.name: len(items) + k * PAIRS for k, item in enumerate(proofs)}
    return Plan(items, proofs, bases, failed, order)


def _silently(item: Item) -> None:
    """Planning is over before there is anything to show."""


class Driver:
    """Carries out a plan.

    Args:
        settings: how.
        executor: who measures.
        plan: what.
        shown: where progress is shown.
        recorder: where it is kept; nowhere if None.
        resume: whether what the recorder holds already is taken as it is.
    """

    def __init__(
        self,
        settings: Settings,
        executor: Executor,
        plan: Plan,
        shown: Progress,
        recorder: Recorder | None,
        *,
        resume: bool = True,
    ) -> None:
        self._settings = settings
        self._executor = executor
        self._plan = plan
        self._shown = shown
        self._recorder = recorder
        self._resume = resume
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
        for item, outcome in self._plan.failed:
            self._keep(item, outcome)
        self._do(self._plan.items)
        measured, paired = self.rows, []
        for whole in self._plan.proofs:
            for place, item in enumerate(pairs(whole, measured), start=self._places[whole.name]):
                self._places[item.name] = place
                paired.append(item)
        self._shown.expect(len(self._plan.items) + len(paired))
        self._do(paired)

    def _do(self, items: Sequence[Item]) -> None:
        todo = []
        for item in items:
            rows = self._recorder.find(self._fingerprint(item)) if self._recorder and self._resume else None
            if rows is None:
                todo.append(item)
            else:
                self._rows[item.name] = rows
        self._shown.skip(len(items) - len(todo))
        for item, outcome in self._executor.map(todo, self._began):
            self._keep(item, self._checked(item, outcome))
            self._shown.ended(item.name)

    def _began(self, item: Item) -> None:
        self._shown.began(item.name, item.case, item.label)

    def _fingerprint(self, item: Item) -> str:
        return fingerprint(item, self._plan.bases.get((item.kind, item.case), ""), self._settings)

    def _checked(self, item: Item, outcome: Outcome) -> Outcome:
        """The outcome, or a failure if other code measured it than planned it."""
        if outcome.fingerprint in ("", self._fingerprint(item)):
            return outcome
        return lost(
            item,
            self._settings,
            "the code, the data or the versions changed during the run, or differ on a worker",
        )

    def _keep(self, item: Item, outcome: Outcome) -> None:
        environment = outcome.environment or self._own()
        rows = outcome.rows
        if not outcome.environment:
            cost = {"environment": environment["environment"], "peak_memory": None}
            rows = [{**row, **cost, "started": _ago(row["seconds"])} for row in rows]
        # As they are read again: a resumed run and one that was not killed are the same.
        rows = [plain({"schema": SCHEMA, **row}) for row in rows]
        environment = plain({"schema": SCHEMA, **environment})
        self._environments.setdefault(environment["environment"], environment)
        self._rows[item.name] = rows
        if self._recorder is not None:
            done = {
                "item": item.name,
                "work": work(item, self._settings),
                "fingerprint": self._fingerprint(item),
                "index": self._places.get(item.name, -1),
            }
            self._recorder.write(rows, done, environment)
        reason = outcome.failure
        if reason is not None and (item.case, reason) not in self._said:
            self._said.add((item.case, reason))
            self._shown.failed(f"{item.name}: {reason}")

    def _own(self) -> Row:
        """The environment of the driver, for what no worker lived to tell."""
        import torch

        from suite.machine.environment import describe
        from suite.records.schema import name_of

        s = self._settings
        row = (
            describe(torch.device("cpu"))
            | identity(s)
            | {"reference": s.reference, "engine": s.engine, "memory": s.memory}
        )
        started = datetime.now(UTC).isoformat(timespec="seconds")
        return {"kind": "environment", "environment": name_of(row), "started": started, **row}


def _ago(seconds: float) -> str:
    """What time it was so many seconds ago."""
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat(timespec="milliseconds")
