"""The steps of the built-in cards: each does what its card says, and none is longer than a page."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from cases.papers import NOT_STEPS
from suite.claim import claim_sources
from suite.discovery import load_claims
from suite.papers.library import papers
from suite.replication.measure import complaints
from suite.replication.source import PaperStepSource

FOLDER = Path(__file__).parents[2] / "cases" / "papers"
load_claims()
STEPS = {s.name: s for s in claim_sources if isinstance(s, PaperStepSource) and s.module.startswith("cases.")}
LONGEST = 30


def step_of(name):
    """The step of a source."""
    return import_module(STEPS[name].module).STEP


@pytest.mark.parametrize("name", STEPS)
def test_a_step_computes_what_its_card_says(name):
    step = step_of(name)
    assert name == f"papers/{step.paper}"
    assert complaints(papers[step.paper], step) == []


def test_a_step_fits_on_a_page():
    paths = [path for path in FOLDER.glob("*.py") if path.stem not in NOT_STEPS]
    lengths = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in paths}
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


@pytest.mark.parametrize("name", STEPS)
def test_the_card_of_a_step_is_a_file_that_it_depends_on(name):
    (card,) = STEPS[name].files
    assert card.is_file()
