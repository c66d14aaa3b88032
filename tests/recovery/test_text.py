"""How a recovery reads: grouped units, plain sentences, the same text wherever it is shown."""

from __future__ import annotations

import html
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from suite.algebra.units import Units
from suite.recovery import Recovery, recover
from suite.recovery.weight_lines import fraction, label
from tests.recovery.steps import losses, mean, setting, weighted


def three_terms(samples: int) -> Recovery:
    """A detector's box, class and objectness terms, each averaged and weighted its own way."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(80, 30), nn.Tanh(), nn.Linear(30, 6)).double()
    x = torch.randn(samples, 80).double()

    def terms(model, batch):
        out = model(batch)
        return torch.stack([out[:, :2].square().sum(1), F.softplus(out[:, 2]), out[:, 3:].abs().sum(1)], 1)

    def step(model, batch):
        (terms(model, batch).mean(0) * torch.tensor([5.0, 1.0, 0.5])).sum().backward()

    return recover(step, model, x, terms, units=Units.of(samples, parts=("box", "class", "objectness")))


def table(found: Recovery) -> list[str]:
    return str(found).split("\n\n")[1].splitlines()


def test_three_terms_of_64_samples_are_three_lines() -> None:
    assert table(three_terms(64)) == [
        "  samples 0 – 63 box             0.078125  5/n",
        "  samples 0 – 63 class           0.015625  1/n",
        "  samples 0 – 63 objectness     0.0078125  1/(2·n)",
    ]


def test_samples_of_two_ranks_that_take_turns_are_two_lines() -> None:
    coefficients = [0.25, 0.1] * 4
    given = setting(8)
    assert table(recover(weighted(coefficients), given.model, given.batch, losses)) == [
        "  samples 0, 2, 4, 6          0.25  2/n",
        "  samples 1, 3, 5, 7           0.1  1/10",
    ]


def test_many_stretches_are_counted() -> None:
    coefficients = np.where(np.arange(16) % 2, 0.5, 0.0)
    given = setting(16)
    lines = table(recover(weighted(coefficients), given.model, given.batch, losses))
    assert [line.split("  ")[1] for line in lines] == [
        "samples 0, 2, 4, 6 and 4 more",
        "samples 1, 3, 5, 7 and 4 more",
    ]


def test_copies_of_each_sample_are_one_line() -> None:
    units = Units.of(3, parts=("plain", "flipped"), part_kind="copies")
    assert label(units, np.arange(6)) == "samples 0 – 2 plain, flipped"
    assert label(units, np.array([0, 2, 4])) == "samples 0 – 2 plain"
    assert label(units, np.array([0, 3])) == "samples 0 plain, 1 flipped"


def test_tokens_are_stretches_of_their_order() -> None:
    units = Units.of(2, parts=tuple(f"t{t}" for t in range(9)), regulariser=True)
    assert label(units, np.arange(9)) == "sample 0"
    assert label(units, np.arange(18)) == "samples 0 – 1"
    assert label(units, np.array([0, 1, 2, 9, 10, 11, 12, 13])) == "samples 0 t0 – 0 t2, 1 t0 – 1 t4"
    assert label(units, np.array([5])) == "sample 0 t5"
    assert label(units, np.array([18])) == "regulariser"
    assert label(units, np.array([0, 18])) == "sample 0 t0 and regulariser"


def test_one_sample_is_one_sample() -> None:
    given = setting(1)
    found = recover(mean, given.model, given.batch, losses)
    assert str(found).startswith("1 sample: the weights are those of ")
    assert "1 samples" not in str(found)


def test_a_condition_that_is_no_number_is_not_told() -> None:
    given = setting(3)
    found = recover(
        lambda m, b: (0 * losses(m, b)).sum().backward(),
        given.model,
        given.batch,
        lambda m, b: 0 * losses(m, b),
    )
    assert np.isnan(found.condition)
    assert "nan" not in str(found)


@pytest.mark.parametrize(
    ("weight", "n", "error", "shown"),
    [
        (0.125, 8, 1e-12, "1/n"),
        (0.25, 8, 1e-12, "2/n"),
        (-0.25, 8, 1e-12, "−2/n"),
        (1 / 9, 6, 1e-12, "1/9"),
        (1 / 600, 512, 1e-12, "1/600"),
        (1 / 600, 512, 6.6e-5, ""),  # 0.00167411 is as near, and so is much else
        (0.1234567, 8, 1e-9, ""),
        (1e-9, 8, 1e-8, "0"),
        (0.0, 8, 0.0, "0"),
        (6.0, 6, 1e-12, ""),  # the weight itself says more
    ],
)
def test_a_fraction_is_told_only_where_it_equals_the_weight(weight, n, error, shown) -> None:
    assert fraction(weight, n, error) == shown


def test_representations_are_the_text_and_a_table_in_which_names_are_escaped() -> None:
    found = three_terms(4)
    assert repr(found) == str(found)
    shown = found._repr_html_()
    assert shown.count("<tr>") == 1 + 3
    assert "<td>samples 0 – 3 box</td>" in shown
    risky = replace(found, units=replace(found.units, parts=("<script>", "a&b", "c")))
    assert "<script>" not in risky._repr_html_()
    assert html.escape("<script>") in risky._repr_html_()


def test_the_card_has_formula_numbers_and_what_is_not_ruled_out() -> None:
    given = setting(8)
    units = Units.of(8, {"microbatch": [0, 1] * 4}, window=2)
    found = recover(weighted([1 / 16] * 8), given.model, given.batch, losses, units=units)
    card = found.card()
    assert card["formula"] == str(found.formula)
    assert card["formulas"][0] == card["formula"]
    assert card["fault"] is None
    assert "fault:divided-twice" in {entry["fault"] for entry in card["not_ruled_out"]}
    assert "This batch cannot rule out fault:divided-twice; a batch with " in str(found)
