"""Runs put together: the parts of one that was dealt over machines, or runs of different things."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from suite.errors import UsageError
from suite.records.fields import Row
from suite.records.file import Block, find, latest, read_log, supersede
from suite.records.writer import Recorder


def merge(runs: Sequence[Path], output: Path, say: Callable[[str], None]) -> list[Row]:
    """Write the finished items of all `runs` into the record of `output`, in the order of the run.

    An item that several of them hold, or that `output` does, is written once: where they measured the
    same thing with different code, the later run in the list counts.

    Args:
        runs: their folders, or files of records.
        output: the folder that they go to.
        say: called with a line for people.

    Returns:
        The rows of `output`.

    Raises:
        UsageError: One of them is no run, is damaged, or is the output itself.
    """
    items: dict[str, Block] = {}
    environments: dict[str, Row] = {}
    for run in runs:
        file = find(run)
        if file.parent.resolve() == output.resolve():
            raise UsageError(
                f"{run} is among the runs to merge and the output as well: choose another --output"
            )
        for block in read_log(file).blocks:
            environments |= {row["environment"]: row for row in block.environments}
            supersede(items, block)
    with Recorder(output, say) as recorder:
        # A stable sort: the order of the runs remains where they are not parts of one.
        for block in sorted(items.values(), key=lambda block: int(block.done["index"])):
            if recorder.find(block.done["fingerprint"]) is None:
                done = {key: block.done[key] for key in ("item", "work", "fingerprint", "index")}
                recorder.write(block.rows, done, environments[block.done["environment"]])
    return latest(read_log(output).blocks)
