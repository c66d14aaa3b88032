"""The calculator of the report in a real browser, against the command line's own functions."""

from __future__ import annotations

import math
import random
import re
from typing import Any

import pytest

from suite.cli.lr_text import conversion_text
from suite.equivalence import LAWS, Sizes, equivalent, scale_between
from suite.errors import UsageError
from tests.report.page.chromium import fill

# selenium leaves sockets to the garbage collector
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


class Calculator:
    """The form as a person fills it in."""

    def __init__(self, browser: Any) -> None:
        self._browser = browser

    def answer(
        self,
        source: str,
        target: str,
        sizes: dict[str, Any],
        optimizer: str,
        given: dict[str, Any],
        clip: float | None,
    ) -> Any:
        fields = {
            "n": sizes["samples"], "m": sizes["elements"], "K": sizes["microbatches"], "R": sizes["ranks"],
            "L": sizes["expected_batch_size"], "Lmax": sizes["max_elements"], "max_norm": clip,
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
            if math.isfinite(entry.default):  # the page leaves out what no scale changes
                found[name] = number(entry.default)
        elif isinstance(entry.default, tuple):
            found[name] = tuple(draw.uniform(0, 1) if v is None else number(v) for v in entry.default)
    return found


CONVENTIONS = ("sum", "mean", "element-mean", "batchmean", "half-mean", "half-sum", "mean-of-sample-means",
               "token-mean", "constant-normaliser", "mean-of-microbatch-means", "sum-of-microbatch-means",
               "window-exact", "mean-of-rank-means", "sum-of-rank-means", "expected-batch-size")  # fmt: skip


def _sizes(draw: random.Random) -> dict[str, Any]:
    samples = draw.choice([1, 7, 12, 32, 60, 128, 1000])
    return {
        "samples": samples,
        "elements": draw.choice([None, 1, 3, 10, 97]),
        "microbatches": min(samples, draw.choice([1, 2, 3, 4])),
        "ranks": min(samples, draw.choice([1, 2, 5, 8])),
        "expected_batch_size": draw.choice([None, 32.0, 12.5]),
        "max_elements": draw.choice([None, 100]),
    }


@pytest.mark.parametrize("seed", [5, 6])
def test_the_calculator_agrees_with_the_command_to_the_word(small: Any, seed: int) -> None:
    draw = random.Random(seed)  # noqa: S311  not for secrets
    calculator = Calculator(small)
    answered = refused = 0
    while answered < 100:
        source, target = draw.choices(CONVENTIONS, k=2)
        optimizer, sizes = draw.choice(LAWS.names), _sizes(draw)
        given, clip = _settings(draw, optimizer), draw.choice([None, 0.7])
        found = calculator.answer(source, target, sizes, optimizer, given, clip)
        try:
            scaling = scale_between(source, target, Sizes(**sizes))
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
        _say_the_same(found, conversion_text(scaling, expected, None))
        answered += 1
    assert refused > 20


def _say_the_same(found: dict[str, str], command: str) -> None:
    """The page's sentences are those of the command; it has the worst of unequal sizes besides."""
    headline, *others = command.split("\n\n")
    of_headline = headline.split(": ", 1)[1] if ", if " not in headline else headline.split(", if ", 1)[1]
    assert of_headline.lower().startswith(found["scale"].removeprefix("If ").removesuffix(".").lower())
    lines = [line for block in others for line in block.splitlines()]
    verdict = next(line for line in lines if line.startswith(("Exact", "Not exact", "Only if")))
    notes = [line for line in lines if line.startswith("Note: ")]
    holds = re.sub(r" In the first \d+ steps lr is [^ ]+\.(?= |$)", "", found["holds"])
    assert holds == " ".join([verdict, *notes])


def _javascript(value: float | None) -> str:
    assert value is not None
    return repr(value).removesuffix(".0").replace("e-0", "e-")


def _scale(text: str) -> float:
    number = text.partition("he gradient becomes s = ")[2].partition(" times what it was")[0]
    return float(number.rpartition("= ")[2])


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [("n", "0", "a whole number from 1"), ("n", "", "give n"), ("K", "64", "more than the 32 samples"),
     ("n", str(2**23), "a whole number from 1 to 4194304"), ("m", "1e3", "a whole number from 1 to"),
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
    assert found == [a / b for a, b in pairs]
