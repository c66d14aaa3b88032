"""What a run says of a paper's step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from suite.claim import measure_claim
from suite.discovery import choose, load_claims
from suite.papers.library import papers
from suite.replication.gradient import gradient_complaints
from suite.replication.measure import claims_of
from suite.report.latex import latex_escape
from suite.report.step_table import step_table
from tests.replication.test_steps import STEPS, step_of


def finding(name, claim):
    return next(c for c in claims_of(step_of(f"papers/{name}")) if c.name == claim).measure()


def test_a_sum_is_recovered_and_told_from_its_port():
    gradient = finding("vae-pytorch-example", "gradient")
    assert gradient.verdict == finding("vae-pytorch-example", "optimizer").verdict == "holds"
    assert gradient.numbers["recovered"].startswith("sum")
    port = finding("vae-pytorch-example", "port")
    assert port.numbers["direction"] > 0.1  # pixels against latents: no rate mends it


def test_a_step_that_is_a_multiple_of_its_port_converts_to_it():
    assert finding("dqn-2015", "port").numbers["scales"] == pytest.approx([1 / 8] * 3)
    converted = finding("dqn-2015", "converted")
    assert converted.verdict == "holds"
    assert converted.numbers["converted"] < 1e-12 < 0.1 < converted.numbers["unchanged"]


def test_micro_batches_that_are_averaged_take_the_steps_of_the_whole_batch():
    assert {finding("convnext-2022", claim).verdict for claim in ("port", "converted")} == {"holds"}


def test_clipping_that_a_port_does_not_see_is_not_converted():
    assert "clips parts of a batch" in finding("dp-sgd-2016", "converted").measured


def test_a_step_without_an_optimizer_makes_two_claims():
    assert [c.name for c in claims_of(step_of("papers/rloo-2024"))] == ["gradient", "port"]


def test_a_gradient_that_is_not_a_number_is_no_agreement():
    step = step_of("papers/dqn-2015")
    broken = replace(step, step=lambda model, batch: (model(batch[0]) * float("nan")).sum().backward())
    assert gradient_complaints(papers["dqn-2015"], broken) != []


def test_steps_are_measured_where_they_are_asked_for_only():
    assert choose()[1] == []
    cases, steps = choose(["papers/nmt-*"])
    assert ([case.name for case in cases], [step.name for step in steps]) == ([], ["papers/nmt-2017"])
    assert [step.name for step in choose(["papers/*"])[1]] == list(STEPS)
    assert [step.name for step in choose(["papers/ppo-*"])[1]] == ["papers/ppo-2017", "papers/ppo-2017:sb3"]


def test_the_signs_of_all_claims_are_printed_by_latex():
    says = [claim.says for name in STEPS for claim in load_claims()[name].claims()]
    assert {sign for text in says for sign in latex_escape(text) if ord(sign) > 255} == set()


class Rows:
    def __init__(self, rows):
        self.rows = rows

    def of(self, kind):
        return [row for row in self.rows if row["kind"] == kind]


def test_the_table_has_a_row_for_each_paper_and_says_what_is_wrong():
    source = load_claims()["papers/dqn-2015"]
    rows = [measure_claim(source, claim) for claim in source.claims()]
    lost = {"kind": "claim", "case": "papers/lost", "claim": "port", "verdict": "holds", "measured": "x"}
    wrong = [row | {"case": "papers/wrong", "verdict": "does not hold"} for row in rows]
    table = step_table(Rows([*rows, lost | {"numbers": {"scales": [None], "direction": None}}, *wrong]))
    assert [row[:3] for row in table.rows][:2] == [
        ["dqn-2015", "1", "holds"],
        ["lost", "no product", "not measured"],
    ]
    assert table.rows[0][3] == "0.125"
    assert table.rows[1][3:] == ["–", "–", "–", "–"]
    assert table.rows[2][2] != "holds"


@pytest.mark.slow
def test_all_steps_hold_in_a_run(tmp_path: Path):
    from gradsuite import run

    result = run(cases=["papers/*"], output=tmp_path)
    assert result.failures == []
    (table,) = result.tables
    assert {row[2] for row in table.rows} == {"holds"}
    assert len(table.rows) == len(STEPS)
