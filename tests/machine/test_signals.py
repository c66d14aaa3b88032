"""A signal ends the run that it came in, and no later one."""

from __future__ import annotations

import os
import signal

import pytest

from suite.machine.signals import Ended, raise_again, signals_as_interrupts


def test_a_signal_whose_interrupt_was_lost_is_raised_again_inside_and_not_afterwards() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with signals_as_interrupts():
            with pytest.raises(Ended):
                os.kill(os.getpid(), signal.SIGTERM)
            with pytest.raises(Ended, match="SIGTERM"):
                raise_again()
        raise_again()
    finally:
        signal.signal(signal.SIGTERM, before)
