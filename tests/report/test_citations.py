"""BibTeX of what conventions rest on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from suite.conventions import conventions
from suite.papers.library import Papers, papers
from suite.report.citations import entries, suite


def test_the_suite_cites_itself() -> None:
    assert suite().startswith("@software{gradsuite,")


def test_a_paper_has_the_entry_of_its_card() -> None:
    assert papers["dp-sgd-2016"].bibtex in entries(["clip-each-unit"])


def test_a_card_and_its_variants_are_cited_once() -> None:
    found = entries(["token-mean"])
    assert len(found) == len(set(found))


def test_papers_that_use_a_convention_are_cited_with_it() -> None:
    assert papers["grpo-2024"].bibtex in entries(["mean-of-sequence-means"])
    assert papers["alexnet-2012"].bibtex in entries(["mean"])


def test_a_number_of_arxiv_and_an_address_are_misc() -> None:
    (found,) = [e for e in entries(["mean-of-copies"]) if "1901.09335" in e]
    assert found.startswith("@misc{arxiv-1901.09335,")
    assert r"\url{https://arxiv.org/abs/1901.09335}" in found
    (found,) = entries(["fault:kept-as-views"])
    assert found.startswith("@misc{discuss-pytorch-org-t-49826,")


def test_an_issue_is_cited_by_its_address() -> None:
    (found,) = [
        e for e in entries(["fault:times-batch-size"]) if e.startswith("@misc{ultralytics-yolov5-484")
    ]
    assert r"title = {{ultralytics/yolov5\#484}}" in found
    assert r"\url{https://github.com/ultralytics/yolov5/issues/484}" in found


def test_a_source_that_is_code_is_a_comment() -> None:
    (found,) = entries(["batchmean"])
    assert found.splitlines()[1] == "% batchmean: torch.nn.functional.kl_div"


def test_what_two_conventions_rest_on_is_cited_once_for_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len([e for e in entries(["weighted-sum-of-terms", "sum-of-term-means"]) if "1506.01497" in e]) == 1
    monkeypatch.setattr("suite.papers.library.papers", Papers(tmp_path))  # no card says it then
    (found,) = [e for e in entries(["weighted-sum-of-terms", "sum-of-term-means"]) if "1506.01497" in e]
    assert "Source of conventions weighted-sum-of-terms, sum-of-term-means" in found


def test_a_convention_that_is_gone_is_passed_over() -> None:
    assert entries(["gone"]) == []


@pytest.mark.parametrize("name", [c.name for c in conventions])
def test_every_entry_is_balanced_and_every_key_is_one(name: str) -> None:
    for entry in entries([name]):
        if not entry.startswith("%"):
            assert entry.count("{") == entry.count("}")
            assert re.match(r"@\w+\{[\w.:-]+,\n", entry)
