"""A field is declared in one place, written by what measures, and known to everything that reads."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import get_args

import pytest

import suite
from suite.algebra.discrepancy import Verdict
from suite.records.bounds import BOUNDS
from suite.records.declaration import Bound, Field, Summary, VerdictName
from suite.records.fields import DERIVED, EVERY_ROW, RECORDED, Row, fields_of, recorded
from suite.records.file import read_log
from suite.records.schema import what_is_wrong
from suite.report.learning_rates import learning_rates
from suite.report.summaries import SUMMARIES
from tests.made_up import record_row

ROOT = Path(__file__).parents[2]


OWN = """
import torch
from torch import nn
from suite.case import Problem, case

@case(dataset="random numbers", batch_sizes=(4,))
def own_weighted():
    generator = torch.Generator().manual_seed(0)
    x, y, weight = (torch.rand(10, width, generator=generator) for width in (3, 1, 1))
    return Problem(
        model=lambda: nn.Linear(3, 1),
        data=(x, y, weight),
        losses=lambda model, batch: (model(batch[0]) - batch[1]).square().sum(1),
        columns=lambda batch: {"weight": batch[2][:, 0]},
    )

@case(dataset="none", batch_sizes=(4,))
def own_fails():
    raise ValueError("broken")
"""
ASKED = {
    "cases": ["own-weighted", "own-fails", "claims/reduction-methods"],
    "conventions": ["sum", "weighted-*", "clip-each-unit", "token-mean"],
    "check_steps": 2,
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    """Every row that a run writes, of every kind, on a device that has every format."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "own.py").write_text(OWN)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("suite.running.rounding.has_tf32", lambda device: True)
        suite.run(**ASKED, from_files=[folder / "own.py"], output=folder)
    blocks = read_log(folder).blocks
    return [row for block in blocks for row in (*block.environments, *block.rows, block.done)]


def undeclared(rows: Iterable[Row]) -> set[str]:
    """The fields that rows have and no declaration names."""
    known = {kind: {"kind", *(field.name for field in recorded(kind))} for kind in RECORDED}
    return {f"{row['kind']}.{name}" for row in rows for name in row.keys() - known[row["kind"]]}


def unwritten(rows: Iterable[Row]) -> set[str]:
    """The fields that are declared for a kind of row, beyond what any row may say, and that no row has."""
    found: dict[str, set[str]] = {kind: set() for kind in RECORDED}
    for row in rows:
        found[row["kind"]] |= row.keys()
    return {f"{kind}.{field.name}" for kind in RECORDED for field in RECORDED[kind]
            if field.role != "derived" and field.name not in found[kind]}  # fmt: skip


def test_no_field_is_written_that_is_not_declared(written: list[Row]) -> None:
    assert undeclared(written) == set()


def test_no_field_is_declared_that_is_never_written(written: list[Row]) -> None:
    assert unwritten(written) == set()


def test_a_field_that_is_only_written_or_only_declared_is_named(written: list[Row]) -> None:
    row = next(row for row in written if row["kind"] == "noise")
    assert undeclared([row | {"forgotten": 1.0}]) == {"noise.forgotten"}
    without = [{k: v for k, v in row.items() if k != "trace"} for row in written]
    assert unwritten(without) == {"noise.trace"}


def test_what_a_report_derives_has_the_fields_that_are_declared() -> None:
    (row,) = learning_rates([record_row(reason="")])
    kept = {field.name for field in DERIVED["learning_rate"] if field.role != "derived"}
    assert row.keys() == {"kind", *kept}


@pytest.mark.parametrize("kind", [*RECORDED, *DERIVED])
def test_every_field_is_declared_once_with_a_bound_and_a_summary_that_exist(kind: str) -> None:
    fields = fields_of(kind)
    assert len({field.name for field in fields}) == len(fields)
    assert {f.bound for f in fields} <= {None, "exact", "digits", *BOUNDS}
    assert {f.table.summary for f in fields if f.table} <= SUMMARIES.keys()
    identity = {field.name for field in EVERY_ROW}
    assert {f.name for f in fields if f.role == "identity"} <= identity | {
        f.name for f in DERIVED.get(kind, ())
    }


def test_names_of_bounds_summaries_and_verdicts_are_those_that_the_suite_has() -> None:
    assert set(get_args(Bound)) == {"exact", "digits", *BOUNDS}
    assert set(get_args(Summary)) == set(SUMMARIES)
    assert get_args(VerdictName) == tuple(verdict.value for verdict in Verdict)


@pytest.mark.parametrize("kind", RECORDED)
def test_a_made_up_row_of_each_kind_is_sound_and_needs_all_of_its_fields(kind: str) -> None:
    row = record_row(kind)
    assert what_is_wrong(row) is None
    for name in row.keys() - {"kind"}:
        lacking = {key: value for key, value in row.items() if key != name}
        assert f"missing required field `{name}`" in str(what_is_wrong(lacking))


LINE = '    "discrepancy": (\n'
MADE_UP = (
    '        Field("made_up", NotNegative, bound="norm", csv=True, table=Shown("largest", "made up")),\n'
)
TRIAL = """
from suite.records.diff import diff
from suite.records.schema import what_is_wrong
from suite.report.measurements import measurements
from suite.report.run_result import RunResult
from tests.made_up import record_environment, record_row

row = record_row()
print(what_is_wrong(row), row["made_up"])
print(what_is_wrong(row | {"made_up": -1.0}))
found = diff([record_environment(), row], [record_environment(), row | {"made_up": row["made_up"] + 1e-6}])
print([(change.what, 0 < change.bound < 1e-9) for change in found.changes])
result = RunResult([record_environment(), row])
print(result.discrepancies["made_up"].tolist())
table = measurements(result, columns=["convention", "made_up"])
print(table.headers, table.rows)
"""


def test_a_field_that_is_added_in_one_place_is_known_everywhere(tmp_path: Path) -> None:
    for folder in ("suite", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    file = tmp_path / "suite" / "records" / "fields.py"
    text = file.read_text(encoding="utf-8")
    assert text.count(LINE) == 1
    file.write_text(text.replace(LINE, LINE + MADE_UP), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", TRIAL],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.stdout.splitlines() == [
        "None 0.5",
        "Expected `float` >= 0.0 at `made_up`",
        "[('made_up', True)]",
        "[0.5]",
        "['convention', 'made up'] [['sum', '0.5']]",
    ], done.stderr


def test_a_field_that_may_be_absent_may_be_null() -> None:
    assert Field("x", int, None).type == int | None
    assert Field("x", int, 1).type is int
