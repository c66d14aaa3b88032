"""What the docstrings of public names say: sections, and examples that are run."""

from __future__ import annotations

import doctest
import inspect
from collections.abc import Iterator

import pytest

import gradsuite
import suite
from suite.case import cases
from suite.equivalence.law import LAWS

PUBLIC = {
    name: getattr(gradsuite, name) for name in [*suite.__all__, *gradsuite.__all__] if name != "__version__"
}
FUNCTIONS = {name: found for name, found in PUBLIC.items() if inspect.isfunction(found)}
FUNCTIONS["Units.of"] = suite.Units.of
EXAMPLES = [*FUNCTIONS, "Problem"]
FINDER = doctest.DocTestFinder(recurse=False)


@pytest.fixture
def _registries() -> Iterator[None]:
    """Examples register a case and a law; they are not there for other tests."""
    yield
    cases._items.pop("my-example", None)
    LAWS._items.pop("Lion", None)


def test_a_dozen_functions_are_public() -> None:
    assert {"run", "recover", "case", "translate", "Units.of"} <= set(FUNCTIONS)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_public_function_says_what_it_takes_returns_and_raises(name: str) -> None:
    function = FUNCTIONS[name]
    text = inspect.getdoc(function) or ""
    signature = inspect.signature(function)
    _, _, arguments = text.partition("\nArgs:\n")
    for parameter in signature.parameters:
        assert f"    {parameter}: " in arguments.replace("*", ""), f"{name} says nothing of {parameter}"
    assert "\nRaises:\n" in text
    assert "\nExamples:\n" in text
    assert "\nReturns:\n" in text or signature.return_annotation == "None"


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_has_a_docstring_of_its_own(name: str) -> None:
    assert PUBLIC[name].__doc__
    assert not PUBLIC[name].__doc__.startswith(f"{name}(")  # what dataclasses put in the place of one


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.usefixtures("_registries")
def test_the_examples_of_a_public_name_come_out_as_they_say(name: str) -> None:
    found = FINDER.find(FUNCTIONS.get(name) or PUBLIC[name], name, globs={})
    assert sum(len(test.examples) for test in found) >= 2
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for test in found:
        runner.run(test, out=said.append)
    assert not said, "".join(said)


def test_the_example_of_the_module_comes_out_as_it_says() -> None:
    assert doctest.testmod(gradsuite) == (0, 2)
