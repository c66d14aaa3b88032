"""All built-in cards: each is whole, and each says where its facts were read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from suite.conventions import conventions
from suite.papers.library import papers
from suite.papers.schema import VERIFIED
from suite.papers.unstated import unstated

READ = ("measured", "code read")


@pytest.mark.parametrize("name", papers.names)
def test_a_card_is_whole(name):
    paper = papers[name]
    assert paper.verified in VERIFIED
    assert paper.bibtex.startswith("@")
    assert paper.title.lower().split()[0].strip(":,") in paper.bibtex.lower()
    assert str(paper.year) in paper.bibtex
    if "not checked" in (paper.verified, paper.optimizer_verified):
        assert any("not checked" in note.lower() for note in paper.notes)
    if not paper.has_rate:
        assert any("rate" in note for note in paper.notes)
    assert all(isinstance(value, str | int) for value in paper.card().values())


@pytest.mark.parametrize("name", papers.names)
def test_what_was_read_in_code_has_a_link_with_repository_commit_path_and_function(name):
    paper = papers[name]
    for verified, sources in (
        (paper.verified, paper.sources),
        (paper.optimizer_verified, paper.optimizer_sources),
    ):
        assert sources or verified not in READ
        for source in sources:
            assert all((source.repository, source.commit, source.path, source.function))
            assert source.url.startswith(f"https://github.com/{source.repository}/blob/{source.commit}/")


@pytest.mark.parametrize("name", papers.names)
def test_a_step_clips_where_its_card_says_parts_of_a_batch_are_clipped(name):
    paper = papers[name]
    parts = ("unit", "rank", "micro-batch", "group")
    if paper.max_norm is not None and paper.clip_over == "all":
        assert not conventions[paper.convention].uses_gram
    assert paper.clip_over not in parts or paper.max_norm is not None


def test_the_package_that_was_run_is_the_one_that_the_frameworks_environment_installs():
    pinned = (Path(__file__).parents[2] / "constraints.txt").read_text("utf-8").splitlines()
    ran = [text for paper in papers for text in (paper.ran, paper.optimizer_ran) if text]
    for text in ran:
        packages = re.findall(r"(?:^|; )(\S+==[\w.]+)", text)
        assert packages, text
        assert {*packages} <= {*pinned}, text
    assert len(ran) >= 14


def test_seventy_five_papers_have_a_card_most_were_read_in_code_and_fifty_have_a_step_that_agrees():
    of_their_own = [paper for paper in papers if ":" not in paper.name]
    assert len(of_their_own) >= 75
    assert len([paper for paper in of_their_own if paper.verified in READ]) >= 60
    assert len([paper for paper in of_their_own if paper.step is not None and paper.step.tested]) >= 50


def test_hyperparameters_that_nobody_states_are_those_that_act_unsaid():
    assert unstated(papers["grpo-2024"])["weight_decay"] == 0.01
    assert "weight_decay" not in unstated(papers["dapo-2025"])
    assert unstated(papers["dqn-2015"]) == {}
