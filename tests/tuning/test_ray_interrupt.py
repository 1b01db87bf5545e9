"""Ctrl-C between Tune's steps, by real signals."""

from __future__ import annotations

import signal
import threading

import pytest

from recbole_mm.tuning.ray_interrupt import interrupted_between_steps, raise_interrupt
from recbole_mm.tuning.ray_state import KeepState


def press() -> None:
    signal.raise_signal(signal.SIGINT)  # to this thread, and at once: later it would end another test


@pytest.fixture(autouse=True)
def python_handles_interrupts():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_the_step_ends_before(tmp_path):
    step = KeepState(tmp_path)
    with interrupted_between_steps():
        step.on_step_end(0, [])
        press()
        with pytest.raises(KeyboardInterrupt):
            step.on_step_end(1, [])
        step.on_step_end(2, [])  # it is raised once
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_second_comes_at_once():
    with interrupted_between_steps():
        press()
        with pytest.raises(KeyboardInterrupt):
            press()
    raise_interrupt()  # nothing is left of the first


def test_one_that_came_too_late_ends_no_later_search(tmp_path):
    with interrupted_between_steps():
        press()
    with interrupted_between_steps():
        KeepState(tmp_path).on_step_end(0, [])


def test_other_handlers_stay():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with interrupted_between_steps():
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    entered = []
    thread = threading.Thread(target=lambda: entered.append(interrupted_between_steps().__enter__()))
    thread.start()
    thread.join()
    assert entered == [None]
