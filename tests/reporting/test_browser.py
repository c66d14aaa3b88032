"""The report in a real browser: headless Chromium, driven by chromedriver."""

from __future__ import annotations

import itertools
import json
import math
import random
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from suite.equivalence import LAWS, Sizes, equivalent, scale_between
from suite.errors import UsageError
from suite.reporting.load import load
from suite.reporting.render import render
from tests.reporting.rows import HOSTILE, hostile, many, rows, write

webdriver = pytest.importorskip(
    "selenium.webdriver", reason="needs selenium: pip install 'gradsuite[browser]'"
)
BROWSER, DRIVER = (shutil.which(name) for name in ("chromium", "chromedriver"))
pytestmark = [
    pytest.mark.skipif(
        not BROWSER or not DRIVER,
        reason="needs Debian's chromium and chromium-driver, which are not installed",
    ),
    # selenium leaves sockets to the garbage collector
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("report")


def page(folder: Path, name: str, found: list[dict[str, Any]]) -> Path:
    run = write(folder / name / "run", found)
    path = folder / f"{name}.html"
    path.write_text(render(load(run), run), encoding="utf-8")
    return path


def open_(browser: Any, path: Path) -> None:
    browser.get("about:blank")
    browser.get_log("browser")
    browser.get_log("performance")
    browser.get(path.as_uri())


@pytest.fixture
def small(browser: Any, folder: Path) -> Any:
    path = folder / "small.html"
    if not path.exists():
        page(folder, "small", rows())
    open_(browser, path)
    return browser


def test_the_console_stays_silent_and_nothing_is_fetched(small: Any) -> None:
    for css in ("#rows thead button", "#heatmap-case option", "#more", "#all"):
        for control in small.find_elements("css selector", css):
            small.execute_script("arguments[0].click()", control)
    assert small.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in small.get_log("performance")]
    asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    assert [url for url in asked if not url.startswith(("file:", "data:", "about:"))] == []
    assert len([url for url in asked if url.startswith("file:")]) == 1


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


class Calculator:
    """The form as a person fills it in."""

    def __init__(self, browser: Any) -> None:
        self._browser = browser

    def answer(
        self,
        source: str,
        target: str,
        sizes: Sizes,
        optimizer: str,
        given: dict[str, Any],
        clip: float | None,
    ) -> Any:
        fields = {
            "n": sizes.samples, "m": sizes.elements, "K": sizes.microbatches, "R": sizes.ranks,
            "L": sizes.expected_batch_size, "Lmax": sizes.max_elements, "max_norm": clip,
        }  # fmt: skip
        texts = {name: "" if value is None else repr(value) for name, value in fields.items()}
        fill(self._browser, optimizer=optimizer, **{"from": source, "to": target}, **texts)
        return self._browser.execute_script(
            """
            for (const [name, value] of Object.entries(arguments[0])) {
              const input = document.querySelector(`#hyperparameters [data-name="${name}"]`);
              if (typeof value === 'boolean') input.checked = value; else input.value = value;
              input.dispatchEvent(new Event('input', {bubbles: true}));
            }
            const read = Object.fromEntries([...document.querySelectorAll('#hyperparameters tbody tr')]
              .map(row => [row.cells[0].textContent, row.cells[2].textContent]));
            const text = id => document.getElementById(id).textContent;
            return {new: read, scale: text('scale'), python: text('python'), holds: text('holds')};
            """,
            {name: _typed(value) for name, value in given.items()},
        )


