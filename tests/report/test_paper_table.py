"""The table of papers, in each of its forms."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from suite.cli.main import main
from suite.discovery import load_claims
from suite.errors import UsageError
from suite.papers.library import papers
from suite.replication.source import PaperStepSource
from suite.report.latex import latex_escape
from suite.report.paper_table import PAPER_COLUMNS, paper_rows, paper_table
from suite.report.papers_page import papers_csv, papers_page

ROWS = {row.paper.name: row for row in paper_rows()}


def test_each_card_and_variant_has_a_row():
    assert list(ROWS) == papers.names
    assert all(len(row.cells) == len(PAPER_COLUMNS) for row in ROWS.values())


@pytest.mark.parametrize(
    ("name", "factor", "typed"),
    [
        ("dqn-2015", "n = 32", "RMSprop(…, lr=0.00025, alpha=0.95, eps=0.003125, centered=True)"),
        ("vae-pytorch-example", "n = 128", "Adam(…, lr=0.001, betas=(0.9, 0.999), eps=7.8125e-11)"),
        ("sac-2018", "1/2 = 0.5", "Adam(…, lr=0.0003, betas=(0.9, 0.999), eps=2e-07)"),
        ("annotated-transformer", "K = 10", "Adam(…, lr=η, betas=(0.9, 0.98), eps=1e-10)"),
        ("char-rnn-2015", "V/n = 50", "RMSprop(…, lr=0.002, alpha=0.95, eps=2e-10); "
                                      "clip_grad_value_(…, 0.1)"),
        ("nmt-2017", "V/n", "SGD(…, lr=1); clip_grad_norm_(…, 5); on Σ 1/n·ℓ_u"),
        ("convnext-2022", "1", "AdamW(…, lr=0.004, betas=(0.9, 0.999), eps=1e-08, weight_decay=0.05); "
                               "biases and norms: weight decay 0"),
        ("simclr-2020", "P", "–"),
    ],
)  # fmt: skip
def test_the_factor_and_what_to_type_follow_from_the_card(name, factor, typed):
    assert (ROWS[name].factor, ROWS[name].typed) == (factor, typed)


def test_a_step_that_is_held_against_its_card_is_said_to_agree():
    assert ROWS["dqn-2015"].known == "gradient: code read, its step agrees; optimizer: code read"
    assert {name for name, row in ROWS.items() if "step agrees" in row.known} == {
        source.name.partition("/")[2] for source in load_claims() if isinstance(source, PaperStepSource)
    }
    assert "agrees with this card" in papers["dqn-2015"].card()["step"]


def test_latex_is_balanced_and_has_no_sign_that_it_does_not_print():
    text = paper_table().latex()
    assert text.count("\\begin{longtable}") == text.count("\\end{longtable}") == 1
    bare = re.sub(r"\\[{}]", "", text)
    assert bare.count("{") == bare.count("}")
    assert text.isascii() or {sign for sign in text if ord(sign) > 255} == set()
    rows = [line for line in text.splitlines() if line.startswith("  ") and line.endswith("\\\\")][1:]
    assert len(rows) == len(papers)
    assert {len(re.split(r"(?<!\\)&", row)) for row in rows} == {len(PAPER_COLUMNS)}
    _, table = text.split("\n", 1)  # the first line is a comment: the packages that it needs
    assert text.startswith("% \\usepackage")
    assert not re.search(r"(?<!\\)[_#%]", re.sub(r"\$[^$]*\$", "", table))
    assert bare.count("$") % 2 == 0


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex, with booktabs")
def test_latex_compiles_in_a_plain_article_and_no_line_is_too_long(tmp_path):
    text = paper_table().latex()
    preamble = text.partition("\n")[0].removeprefix("% ")
    document = rf"\documentclass{{article}}{preamble}\begin{{document}}{text}\end{{document}}"
    (tmp_path / "table.tex").write_text(document, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "table.tex"]
    for _ in range(2):  # the second knows how wide the columns are
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("1/V_k", r"1/$V_{k}$"),
        ("Σ λ_t/n_k·ℓ_u", r"$\sum$ $\lambda_{t}$/$n_{k}$$\cdot$$\ell_{u}$"),
        ("clip_grad_norm_(…)", r"clip\_grad\_norm\_(\ldots{})"),
        ("lr --paper", "lr -{}-paper"),
        ("2–3", "2--3"),
    ],
)
def test_symbols_have_an_index_and_words_of_code_do_not(text, printed):
    assert latex_escape(text) == printed


def test_csv_holds_the_places_in_code():
    rows = list(csv.DictReader(io.StringIO(papers_csv())))
    assert [row["paper"] for row in rows] == papers.names
    assert "google-deepmind/dqn@9d9b1d1:run_gpu:lr" in rows[papers.names.index("dqn-2015")]["read at"]


class _Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.links, self.depth, self.rows = [], 0, 0

    def handle_starttag(self, tag, attributes):
        self.rows += tag == "tr"
        known = dict(attributes)
        assert tag not in ("link", "img", "iframe")
        assert "src" not in known
        self.links += [known["href"]] if tag == "a" else []


def test_the_page_links_each_place_in_code_and_takes_nothing_from_elsewhere():
    page = _Page()
    page.feed(papers_page())
    assert page.rows == len(papers) + 1
    assert set(page.links) == {source.url for row in ROWS.values() for source in row.sources}


def test_markdown_and_text_have_a_row_for_each_paper():
    table = paper_table(["dqn-*"], ["paper", "known"])
    assert "| dqn-2015" in table.markdown()
    assert table.text().count("code read") >= 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--case", "dqn-2016"], "did you mean 'dqn-2015'"),
        (["--columns", "paper,fcator"], "no column is named 'fcator'"),
        (["--convention", "sum"], "choose papers by --case"),
    ],
)
def test_wrong_input_gets_one_line(capsys, arguments, says):
    assert main(["table", "papers", *arguments]) == 2
    out, err = capsys.readouterr()
    assert says in err
    assert (out, err.count("\n")) == ("", 1)


def test_a_pattern_without_a_paper_is_refused():
    with pytest.raises(UsageError, match="no paper is named"):
        paper_rows(["nobody"])


@pytest.mark.parametrize("width", [390, 1280])
def test_in_a_browser_the_page_is_searched_and_sorted_and_fits_its_width(browser, tmp_path, width):
    path = tmp_path / "papers.html"
    path.write_text(papers_page(), encoding="utf-8")
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        browser.get(path.as_uri())
        script = browser.execute_script
        assert script("return document.documentElement.scrollWidth") <= width
        search = browser.find_element("id", "search")
        search.send_keys("DQN baselines")
        rows = "[...document.querySelectorAll('tbody tr')]"
        assert script(f"return {rows}.filter(row => row.offsetHeight).map(row => row.id)") == [
            "dqn-baselines"
        ]
        assert browser.find_element("id", "shown").text == "1"
        search.send_keys("\b" * 20)
        order = "return document.querySelector('tbody tr').id"
        button = browser.find_element("css selector", "thead th button")
        button.click()
        assert script(order) == papers.names[0]
        button.click()
        assert script(order) == papers.names[-1]
        assert button.find_element("xpath", "..").get_attribute("aria-sort") == "descending"
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
