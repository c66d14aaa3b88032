"""Progress on a terminal and in a log."""

from __future__ import annotations

import io
import itertools
import threading
from typing import ClassVar

import pytest

from suite.machine import bars
from suite.machine import progress as progress_of
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


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that tqdm's clock shows."""
    now = [0.0]
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    return now


def lines(screen: Terminal) -> list[str]:
    """All that a line of the terminal showed, one after the other."""
    return [line.strip() for line in screen.getvalue().split("\r")]


def test_a_terminal_gets_one_line_that_changes_with_the_time_to_go(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    screen = Terminal()
    with Progress(3, screen) as progress:
        progress.step("mse", "batch 0")
        clock[0] = 30
        progress.step("mse", "batch 1")
        progress.failed("mse: something")
    shown = lines(screen)
    assert shown[1].endswith("| 0/3 [00:00<?]")
    assert shown[2].startswith("0%|")
    assert shown[2].endswith("| 0/3 [00:00<?] mse batch 0")
    assert shown[3].startswith("33%|")
    assert shown[3].endswith("| 1/3 [00:30<01:00] mse batch 1")
    assert "mse: something" in shown
    assert screen.getvalue().count("\n") == 1  # what failed
    assert not shown[-1]  # cleared


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
    assert lines(screen)[-1].endswith("mse batch 0 and 1 more")
    progress.ended("a")
    assert "| 1/3 [" in lines(screen)[-1]
    assert lines(screen)[-1].endswith("mse batch 1")


def test_on_a_terminal_what_was_done_before_does_not_count_for_the_time_to_go(clock: list[float]) -> None:
    screen = Terminal()
    progress = Progress(12, screen)
    progress.skip(10)
    progress.step("mse", "batch 0")
    clock[0] = 30
    progress.step("l1", "batch 0")
    assert lines(screen)[-1].endswith("| 11/12 [00:30<00:30] l1 batch 0")


def test_the_number_of_steps_may_be_known_better_later() -> None:
    screen = Terminal()
    progress = Progress(2, screen)
    progress.expect(5)
    assert "| 0/5 [" in lines(screen)[-1]


def test_no_thread_is_left_that_looks_after_the_bar() -> None:
    before = threading.enumerate()
    steps(Progress(3, Terminal()))
    assert threading.enumerate() == before


def test_what_was_done_before_does_not_count_for_the_time_to_go() -> None:
    log = io.StringIO()
    progress = Progress(12, log, clock=ticking())
    progress.skip(10)
    progress.step("mse", "batch 0")
    progress.step("l1", "batch 1")
    told = "10 of 12 were measured before and are taken as they are."
    assert log.getvalue() == f"{told}\n[10 done, 2 left] mse\n[11 done, 1 left, 1 min to go] l1\n"


def test_a_line_is_no_wider_than_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    screen = Terminal()
    progress = Progress(1, screen)
    progress.step("mse", "x" * 200)
    assert "mse xx" in lines(screen)[-1]
    assert max(map(len, lines(screen))) < 60


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


def test_a_notebook_gets_the_bar_of_tqdm_where_standard_error_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Widget:
        __module__ = "tqdm.notebook"
        shown: ClassVar[list[str]] = []

        def __init__(self, **_: object) -> None: ...

        def set_description_str(self, text: str) -> None:
            self.shown.append(text)

        def close(self) -> None:
            self.shown.append("closed")

    monkeypatch.setattr(bars, "Bar", Widget)
    monkeypatch.setattr(progress_of, "Bar", Widget)
    monkeypatch.setattr("sys.stderr", io.StringIO())
    with Progress(1) as progress:
        progress.step("mse", "batch 0")
    assert Widget.shown == ["mse batch 0", "closed"]
