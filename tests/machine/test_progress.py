"""Progress on a terminal and in a log."""

from __future__ import annotations

import io
import itertools

import pytest

from suite.machine.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def steps(progress: Progress) -> None:
    with progress:
        progress.step("mse", "batch 0")
        progress.step("mse", "batch 1")
        progress.failed("mse: something")
        progress.step("l1", "batch 0")


def ticking() -> itertools.count:
    return itertools.count(step=30).__next__


def test_a_log_gets_one_plain_line_a_group() -> None:
    log = io.StringIO()
    steps(Progress(3, log, clock=ticking()))
    assert log.getvalue() == "[0 done, 3 left] mse\nmse: something\n[2 done, 1 left, 30 s to go] l1\n"


def test_a_terminal_gets_one_line_that_changes_with_the_time_to_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    screen = Terminal()
    steps(Progress(3, screen, clock=ticking()))
    shown = screen.getvalue()
    assert shown.startswith("\r\x1b[K[0 done, 3 left] mse batch 0")
    assert "[1 done, 2 left, 2 min to go] mse batch 1" in shown
    assert shown.count("\n") == 1  # what failed
    assert shown.endswith("\r\x1b[K")


def test_a_failure_is_red_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    screen = Terminal()
    Progress(1, screen).failed("mse: something")
    assert "\x1b[31mmse: something\x1b[0m\n" in screen.getvalue()


def test_several_may_run_at_once() -> None:
    screen = Terminal()
    progress = Progress(3, screen)
    progress.began("a", "mse", "batch 0")
    progress.began("b", "mse", "batch 1")
    assert screen.getvalue().endswith("[0 done, 3 left] mse batch 0 and 1 more")
    progress.ended("a")
    assert "[1 done, 2 left" in screen.getvalue()
    assert screen.getvalue().endswith("mse batch 1")


def test_what_was_done_before_does_not_count_for_the_time_to_go() -> None:
    log = io.StringIO()
    progress = Progress(12, log, clock=ticking())
    progress.skip(10)
    progress.step("mse", "batch 0")
    progress.step("l1", "batch 1")
    told = "10 of 12 were measured before and are taken as they are."
    assert log.getvalue() == f"{told}\n[10 done, 2 left] mse\n[11 done, 1 left, 1 min to go] l1\n"


def test_a_line_is_no_wider_than_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    screen = Terminal()
    Progress(1, screen).step("mse", "x" * 200)
    assert len(screen.getvalue().removeprefix("\r\x1b[K")) < 40


def test_silence_is_silent() -> None:
    log = io.StringIO()
    steps(Progress(3, log, shown=False))
    assert log.getvalue() == ""


def test_what_never_began_does_not_count_as_done() -> None:
    progress = Progress(2, stream=io.StringIO())
    progress.began("a", "mse", "batch 0")
    progress.ended("b")
    assert progress._done == 0
    progress.ended("a")
    assert progress._done == 1
