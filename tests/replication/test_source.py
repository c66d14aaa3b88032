"""A paper's step as a source of claims."""

from __future__ import annotations

import pytest

from suite.claim import claim_sources
from suite.replication.source import PaperStepSource
from suite.running.options import RunOptions
from suite.running.worker import Worker


@pytest.fixture
def source(tmp_path):
    card = tmp_path / "card.toml"
    card.write_text("title = 1")
    added = PaperStepSource("papers/of-tests", "?", "nowhere", "cases.papers.dqn_2015", card_file=card)
    claim_sources.add(added)
    yield added
    del claim_sources._items["papers/of-tests"]


def test_a_stored_result_is_not_reused_once_the_card_is_another(source):
    def base():
        return Worker(RunOptions()).base("claim", source.name)

    before = base()
    assert base() == before
    source.card_file.write_text("title = 2")
    assert base() != before


def test_its_claims_are_those_of_the_step(source):
    assert [claim.name for claim in source.claims()] == ["gradient", "optimizer", "port", "converted"]
