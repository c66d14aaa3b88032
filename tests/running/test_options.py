"""An option of a run is declared in one place, and everybody knows it."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import inspect
import pickle
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest

import suite
from suite.cli.main import main
from suite.errors import UsageError
from suite.running import run as running
from suite.running.declaration import add_to, checked, declared, documented, for_workers, option, parsed
from suite.running.measure import MeasureContext
from suite.running.options import RunOptions
from tests.parsers.command_lines import OPTIONS, options_of

ROOM = Path(inspect.getfile(RunOptions)).parent
WORKERS = ("worker", "tasks", "measure", "training_check", "plan")
"""The modules that run where something is measured."""


def no_blue(colour: str) -> str:
    if colour == "blue":
        raise UsageError("--colour is 'blue': give another one")
    return colour.upper()


@dataclass(frozen=True)
class Coloured(RunOptions):
    """The options of a run, and a made-up one, declared here and nowhere else."""

    colour: str = option(
        "--colour",
        default="red",
        metavar="NAME",
        check=no_blue,
        worker=True,
        help="colour of the gradient",
        about="the colour of the gradient.",
    )
    loud: bool = option("--loud", default=False, help="say so", about="whether to say so.")


def given(*words: str) -> Coloured:
    parser = argparse.ArgumentParser()
    add_to(parser, Coloured)
    return Coloured(**parsed(parser.parse_args(words), Coloured))


def test_a_made_up_option_is_parsed() -> None:
    assert given().colour == "red"
    assert given("--colour", "green", "--loud", "--seed", "3") == Coloured(colour="green", loud=True, seed=3)


def test_a_made_up_option_is_in_the_help_with_its_default() -> None:
    parser = argparse.ArgumentParser()
    add_to(parser, Coloured)
    assert "--colour NAME         colour of the gradient (default: red)" in parser.format_help()


def test_a_made_up_option_is_checked() -> None:
    assert checked(given("--colour", "green")).colour == "GREEN"
    with pytest.raises(UsageError, match="--colour is 'blue': give another one"):
        checked(given("--colour", "blue"))


def test_a_made_up_option_is_handed_to_the_workers_if_it_is_for_them() -> None:
    sent = pickle.loads(pickle.dumps(for_workers(given("--colour", "green", "--loud", "--output", "x"))))  # noqa: S301
    assert sent == Coloured(colour="green")


def test_a_made_up_option_is_an_argument_of_run_and_is_documented(monkeypatch: pytest.MonkeyPatch) -> None:
    @running._taking(Coloured)
    def run(options: Coloured) -> Coloured:
        """Run.

        Returns:
            What was asked for.
        """
        return options

    assert run(["mse"], colour="green") == Coloured(["mse"], colour="green")
    assert inspect.signature(run).parameters["colour"].default == "red"
    assert "        colour: the colour of the gradient.\n" in run.__doc__
    with pytest.raises(UsageError, match=r"no argument of run is named 'color': did you mean 'colour'\?"):
        run(color="green")


def test_a_made_up_option_is_tried_by_the_tests_of_command_lines() -> None:
    table = options_of(Coloured)
    assert set(table) - set(OPTIONS["run"]) == {"--colour", "--loud"}
    assert table["--colour"] is not None
    assert table["--loud"] is None


def reads(source: str, name: str) -> set[str]:
    """The attributes that are read of `name` or `_name`, an attribute so called, or what stands for it."""
    tree = ast.parse(source)
    called = {name, f"_{name}"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):  # `o = self.options`, or `o, p = self.options, …`
            to, of = ((n.elts if isinstance(n, ast.Tuple) else [n]) for n in (node.targets[0], node.value))
            called |= {
                a.id for a, b in zip(to, of, strict=False) if isinstance(a, ast.Name) and last(b) in called
            }
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    return {node.attr for node in attributes if last(node.value) in called}


def last(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else getattr(node, "attr", "")


def read_in_room(name: str, *modules: str) -> set[str]:
    """What these modules of the room read, or all but those that read all options alike."""
    chosen = [path for path in ROOM.rglob("*.py") if path.stem not in ("options", "declaration")]
    texts = [path.read_text() for path in chosen if not modules or path.stem in modules]
    return set().union(*(reads(text, name) for text in texts))


def unread(options: type[RunOptions], *modules: str) -> set[str]:
    """The options that nobody reads, in these modules or anywhere."""
    read = read_in_room("options", *modules)
    derived = {name: member for name, member in vars(RunOptions).items() if isinstance(member, property)}
    for name in derived.keys() & read:
        read |= reads(textwrap.dedent(inspect.getsource(derived[name].fget)), "self")
    return {name for name, _, _ in declared(options)} - read


def test_every_option_is_read() -> None:
    assert unread(RunOptions) == set()
    assert unread(Coloured) == {"colour", "loud"}


def test_workers_read_the_options_that_they_get_and_no_others() -> None:
    for_them = {name for name, _, one in declared(RunOptions) if one.worker}
    everything = {name for name, _, _ in declared(RunOptions)}
    assert everything - unread(RunOptions, *WORKERS) == for_them


def test_all_of_the_context_of_a_measurement_is_read() -> None:
    read = read_in_room("context")
    assert {declaration.name for declaration in dataclasses.fields(MeasureContext)} <= read


def test_run_takes_the_options_and_says_what_they_are() -> None:
    parameters = inspect.signature(suite.run).parameters
    assert list(parameters) == [name for name, _, _ in declared(RunOptions)]
    assert {name: p.default for name, p in parameters.items()} == {
        name: d for name, d, _ in declared(RunOptions)
    }
    assert [n for n, p in parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD] == ["cases", "conventions"]
    assert documented(RunOptions) in suite.run.__doc__


def test_defaults_are_allowed_and_checking_twice_changes_nothing() -> None:
    once = checked(RunOptions())
    assert once == RunOptions() == checked(once)
    asked = checked(
        RunOptions(memory="2GiB", from_files=[Path("a.py"), "b.c"], batch_sizes=[2], check_steps=3)
    )
    assert asked.memory == 2**31
    assert asked.from_files == (str(Path("a.py").absolute()), "b.c")
    assert checked(asked) == asked
    assert hash(for_workers(asked)) == hash(for_workers(checked(asked)))


@pytest.mark.parametrize(
    ("words", "steps"),
    [((), 10), (("--quick",), 0), (("--quick", "--check-steps", "2"), 2), (("--prove", "4"), 4)],
)
def test_the_steps_of_a_training_check(words: tuple[str, ...], steps: int) -> None:
    assert given(*words).steps == steps


def test_help_says_all_flags_once(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    shown = capsys.readouterr().out.split("options:")[1].split()
    for _, _, one in declared(RunOptions):
        for flag in one.flags:
            assert flag in {word.rstrip(",") for word in shown}
