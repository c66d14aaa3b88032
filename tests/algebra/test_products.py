"""All products up to a complexity, and which of them say something of their own."""

from __future__ import annotations

import numpy as np

from suite.algebra.formula import Formula
from suite.algebra.products import formula_of, minimal, power_products

NAMES = ("n", "K", "W")


def said(rows: object) -> list[str]:
    return [str(formula_of(NAMES, row)) for row in rows]


def test_every_product_up_to_a_complexity_is_there_once() -> None:
    rows = power_products(NAMES, 2.6)
    formulas = [formula_of(NAMES, row) for row in rows]
    assert len(set(formulas)) == len(formulas)
    assert formulas[0] == Formula()
    assert all(formula.complexity <= 2.6 + 1e-9 for formula in formulas)
    assert {"1/n", "1/(n·K)", "1/K²", "K", "n/K"} <= set(said(rows))
    assert "n/W" not in said(rows)
    assert len(power_products((), 5.0)) == 1


def test_what_holds_another_product_and_a_one_is_left_out() -> None:
    rows = power_products(NAMES, 6.0)
    logs = np.log([[6.0], [3.0], [3.0]])
    worth = rows.astype(float) @ logs[:, 0]
    third = rows[np.isclose(worth, -np.log(3.0))]
    assert said(minimal(third, NAMES, logs)) == ["1/K", "1/W"]
    assert "W/K²" in said(third)


def test_only_what_fits_is_kept_and_can_leave_others_out() -> None:
    rows = power_products(NAMES, 3.0)
    logs = np.log([[6.0], [3.0], [2.0]])
    assert said(minimal(rows, NAMES, logs, lambda row: abs(row).sum() == 1)) == [
        "1/n",
        "1/K",
        "1/W",
        "n",
        "K",
        "W",
    ]
