from __future__ import annotations

import subprocess
import sys

import pytest

from suite.errors import UsageError
from suite.papers.library import Papers, papers
from suite.papers.load import load_card

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
verified = "code read"

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


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('title = "A Paper"\n', "", "title is missing"),
        ('title = "A Paper"', 'title = ""', "title is empty"),
        ("year = 2020", 'year = "2020"', "year is '2020'; a whole number is needed"),
        ("year = 2020", "year = true", "year is True; a whole number is needed"),
        ('arxiv = "2001.00001"\n', "", "one of arxiv, doi or url is needed"),
        ("year = 2020", "yaer = 2020", "did you mean 'year'"),
        ("year = 2020", "year = 20200", "year is 20200; it must be below 10000"),
        (
            "max_norm = 1",
            "moving_start = 100.0\nmoving_decay = 1.5",
            r"gradient\.moving_decay is 1\.5; it must be below 1",
        ),
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
        ("batch_size = 32", 'formula = "1/m_x"', r"gradient\.formula '1/m_x': 'm_x' is no symbol"),
        ("batch_size = 32", 'clip_over = "tensors"', r"gradient\.clip_over is 'tensors'; it must be one of"),
        ("max_norm = 1", 'clip_over = "tensor"', r"gradient\.clip_over goes with gradient\.max_norm"),
        ("batch_size = 32", "moving_start = 100", r"moving_start and gradient\.moving_decay belong together"),
        ("batch_size = 32", 'sources = ["a/b:c"]', r"gradient\.sources: 'a/b:c' is no source: owner/name@"),
        ("batch_size = 32", 'port = "maen"', r"gradient\.port: no convention is named 'maen'"),
        ("[optimizer]", "[[groups]]\nselect = 'biases'\n[optimizer]", r"groups\[1\]\.parameters is missing"),
        (
            "[optimizer]",
            "[[groups]]\nparameters = 'b'\nselect = 'bias'\nlr_factor = 2\n[optimizer]",
            r"groups\[1\]\.select is 'bias'; it must be one of biases",
        ),
        (
            "[optimizer]",
            "[[groups]]\nparameters = 'b'\nselect = 'biases'\n[optimizer]",
            r"groups\[1\] says nothing: give lr_factor",
        ),
        (
            "batch_size = 32",
            "ran = 'code'",
            r"gradient\.verified = 'measured' and gradient\.ran",
        ),
        ('verified = "code read"', 'verified = "measured"', r"optimizer\.ran, .* belong together: give both"),
        ("[optimizer]", "[schedule]\nwarm = 'up'\n[optimizer]", r"no key is named 'schedule\.warm'"),
        ("[optimizer]", "[variants]\nx = 1\n[optimizer]", r"variants\.x must be a table"),
        (
            "[optimizer]",
            "[variants.x]\nauthors = ['A']\n[optimizer]",
            r"no key is named 'variants\.x\.authors'",
        ),
    ],
)
def test_a_broken_card_gets_one_line_that_names_file_and_key(tmp_path, old, new, says):
    assert old in CARD
    path = write(tmp_path, CARD.replace(old, new))
    with pytest.raises(UsageError, match=says) as error:
        load_card(path)
    assert str(error.value).startswith("a-paper-2020.toml: ")
    assert "\n" not in str(error.value)


def test_a_variant_is_its_card_with_some_facts_changed(tmp_path):
    more = '\n[variants.code.gradient]\nconvention = "mean"\n'
    more += "[variants.code.optimizer.hyperparameters]\nlr = 1.0\n"
    write(tmp_path, CARD + more)
    library = Papers(tmp_path)
    assert library.names == ["a-paper-2020", "a-paper-2020:code"]
    card, code = library
    assert (card.convention, code.convention) == ("sum", "mean")
    assert (code.batch_size, code.max_norm, code.hyperparameters) == (32, 1, {"lr": 1.0})
    measured = CARD.replace('verified = "paper read"', 'verified = "measured"\nran = "a==1: f"') + more
    write(tmp_path, measured + '[variants.other.gradient]\nverified = "code read"\n', "b-paper-2020")
    _, _, card, code, other = Papers(tmp_path)
    assert [paper.ran for paper in (card, code, other)] == ["a==1: f", "a==1: f", ""]
    with pytest.raises(UsageError, match="did you mean 'a-paper-2020:code'"):
        library["a-paper-2020:cod"]


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
    assert [paper.name for paper in papers.match(["dqn-2*", "dopamine-*"])] == ["dopamine-dqn", "dqn-2015"]
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
    code = (
        "import sys; from suite.papers.library import papers; list(papers); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
