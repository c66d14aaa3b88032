"""In which order a run is carried out: the batches of the cases are planned, then all is measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from suite.records.fields import Row
from suite.running.options import parse_shard
from suite.running.tasks import Task

CHECK_BATCH_SIZE = 8


def training_check(cells: Sequence[Task]) -> Task:
    """The training check of a case, without its rates, at the batch size nearest to 8 that its cells have."""
    size = min((cell.batch_size for cell in cells), key=lambda n: abs(n - CHECK_BATCH_SIZE))
    return Task("training_check", cells[0].case, size)


def pairs_to_train(task: Task, rows: Iterable[Row]) -> list[Task]:
    """The training check of a case as one task a pair of conventions, with the rates that it trains.

    They come of the full batches of its size and of nothing else, so that it makes no difference which
    other tasks a run, or a part of it, has.
    """
    from suite.report.learning_rates import learning_rates

    size = task.batch_size
    chosen = [
        row
        for row in rows
        if row["kind"] == "discrepancy"
        and (row["case"], row["batch_size"], row["samples"]) == (task.case, size, size)
    ]
    return [
        replace(task, pair=(rate["convention"], rate["reference"]), rates=(rate,))
        for rate in learning_rates(chosen)
        if rate["status"] != "impossible" and rate["factor"] != 1
    ]


class Shard:
    """Part `number` of a run in `count` parts, which together are the whole.

    Tasks are dealt in turn. The cells that a training check depends on go where the check goes.

    Args:
        text: `number/count`, from 1.

    Raises:
        UsageError: It is no such thing.
    """

    def __init__(self, text: str = "1/1") -> None:
        self.number, self.count = parse_shard(text)

    def choose(self, tasks: Sequence[Task], checks: Sequence[Task]) -> set[str]:
        """The names of those of the tasks and checks that are this part's."""
        trained = {(task.case, task.batch_size) for task in checks}
        places: dict[object, int] = {}
        chosen = set()
        for task in (*tasks, *checks):
            together = (task.case, task.batch_size)
            group: object = together if together in trained and task.batch != "last" else task.name
            place = places.setdefault(group, len(places))
            if place % self.count == self.number - 1:
                chosen.add(task.name)
        return chosen
