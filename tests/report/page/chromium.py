"""What the tests of the report's page do in a browser."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from suite.report.load import load_run
from suite.report.page.render import render
from tests.report.rows import write


def page(folder: Path, name: str, found: list[dict[str, Any]]) -> Path:
    run = write(folder / name / "run", found)
    path = folder / f"{name}.html"
    path.write_text(render(load_run(run), run), encoding="utf-8")
    return path


def open_(browser: Any, path: Path) -> None:
    browser.get("about:blank")
    browser.get_log("browser")
    browser.get_log("performance")
    browser.get(path.as_uri())


def shown(browser: Any) -> list[list[str]]:
    return browser.execute_script(
        "return [...document.querySelectorAll('#rows tbody tr')]"
        ".map(row => [...row.cells].map(cell => cell.textContent))"
    )


def until(condition: Callable[[], bool]) -> None:
    """Wait for what the page does by and by."""
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end, "nothing happened for five seconds"
        time.sleep(0.02)


def fill(browser: Any, **values: str) -> None:
    browser.execute_script(
        "for (const [id, value] of Object.entries(arguments[0])) {"
        " const one = document.getElementById(id); one.value = value;"
        " for (const kind of ['input', 'change']) one.dispatchEvent(new Event(kind, {bubbles: true})); }",
        values,
    )
