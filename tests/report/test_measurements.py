"""Tables of measurements with columns of one's choice."""

from __future__ import annotations

import csv
import io

import pytest

from suite.errors import UsageError
from suite.report.measurements import measurements
from suite.report.run_result import RunResult
from suite.report.summaries import TABLE_COLUMNS, show
from tests.report.rows import discrepancy, rows

REPORT = RunResult(rows(), ("SGD", "Adam"))


def lines(columns: str, kind: str = "discrepancies") -> list[list[str]]:
    return [list(row) for row in measurements(REPORT, kind, columns.split(",")).rows]


def test_rows_that_agree_in_the_key_columns_share_a_line() -> None:
    assert len(lines("convention")) == 5
    assert len(lines("case,convention")) == 10
    assert len(lines("case,batch_size,batch,convention")) == 40


def test_a_scale_is_a_formula_or_a_number_or_a_range() -> None:
    found = dict(lines("convention,scale"))
    assert found == {
        "sum": "n",
        "mean": "1",
        "half-mean": "1/2",
        "clip-each-unit": "0.3",
        "clip-mean": "0.75",
    }
    ranged = RunResult([*rows(), discrepancy("three", 4, "0", "clip-each-unit", scale=0.9)])
    table = measurements(ranged, columns=["convention", "scale"])
    assert dict(table.rows)["clip-each-unit"] == "0.3–0.9"


def test_extremes_are_the_worst_of_the_rows_and_rounding_is_no_direction() -> None:
    found = {
        row[0]: row[1:] for row in lines("convention,relative_discrepancy,residual,verdict,cases,batches")
    }
    assert found["sum"] == ["7", "0", "scale", "2", "8"]
    assert found["clip-each-unit"] == ["0.7", "0.4", "direction", "2", "8"]


def test_the_unit_of_the_denominator_comes_from_the_card() -> None:
    assert dict(lines("convention,denominator"))["half-mean"] == "two samples"


def test_a_convention_that_is_not_known_any_more_has_no_card() -> None:
    report = RunResult([*rows(), discrepancy("one", 8, "0", "gone")])
    assert dict(measurements(report, columns=["convention", "denominator"]).rows)["gone"] == "–"


def test_learning_rates_are_factors_with_their_training_check() -> None:
    chosen = "convention,optimizer,hyperparameter,factor,status,distance,distance_unchanged"
    found = {tuple(row[:3]): row[3:] for row in lines(chosen, "learning_rates")}
    assert found["sum", "SGD", "lr"] == ["1/n", "exact", "0", "0.3"]
    assert found["sum", "Adam", "eps"] == ["2–8", "exact", "0", "0.3"]
    assert found["clip-each-unit", "SGD", "lr"][:2] == ["–", "impossible"]


def test_the_default_leaves_the_reference_to_the_caption_and_itself_out() -> None:
    table = measurements(REPORT)
    assert "reference mean" in table.caption
    assert "reference" not in table.headers
    assert "mean" not in {row[0] for row in table.rows}
    assert measurements(REPORT, caption="Mine").caption == "Mine"


def test_the_footnote_names_versions_commit_and_device() -> None:
    note = measurements(REPORT).notes[-1]
    for part in ("gradsuite 0.1.0", "commit abc123", "torch 2.13.0", "cpu (x86_64)", "seed 0", "2026-02-03"):
        assert part in note


def test_exact_tables_keep_every_digit_and_use_the_names_of_the_columns() -> None:
    report = RunResult([rows()[0], discrepancy("c", 3, "0", "clip-each-unit", scale=1 / 3, cosine=None)])
    table = measurements(report, columns=["convention", "scale", "cosine"], exact=True)
    (row,) = csv.DictReader(io.StringIO(table.csv()))
    assert float(row["scale"]) == 1 / 3
    assert row["cosine"] == ""


def test_an_unknown_column_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'residual'"):
        measurements(REPORT, columns=["residuals"])


@pytest.mark.parametrize("kind", TABLE_COLUMNS)
def test_every_column_can_be_shown(kind: str) -> None:
    table = measurements(REPORT, kind, list(TABLE_COLUMNS[kind]))
    assert len(table.headers) == len(TABLE_COLUMNS[kind]) == len(table.rows[0])


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(None, 2, "–"), (2.0, 0, "2"), (0.1 + 0.2, 2, "0.3"), ((1.0, 1.0001), 3, "1"), ((1.0, 2.5), 3, "1–2.5"),
     (7, 2, "7"), ("x", 2, "x"), (1e300, 0, "1e+300")],
)  # fmt: skip
def test_values_are_shown_with_so_many_digits(value: object, digits: int, text: str) -> None:
    assert show(value, digits) == text
