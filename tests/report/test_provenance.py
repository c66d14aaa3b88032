"""What a run says of itself."""

from __future__ import annotations

import pytest

from suite.report.provenance import provenance, said, started
from tests.report.rows import ENVIRONMENT, discrepancy

MEASURED = {"started": "2026-05-06T07:08:09+00:00", "dtype": "float64"}
ROWS = [discrepancy("c", 2, "0", "sum", seed=seed, **MEASURED) for seed in (3, 4)]
BARE = {key: value for key, value in ENVIRONMENT.items() if key not in ("started", "dtype", "seed")}


@pytest.mark.parametrize(
    ("environment", "rows", "settings"),
    [
        (ENVIRONMENT, [ENVIRONMENT], "cpu (x86_64), float32, seed 0; 2026-02-03."),
        (BARE, [BARE, *ROWS], "cpu (x86_64), float64, seed 3, 4; 2026-05-06."),
        (BARE, [BARE], "cpu (x86_64)."),
    ],
)
def test_settings_are_those_of_the_environment_or_of_the_rows(
    environment: dict, rows: list[dict], settings: str
) -> None:
    versions = "gradsuite 0.1.0 (commit abc123), torch 2.13.0, opacus 1.6.0, numpy 2.4.6; "
    assert provenance(environment, rows) == versions + settings


def test_a_tree_that_was_changed_is_called_so() -> None:
    assert "(commit abc123, changed since)" in provenance(BARE | {"dirty": True}, [])


def test_the_first_row_to_begin_says_when_a_run_started() -> None:
    assert started([{"started": "b"}, {"started": "a"}, {}]) == "a"
    assert started([]) == ""


def test_each_value_is_said_once() -> None:
    assert said([{"k": 1}, {"k": 1}, {"k": None}, {"k": 2}], "k") == "1, 2"


def test_a_device_without_a_name_is_called_by_its_kind() -> None:
    assert provenance({**BARE, "device_name": None}, [BARE]).endswith("; cpu.")
