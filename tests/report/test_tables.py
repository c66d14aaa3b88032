"""The two tables, for people and for papers."""

from __future__ import annotations

import pytest

import suite
from suite.algebra.formula import Formula
from suite.conventions import conventions
from suite.discovery import load_claims
from suite.report.latex import latex_escape
from suite.report.learning_rates import pair_of
from suite.report.run_result import RunResult
from suite.report.tables import _scale, discrepancy_table, learning_rate_table
from suite.report.text_table import Table

TABLE = Table(
    "a_table", "Caption with 50 % & more", ("name", "value"), [["a_b", "x | y"]], ["A note."], {"value": 9}
)


@pytest.fixture(scope="module")
def report() -> RunResult:
    cases = ["mse-several-outputs", "cross-entropy-l2", "cross-entropy-class-weights"]
    names = ["sum", "element-mean", "batchmean", "weighted-*", "clip-mean"]
    return suite.run(cases, names, batch_sizes=[8], check_steps=0)


def cells(table: Table) -> dict[str, list[str]]:
    return {row[0]: list(row) for row in table.rows}


def test_markdown_has_one_row_a_line_and_escapes_its_bars() -> None:
    shown = TABLE.markdown()
    assert "| a_b    | x \\| y  |" in shown
    assert shown.startswith("Caption")
    assert shown.endswith("A note.\n")


def test_latex_is_a_captioned_and_labelled_booktabs_table() -> None:
    shown = TABLE.latex()
    for part in (
        r"\caption{Caption with 50 \% \& more}",
        r"\label{tab:a-table}",
        r"\toprule",
        r"a\_b & x | y \\",
    ):
        assert part in shown


def test_latex_escapes_whatever_comes() -> None:
    assert latex_escape("\\input{x} $1_2^3 #~ 5%") == (
        r"\textbackslash{}input\{x\} \$1\_2\textasciicircum{}3 \#\textasciitilde{} 5\%"
    )


def test_what_is_identical_everywhere_is_named_under_the_table(report: RunResult) -> None:
    table = discrepancy_table(report)
    assert "Identical on every batch: batchmean." in table.notes
    assert "batchmean" not in cells(table)


def test_scales_are_formulas_and_verdicts_are_counted_by_case(report: RunResult) -> None:
    found = cells(discrepancy_table(report))
    assert found["sum"][1] == "n"
    assert found["sum"][-1] == "scale 2, direction 1"
    assert found["element-mean"][1] == "1/d"


def test_the_brief_table_compares_each_convention_once(report: RunResult) -> None:
    brief, full = cells(discrepancy_table(report, brief=True)), cells(discrepancy_table(report))
    assert "weighted-sum ≠ weighted-mean" in brief
    assert "weighted-sum" not in brief
    assert {"weighted-sum ≠ weighted-mean", "weighted-sum"} <= set(full)


def test_learning_rates_are_grouped_by_law(report: RunResult) -> None:
    rows = {row[0]: list(row) for row in learning_rate_table(report).rows}
    assert rows["n"][1:] == ["× 1/n", "exact", "sum (2 of 3 cases)"]
    assert rows["1/d"][1:] == ["× d", "exact", "element-mean"]
    assert rows["–"][2] == "impossible"
    assert "sum (cross-entropy-l2)" in rows["–"][3]
    assert rows["Σw"][1:] == ["× 1/Σw", "varies", "weighted-sum ≠ weighted-mean"]
    assert rows["of the data"][1:] == ["one a batch", "varies", "clip-mean"]


def test_the_report_prints_both(report: RunResult) -> None:
    assert str(report).index("Discrepancy of") < str(report).index("Learning rate of")


def test_wide_columns_wrap_on_the_terminal_and_in_latex() -> None:
    table = Table("t", "C", ("a", "b"), [["one", "two three four"]], widths={"b": 9}, paragraphs=("b",))
    assert "two three\n     four" in table.text()
    assert r"{\linewidth}{lX}" in table.latex()


def test_claims_are_a_table_of_their_own() -> None:
    row = {"kind": "claim", "case": "claims/t", "claimed": "c", "measured": "m", "verdict": "holds"}
    (table,) = RunResult([row]).tables
    assert table.rows == [["t", "c", "m", "holds"]]


def test_latex_prints_every_sign_that_claims_and_conventions_use() -> None:
    texts = [convention.summary for convention in conventions]
    texts += [claim.says for thread in load_claims() for claim in thread.claims()]
    odd = {sign for text in texts for sign in latex_escape(text) if ord(sign) > 255}
    assert odd == set()


def scaled(case: str, scale: float | None) -> dict:
    return {"case": case, "convention": "sum", "reference": "mean", "scale": scale}


def test_cases_with_more_than_two_formulas_share_a_range() -> None:
    rows = [scaled(str(k), float(k)) for k in (2, 3, 4)]
    known = {pair_of(row): Formula(((name, 1),)) for name, row in zip("nKR", rows, strict=True)}
    assert _scale(rows[:2], known) == "n or K"
    assert _scale(rows, known) == "2–4"


def test_where_no_case_has_a_scale_there_is_none() -> None:
    assert _scale([scaled("a", None)], {}) == "–"


def test_the_legend_has_the_symbols_that_are_used(report: RunResult) -> None:
    assert "P parts a sample, Σw sum of the weights" in " ".join(discrepancy_table(report).notes)
