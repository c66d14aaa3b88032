"""What README.md and docs/ show is what commands print; `python -m tests.documents` writes it anew."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import gradsuite
from suite.cli.main import COMMANDS
from tests.documents import (
    CONSOLE,
    DOCUMENTS,
    ELIDED,
    LAST,
    ROOT,
    RUN,
    TUTORIALS,
    printed,
    printed_by_run,
    steps,
)

TEXTS = {path: path.read_text(encoding="utf-8") for path in DOCUMENTS}
README = TEXTS[ROOT / "README.md"]
SHOWN = [(path.name, *found.groups()) for path, text in TEXTS.items() for found in CONSOLE.finditer(text)]


def _without_rounding(text: str) -> str:
    """Numbers below 1e-12 are rounding, which differs between machines."""
    return re.sub(r"\d(\.\d+)?e-1[2-9]", "ROUNDING", text)


@pytest.mark.parametrize(("document", "command", "shown"), SHOWN, ids=[f"{d}: {c}" for d, c, _ in SHOWN])
def test_a_command_prints_what_a_document_shows(document: str, command: str, shown: str) -> None:
    assert _without_rounding(printed(command)) == _without_rounding(shown), document


@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_can_be_done_from_its_page_alone(tutorial: Path) -> None:
    done = list(steps(tutorial.read_text(encoding="utf-8")))
    assert done
    for command, shown, output in done:
        said, rest = _without_rounding(output), _without_rounding(shown.removesuffix(ELIDED))
        assert said.startswith(rest) if shown.endswith(ELIDED) or not shown else said == rest, command


def test_the_readme_shows_the_output_of_three_commands_or_more() -> None:
    assert len([document for document, *_ in SHOWN if document == "README.md"]) >= 3


def test_the_tables_of_the_readme_are_those_of_the_reference_run() -> None:
    (shown,) = RUN.findall(README)
    assert shown == printed_by_run() + LAST


def test_the_readme_is_read_at_one_sitting() -> None:
    assert len(README.splitlines()) <= 250


def test_quoted_code_is_the_examples() -> None:
    quoted = re.findall(r"<!-- (\S+\.py) -->\n\n```python\n((?:.*\n)*?)```", README)
    assert quoted
    for path, code in quoted:
        assert code in (ROOT / path).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "document", [*DOCUMENTS, *TUTORIALS, ROOT / "CONTRIBUTING.md", ROOT / "results" / "README.md"]
)
def test_links_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    headings = {re.sub(r"[^\w -]", "", line.strip("# ").lower()).replace(" ", "-")
                for line in text.splitlines() if line.startswith("#")}  # fmt: skip
    for link, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", text):
        target = (document.parent / link).resolve()
        if target.parent == ROOT / "docs" / "reference":  # made with the site, which checks its links
            continue
        assert target.exists(), link
        assert link or anchor in headings, anchor


def test_every_command_is_in_the_table_of_commands() -> None:
    table = TEXTS[ROOT / "docs" / "commands.md"]
    assert sorted(re.findall(r"^\| `gradsuite (\w+)", table, re.MULTILINE)) == sorted(COMMANDS)


def test_what_documents_call_of_gradsuite_exists() -> None:
    for path, text in TEXTS.items():
        for name in re.findall(r"(?<![/.\w])gradsuite\.([A-Za-z_]\w*)", text):
            if name not in {"cases", "claims", "papers"}:  # groups of entry points
                assert hasattr(gradsuite, name), f"{path.name}: gradsuite.{name}"


def test_the_gate_calls_the_readmes_test_command_word_for_word() -> None:
    tested = [line for line in README.splitlines() if line.startswith("pip install tox")]
    assert tested == [(ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()[-1]]
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "requires-python"
    ]
    assert f"Python {version.removeprefix('>=')} or newer" in README
