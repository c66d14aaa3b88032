"""A line for each stage of long work in a log, one that moves on a terminal, nothing of short work."""

from __future__ import annotations

import io

import pytest

from suite.machine.stages import QUIET, begins, stages_shown


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_log_gets_a_line_for_each_stage_of_long_work() -> None:
    stream, clock = io.StringIO(), Clock()
    with stages_shown(stream, clock):
        begins("the first")
        clock.now = QUIET
        begins("the second", 0.034)
        clock.now = 200.0
        begins("the third", 14.2)
    assert stream.getvalue() == "[5.0 s] the second, about 0.03 s\n[3 min] the third, about 14 s\n"


def test_a_stage_that_is_known_to_be_long_is_said_at_once() -> None:
    stream = io.StringIO()
    with stages_shown(stream, Clock()):
        begins("a long one", 60.0)
    assert stream.getvalue() == "[0.00 s] a long one, about 60 s\n"


def test_a_terminal_has_one_line_that_moves_on_and_goes() -> None:
    stream, clock = Terminal(), Clock()
    with stages_shown(stream, clock):
        begins("the first")
        assert not stream.getvalue()
        clock.now = QUIET
        begins("the second")
        begins("the third")
        assert "the second" in stream.getvalue()
        assert "the third" in stream.getvalue()
    assert "\n" not in stream.getvalue()
    assert stream.getvalue().endswith("\r")


def test_nobody_listens_outside(capsys: pytest.CaptureFixture[str]) -> None:
    with stages_shown(io.StringIO()):
        pass
    begins("a stage", 100.0)
    assert capsys.readouterr() == ("", "")
