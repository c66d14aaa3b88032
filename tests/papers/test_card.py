from __future__ import annotations

import subprocess
import sys

import pytest

from suite.errors import UsageError
from suite.papers.card import Papers, load_card, papers
from suite.papers.schema import VERIFIED

CARD = """
title = "A Paper"
authors = ["A. Author", "B. Author"]
year = 2020
arxiv = "2001.00001"
bibtex = "@article{author2020paper, title={A Paper}}"
notes = ["A note."]

[gradient]
convention = "sum"
also = ["mean"]
where = "section 1"
verified = "paper read"
batch_size = 32
max_norm = 1

[optimizer]
dialect = "torch"
name = "Adam"
where = "section 2"
verified = "source read"

[optimizer.hyperparameters]
lr = 0.001
betas = [0.9, 0.98]
"""
WANTED = {
    "goyal-2017", "alexnet-2012", "dqn-2015", "dopamine-dqn", "dp-sgd-2016", "bert-2018",
    "transformer-2017", "simclr-2020", "retinanet-2017", "vae-2013", "word2vec-cbow-2013",
    "grpo-2024", "dapo-2025", "dr-grpo-2025",
}  # fmt: skip


def write(folder, text, name="a-paper-2020"):
    path = folder / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_card_becomes_a_paper(tmp_path):
    paper = load_card(write(tmp_path, CARD))
    assert (paper.name, paper.convention, paper.batch_size) == ("a-paper-2020", "sum", 32)
    assert paper.hyperparameters == {"lr": 0.001, "betas": (0.9, 0.98)}
    assert paper.reference == "arXiv 2001.00001"
    assert paper.has_rate
    card = paper.card()
    assert card["verified"] == "paper read"
    assert "lr=0.001" in card["optimizer"]


def test_the_papers_that_were_asked_for_are_there():
    assert set(papers.names) >= WANTED


@pytest.mark.parametrize("name", papers.names)
def test_every_built_in_card_is_whole(name):
    paper = papers[name]
    assert paper.verified in VERIFIED
    assert paper.bibtex.startswith("@")
    assert paper.title.lower().split()[0].strip(":,") in paper.bibtex.lower()
    assert str(paper.year) in paper.bibtex
    if "not checked" in (paper.verified, paper.optimizer_verified):
        assert any("not checked" in note.lower() for note in paper.notes)
    if not paper.has_rate:
        assert any("rate" in note for note in paper.notes)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('title = "A Paper"\n', "", "title is missing"),
        ('title = "A Paper"', 'title = ""', "title is empty"),
        ("year = 2020", 'year = "2020"', "year is '2020'; a whole number is needed"),
        ("year = 2020", "year = true", "year is True; a whole number is needed"),
        ('arxiv = "2001.00001"\n', "", "one of arxiv, doi or url is needed"),
        ("year = 2020", "yaer = 2020", "did you mean 'year'"),
        ('convention = "sum"', 'convention = "summ"', r"gradient\.convention: no convention is named 'summ'"),
        ('also = ["mean"]', 'also = ["meen"]', r"gradient\.also: no convention is named 'meen'"),
        ('also = ["mean"]', "also = [1]", r"gradient\.also must be a list of texts"),
        ('verified = "paper read"', 'verified = "seen"', r"gradient\.verified is 'seen'; it must be one of"),
        ("batch_size = 32", "batch_size = 0", r"gradient\.batch_size is 0; it must be positive"),
        (
            "max_norm = 1",
            "max_norm = inf",
            r"gradient\.max_norm is inf; it must be positive and finite",
        ),
        ("max_norm = 1", f"max_norm = 1{400 * '0'}", r"max_norm is 1000.*\(401 characters\); it must be"),
        ("batch_size = 32", f"batch_size = 1{400 * '0'}", r"batch_size is 1000.*\(401 characters\); it must"),
        ("batch_size = 32", "batch_size = 3.5", r"gradient\.batch_size is 3\.5; a whole number is needed"),
        ("batch_size = 32", "batchsize = 32", r"did you mean 'gradient\.batch_size'"),
        ('dialect = "torch"', 'dialect = "pytorch"', r"optimizer\.dialect: no dialect is named 'pytorch'"),
        ('name = "Adam"', 'name = "Adamm"', r"optimizer\.name: .*Adamm"),
        ("lr = 0.001", "rate = 0.001", r"optimizer\.hyperparameters: .*rate"),
        ("lr = 0.001", 'lr = "fast"', r"optimizer\.hyperparameters: .*lr"),
        ("authors = [", "authors = [[", "is no TOML"),
    ],
)
def test_a_broken_card_gets_one_line_that_names_file_and_key(tmp_path, old, new, says):
    assert old in CARD
    path = write(tmp_path, CARD.replace(old, new))
    with pytest.raises(UsageError, match=says) as error:
        load_card(path)
    assert str(error.value).startswith("a-paper-2020.toml: ")
    assert "\n" not in str(error.value)


def test_a_card_that_is_not_there_is_answered_with_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'dqn-2015'"):
        papers["dqn-2016"]
    with pytest.raises(UsageError, match="cannot be read"):
        load_card("nowhere.toml")


def test_one_broken_card_does_not_hide_the_others(tmp_path):
    write(tmp_path, CARD)
    write(tmp_path, "title = 1", name="broken")
    library = Papers(tmp_path)
    assert library.names == ["a-paper-2020", "broken"]
    assert library["a-paper-2020"].year == 2020
    with pytest.raises(UsageError, match=r"broken\.toml"):
        list(library)


def test_papers_are_found_by_pattern():
    assert [paper.name for paper in papers.match(["dqn-*", "dopamine-*"])] == ["dopamine-dqn", "dqn-2015"]
    assert len(papers.match()) == len(papers)
    with pytest.raises(UsageError, match="no paper is named"):
        papers.match(["nobody-*"])


def test_dqn_and_its_port_differ_by_the_square_of_the_batch_size():
    dqn, port = papers["dqn-2015"], papers["dopamine-dqn"]
    assert (dqn.convention, port.convention) == ("sum", "mean")
    assert dqn.hyperparameters["lr"] == port.hyperparameters["learning_rate"]
    assert dqn.hyperparameters["eps"] / dqn.batch_size**2 == pytest.approx(
        port.hyperparameters["epsilon"], rel=0.03
    )


def test_reading_cards_needs_no_torch():
    code = "import sys; from suite.papers.card import papers; list(papers); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
