"""What is not covered is listed with the reason that the code gives, and told where it gives none."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.uncovered import Gap, gaps, report, told

SOURCE = """\
def outer(x):
    if x:  # uncovered: needs a device
        a(
            1,
        )
    else:
        b()
    for y in x:  # noqa: B007  why not; uncovered branch: never empty
        c()

    class Inner:
        def method(self):
            d()
"""


def test_a_reason_speaks_for_the_whole_statement_but_not_for_what_stands_in_its_place() -> None:
    assert gaps("f.py", SOURCE, [3, 7], []) == [
        Gap("f.py", 3, "outer", 1, 0, "needs a device"),
        Gap("f.py", 7, "outer", 1, 0, ""),
    ]


def test_a_reason_for_a_branch_excuses_no_line() -> None:
    assert gaps("f.py", SOURCE, [9], [(8, 11)]) == [
        Gap("f.py", 8, "outer", 0, 1, "never empty"),
        Gap("f.py", 9, "outer", 1, 0, ""),
    ]


def test_a_branch_of_a_statement_that_is_not_run_has_the_reason_of_that_statement() -> None:
    assert gaps("f.py", SOURCE, [3], [(2, 3)]) == [Gap("f.py", 2, "outer", 1, 1, "needs a device")]


def test_a_gap_is_named_after_the_innermost_function() -> None:
    assert gaps("f.py", SOURCE, [13], [])[0].where == "outer.Inner.method"


def test_a_reason_that_belongs_to_no_statement_is_an_error() -> None:
    with pytest.raises(LookupError, match="line 2: 'none' stands where no statement begins"):
        gaps("f.py", "x = 1\n# uncovered: none\n", [], [])


def measured(lines: list[int], covered: int) -> dict:
    summary = {
        "covered_lines": 9 - len(lines),
        "num_statements": 9,
        "covered_branches": covered,
        "num_branches": 100,
    }
    return {"files": {"suite/f.py": {"summary": summary, "missing_lines": lines, "missing_branches": []}}}


@pytest.mark.parametrize(
    ("lines", "covered", "code"), [([3], 95, 0), ([3], 94, 1), ([7], 95, 1)], ids=["good", "few", "no reason"]
)
def test_the_check_fails_below_95_per_cent_and_where_a_reason_is_missing(
    tmp_path: Path, lines: list[int], covered: int, code: int
) -> None:
    (tmp_path / "suite").mkdir()
    (tmp_path / "suite" / "f.py").write_text(SOURCE)
    text, found = report(measured(lines, covered), tmp_path)
    assert told(measured(lines, covered), found) == code
    assert f"| suite/f.py | `outer` | 1 |  | {'needs a device' if lines == [3] else '**no'}" in text
    assert f"| suite/*.py | 9 | 88.9 % | 100 | {covered}.0 % |" in text
