"""A convention is one function: no list elsewhere has to know of it."""

from __future__ import annotations

from pathlib import Path

from tests.trial import planted, told

THIRD = '''

def third_loop(loop: Loop) -> None:
    (loop.losses().sum() / (3 * loop.n) + loop.regulariser()).backward()


@convention(
    reference_loop=third_loop,
    formula="(1/3n) Σ_u g_u",
    product="1/(3·n)",
    denominator="sample",
    used_by="nobody",
    source="made up",
)
def third_mean(units: Units) -> Column:
    """A third of the mean."""
    return units.column(per(3 * units.n))
'''
TESTS = (
    "tests/conventions/test_conventions.py",
    "tests/conventions/test_products.py",
    "tests/equivalence/test_laws_held.py",
    "tests/strategies/test_tables.py",
)
OWN = ("-m", "pytest", "-v", "-p", "no:cacheprovider", "-k", "third-mean or without_a_product")


def test_a_convention_that_is_made_up_is_tested_without_being_named_anywhere(tmp_path: Path) -> None:
    folder = planted(tmp_path, {"suite/conventions/averages.py": [("", THIRD)]})
    lines = told(folder, *OWN, *TESTS).splitlines()
    assert {line.partition("::")[0] for line in lines if "[third-mean] PASSED" in line} == set(TESTS)
    assert told(folder, "-m", "suite", "show", "third-mean").startswith("convention")


def test_coefficients_that_are_not_those_of_the_loop_are_found(tmp_path: Path) -> None:
    wrong = THIRD.replace("per(3 * units.n)", "per(2 * units.n)")
    folder = planted(tmp_path, {"suite/conventions/averages.py": [("", wrong)]})
    assert "[third-mean] FAILED" in told(folder, *OWN, TESTS[0], fails=True)
