"""Progress on a terminal and in a log."""

from __future__ import annotations

import io

from suite.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def steps(progress: Progress) -> None:
    progress.step("mse", "batch 0")
    progress.step("mse", "batch 1")
    progress.note("mse: something")
    progress.step("l1", "batch 0")
    progress.finish()


def test_a_log_gets_one_plain_line_a_case() -> None:
    log = io.StringIO()
    steps(Progress(3, log))
    assert log.getvalue() == "[0/3] mse\nmse: something\n[2/3] l1\n"


def test_a_terminal_gets_one_line_that_changes_with_the_time_to_go() -> None:
    screen = Terminal()
    steps(Progress(3, screen))
    shown = screen.getvalue()
    assert shown.startswith("\r\x1b[K[1/3] mse batch 0")
    assert "[2/3] mse batch 1, 0 s to go" in shown
    assert shown.count("\n") == 1  # the note
    assert shown.endswith("\r\x1b[K")


def test_silence_is_silent() -> None:
    log = io.StringIO()
    steps(Progress(3, log, shown=False))
    assert log.getvalue() == ""