def _typed(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    return ", ".join(map(repr, value)) if isinstance(value, tuple) else repr(value)


def _read(text: str) -> Any:
    words = {"True": True, "False": False, "None": None}
    if text.startswith("("):
        return tuple(_read(part.strip()) for part in text[1:-1].split(","))
    return words[text] if text in words else float(text)


def _settings(draw: random.Random, optimizer: str) -> dict[str, Any]:
    """Random values for the numbers and flags of an optimizer."""

    def number(default: float) -> float:
        return default * draw.uniform(0.5, 1.0) if default else draw.choice([0.0, draw.uniform(0, 0.1)])

    found: dict[str, Any] = {}
    flags = {entry.flag for entry in LAWS[optimizer].hyperparameters.values() if entry.flag}
    for name, entry in LAWS[optimizer].hyperparameters.items():
        if isinstance(entry.default, bool):
            if name in flags:
                found[name] = draw.random() < 0.5
        elif isinstance(entry.default, int | float):
            found[name] = number(entry.default)
        elif isinstance(entry.default, tuple):
            found[name] = tuple(draw.uniform(0, 1) if v is None else number(v) for v in entry.default)
    return found


CONVENTIONS = ("sum", "mean", "element-mean", "batchmean", "half-mean", "half-sum", "mean-of-sample-means",
               "token-mean", "constant-normaliser", "mean-of-microbatch-means", "sum-of-microbatch-means",
               "window-exact", "mean-of-rank-means", "sum-of-rank-means", "expected-batch-size")  # fmt: skip


def _sizes(draw: random.Random) -> Sizes:
    samples = draw.choice([1, 7, 12, 32, 60, 128, 1000])
    return Sizes(
        samples=samples,
        elements=draw.choice([None, 1, 3, 10, 97]),
        microbatches=min(samples, draw.choice([1, 2, 3, 4])),
        ranks=min(samples, draw.choice([1, 2, 5, 8])),
        expected_batch_size=draw.choice([None, 32.0, 12.5]),
        max_elements=draw.choice([None, 100]),
    )


def test_the_calculator_agrees_with_python_on_a_hundred_random_inputs(small: Any) -> None:
    draw = random.Random(5)  # noqa: S311  not for secrets
    calculator = Calculator(small)
    answered = refused = 0
    while answered < 100:
        source, target = draw.choices(CONVENTIONS, k=2)
        optimizer, sizes = draw.choice(LAWS.names), _sizes(draw)
        given, clip = _settings(draw, optimizer), draw.choice([None, 0.7])
        found = calculator.answer(source, target, sizes, optimizer, given, clip)
        try:
            scaling = scale_between(source, target, sizes)
        except UsageError:
            assert found["python"] == "", (source, target, sizes, found)
            refused += 1
            continue
        expected = equivalent(optimizer, given, scale=scaling.scale, max_norm=clip)
        seen = {name: _read(text) for name, text in found["new"].items()}
        wanted = {name: expected.hyperparameters.get(name, seen[name]) for name in seen}
        assert seen == wanted, (source, target, sizes, optimizer, given, found)
        assert set(expected.hyperparameters) <= set(seen)
        if clip is not None:
            assert f", {_javascript(expected.max_norm)})" in found["python"].replace("e-0", "e-")
        assert float(scaling.scale) == pytest.approx(_scale(found["scale"]), rel=1e-5)
        answered += 1
    assert refused > 20


def _javascript(value: float | None) -> str:
    assert value is not None
    return repr(value).removesuffix(".0").replace("e-0", "e-")


def _scale(text: str) -> float:
    number = text.removeprefix("The gradient becomes s = ").removesuffix(" times what it was.")
    return float(number.rpartition("= ")[2])


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [("n", "0", "a whole number of at least 1"), ("n", "", "give n"), ("K", "64", "more than the 32 samples"),
     ("max_norm", "-1", "a number above 0"), ("n", "1.5", "a whole number")],
)  # fmt: skip
def test_a_wrong_size_is_answered_by_a_sentence(small: Any, field: str, value: str, said: str) -> None:
    fill(small, **{field: value})
    assert said in small.find_element("id", "scale").text
    assert small.find_element("id", "python").text == ""


def test_a_wrong_hyperparameter_is_marked_and_named(small: Any) -> None:
    field = small.find_element("css selector", "#hyperparameters [data-name=lr]")
    field.clear()
    field.send_keys("fast")
    assert "lr is fast: a number is needed" in small.find_element("id", "scale").text
    assert field.get_attribute("aria-invalid") == "true"


def test_a_value_that_leaves_the_range_of_floats_is_refused(small: Any) -> None:
    fill(small, optimizer="Adam", n="1000000")
    field = small.find_element("css selector", "#hyperparameters [data-name=eps]")
    field.clear()
    field.send_keys("1e-305")
    assert "does not fit a float" in small.find_element("id", "scale").text


def test_exact_fractions_round_as_python_does(small: Any) -> None:
    draw = random.Random(1)  # noqa: S311  not for secrets
    pairs = [
        (draw.getrandbits(draw.randint(1, 200)) + 1, draw.getrandbits(draw.randint(1, 200)) + 1)
        for _ in range(500)
    ]
    pairs += [(2**53 + 1, 1), (2**54 + 2, 2), (2**54 + 6, 2), (1, 3), (2**1000, 1), (1, 2**1000)]
    found = small.execute_script(
        "return arguments[0].map(([a, b]) => Exact.toDouble(Exact.make(BigInt(a), BigInt(b))))",
        [[str(a), str(b)] for a, b in pairs],
    )
    assert all(math.isclose(x, a / b, rel_tol=0, abs_tol=0) for x, (a, b) in zip(found, pairs, strict=True))
