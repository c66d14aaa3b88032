"""The report in a real browser."""

from __future__ import annotations

import base64
import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.report.page.chromium import fill, open_, page, shown, until
from tests.report.rows import HOSTILE, hostile, many

# selenium leaves sockets to the garbage collector
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


def test_the_console_stays_silent_and_nothing_is_fetched(small: Any) -> None:
    for css in ("#rows thead button", "#heatmap-case option", "#more", "#all"):
        for control in small.find_elements("css selector", css):
            small.execute_script("arguments[0].click()", control)
    assert small.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in small.get_log("performance")]
    asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    assert [url for url in asked if not url.startswith(("file:", "data:", "about:"))] == []
    assert len([url for url in asked if url.startswith("file:")]) == 1


def test_words_choices_and_both_together_filter_the_rows(small: Any) -> None:
    assert len(shown(small)) == 40
    fill(small, find="two half")
    assert {(row[0], row[3]) for row in shown(small)} == {("two", "half-mean")}
    assert small.find_element("id", "found").text == "4 of 40 measurements"
    fill(small, find="", **{"find-verdict": "direction"})
    assert {row[3] for row in shown(small)} == {"clip-each-unit"}
    fill(small, **{"find-case": "one"})
    assert {(row[0], row[3]) for row in shown(small)} == {("one", "clip-each-unit")}
    small.find_element("css selector", "#filter button[type=reset]").click()
    until(lambda: len(shown(small)) == 40)


def test_a_column_is_sorted_by_its_button_and_says_so(small: Any) -> None:
    button = small.find_element("css selector", "#rows th:nth-child(6) button")
    header = small.find_element("css selector", "#rows th:nth-child(6)")
    for order, reverse in (("ascending", False), ("descending", True)):
        small.execute_script("arguments[0].focus()", button)
        button.send_keys("\n")  # by the keyboard
        found = [float(row[5]) for row in shown(small)]
        assert found == sorted(found, reverse=reverse)
        assert header.get_attribute("aria-sort") == order


def test_a_link_to_a_row_shows_and_marks_it_whatever_is_filtered(browser: Any, folder: Path) -> None:
    path = page(folder, "linked", many(1000))
    open_(browser, path)
    browser.find_element("id", "all").click()
    last = browser.execute_script("return document.querySelector('#rows tbody tr:last-child').id")
    open_(browser, path)
    fill(browser, find="nothing has this")
    browser.execute_script("location.hash = arguments[0]", last)
    until(lambda: browser.execute_script("return document.activeElement.id") == last)
    assert "target" in browser.execute_script("return document.activeElement.className")


def test_everything_has_a_name_and_tables_have_headers_with_scope(small: Any) -> None:
    bare = small.execute_script(
        "return [...document.querySelectorAll('input, select, button')].filter(one => "
        "!(one.labels?.length || one.textContent.trim() || one.getAttribute('aria-label')))"
        ".map(one => one.outerHTML)"
    )
    assert bare == []
    loose = "return [...document.querySelectorAll('th')].filter(th => !th.scope).length"
    assert small.execute_script(loose) == 0
    levels = small.execute_script("return [...document.querySelectorAll('h1,h2,h3')].map(h => +h.tagName[1])")
    assert levels[0] == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))


def test_the_skip_link_is_the_first_stop_of_the_keyboard(small: Any) -> None:
    small.find_element("tag name", "body").send_keys("\t")
    assert small.execute_script("return document.activeElement.getAttribute('href')") == "#content"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast_in_light_and_dark(small: Any, scheme: str) -> None:
    feature = {"name": "prefers-color-scheme", "value": scheme}
    small.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    found = small.execute_script(
        """
        const probe = document.createElement('canvas').getContext('2d');
        const light = (colour) => {
          probe.clearRect(0, 0, 1, 1); probe.fillStyle = colour; probe.fillRect(0, 0, 1, 1);
          const [r, g, b] = [...probe.getImageData(0, 0, 1, 1).data].map(v => v / 255)
            .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
          return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const page = getComputedStyle(document.body).backgroundColor;
        return [...document.querySelectorAll('p, td, th, .verdict, a, summary')].map(one => {
          const style = getComputedStyle(one), clear = 'rgba(0, 0, 0, 0)';
          let at = one; while (at && getComputedStyle(at).backgroundColor === clear) at = at.parentElement;
          const [a, b] = [light(style.color), light(at ? getComputedStyle(at).backgroundColor : page)].sort();
          return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), one.outerHTML.slice(0, 120)];
        }).sort((x, y) => x[0] - y[0])[0];
        """
    )
    small.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert found[0] >= 4.5, found


def test_nothing_overflows_a_narrow_screen(small: Any) -> None:
    small.set_window_size(500, 900)
    width, inner = small.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    small.set_window_size(1300, 900)
    assert width <= inner


def test_printing_opens_what_is_folded(small: Any) -> None:
    small.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert small.execute_script("return document.querySelectorAll('details:not([open])').length") == 0


def printed(browser: Any) -> int:
    """How many sheets of A4 the open page has."""
    sheet = browser.execute_cdp_cmd("Page.printToPDF", {"paperWidth": 8.27, "paperHeight": 11.69})
    return len(re.findall(rb"/Type\s*/Page\b", base64.b64decode(sheet["data"])))


def test_a_list_that_is_not_all_shown_is_not_printed_and_says_so(browser: Any, folder: Path) -> None:
    open_(browser, page(folder, "long", many(400)))
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    paper = browser.find_element("css selector", "#measurements .on-paper")
    rows_ = browser.find_element("id", "rows")
    assert paper.is_displayed()
    assert not rows_.is_displayed()
    few = printed(browser)
    browser.execute_script("document.getElementById('all').click()")
    assert rows_.is_displayed()
    assert not paper.is_displayed()
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert printed(browser) > few


def test_ten_thousand_rows_open_in_three_seconds_and_fit_in_five_megabytes(
    browser: Any, folder: Path
) -> None:
    path = page(folder, "many", many(10_000))
    assert path.stat().st_size < 5_000_000
    open_(browser, path)
    spent = browser.execute_script(
        "const t = performance.getEntriesByType('navigation')[0]; return t.loadEventEnd - t.startTime"
    )
    assert 0 < spent < 3000
    assert browser.find_element("id", "found").text.startswith("10000 of 10000 measurements")
    browser.find_element("id", "all").click()
    assert len(browser.find_elements("css selector", "#rows tbody tr")) == 10_000


def test_hostile_names_are_text_and_nothing_more(browser: Any, folder: Path) -> None:
    open_(browser, page(folder, "hostile", hostile()))
    assert browser.get_log("browser") == []
    assert browser.title == "gradsuite: run"
    assert browser.find_elements("css selector", "main img, main script") == []
    assert HOSTILE in browser.find_element("id", "failures").text
    fill(browser, **{"heatmap-case": "1"})
    assert HOSTILE in browser.find_element("css selector", "#heatmap caption").text
    assert HOSTILE in {row[0] for row in shown(browser)}
