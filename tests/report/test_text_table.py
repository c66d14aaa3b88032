"""A table in each of its formats."""

from __future__ import annotations

import csv
import io
import re

import pytest

from suite.report.latex import latex_escape
from suite.report.text_table import Table

TABLE = Table(
    "t", "A & B", ("name", "size"), [["a_b", "2.2e-16"], ["<i>|", "12"]], ["n & m"], numbers=("size",)
)


def test_numbers_are_flush_right_everywhere() -> None:
    assert r"\begin{tabular}{lr}" in TABLE.latex()
    assert '<td style="text-align:right">12</td>' in TABLE.html()
    assert "--------:|" in TABLE.markdown()
    assert TABLE.text().splitlines()[4].endswith("2.2e-16")


@pytest.mark.parametrize(
    ("headers", "rows", "paragraphs"),
    [
        (("a", "b"), [["x", "y"]] * 39, ()),  # too many lines
        (("a", "b"), [["x" * 40, "y" * 40]], ()),  # too wide
        (("a", "b"), [["x", "a word " * 500]], ("b",)),  # one cell fills the page
        (("a", "b"), [["x" * 70, "a word"]], ("b",)),  # no room for the column that wraps
    ],
)
def test_what_is_too_large_for_a_page_is_broken_over_pages(
    headers: tuple[str, ...], rows: list[list[str]], paragraphs: tuple[str, ...]
) -> None:
    made = Table("t", "c", headers, rows, paragraphs=paragraphs, numbers=("a",)).latex()
    assert made.startswith(r"% \usepackage{booktabs} \usepackage{longtable} \usepackage{array}")
    assert r"\begin{table}" not in made
    assert r">{\raggedleft\arraybackslash}p{" in made
    shares = [float(share) for share in re.findall(r"p\{([\d.]+)\\linewidth\}", made)]
    assert 0.9 < sum(shares) < 1


def test_what_a_page_holds_is_one_table() -> None:
    assert r"\begin{table}" in Table("t", "c", ("a", "b"), [["x", "y"]] * 38).latex()


def test_powers_of_ten_are_typeset_in_latex() -> None:
    assert r"a\_b & $2.2\times10^{-16}$ \\" in TABLE.latex()


def test_a_table_that_wraps_is_as_wide_as_the_line() -> None:
    wide = Table("t", "c", ("a", "b"), [["x", "y"]], paragraphs=("b",)).latex()
    assert r"\begin{tabularx}{\linewidth}{lX}" in wide


def test_the_label_is_the_given_one_or_made_of_the_name() -> None:
    assert r"\label{tab:t}" in TABLE.latex()
    assert r"\label{mine}" in Table("t", "c", ("a",), [], label="mine").latex()


def test_html_escapes_every_text_and_heads_rows_and_columns() -> None:
    shown = TABLE.html()
    assert '<th scope="row">&lt;i&gt;|</th>' in shown
    assert '<th scope="col">size</th>' in shown
    assert "<caption>A &amp; B</caption>" in shown
    assert "n &amp; m" in shown


def test_csv_is_read_back_as_it_was_and_holds_no_notes() -> None:
    table = Table("t", "c", ("a", "b"), [['x,"y"', "two\nlines"]], ["a note"])
    assert list(csv.reader(io.StringIO(table.csv()))) == [["a", "b"], ['x,"y"', "two\nlines"]]


@pytest.mark.parametrize("kind", ["text", "markdown", "latex", "csv", "html"])
def test_a_table_without_rows_still_has_its_head(kind: str) -> None:
    assert "size" in getattr(Table("t", "c", ("name", "size"), [], numbers=("size",)), kind)()


def test_latex_has_no_sign_left_that_it_would_take_for_its_own() -> None:
    assert latex_escape("Σ_u g² ≤ 1/√n") == r"$\sum$\_u g$^2$ $\leq$ 1/$\surd$n"
