"""The first signal ends the demo, and no further one breaks its clean-up."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from ctrlplane_stream.ending import ending_signals, to_its_end
from ctrlplane_stream.local.demo.interruption import Interruption


class Finger:
    """Somebody who presses Ctrl-C, or a supervisor."""

    def __init__(self) -> None:
        self._pressing = threading.Thread()

    def press(self, number: signal.Signals, *after_seconds: float) -> None:
        """Send it to this process at these times from now on."""

        def send() -> None:
            began = time.monotonic()
            for at in after_seconds:
                time.sleep(max(0.0, began + at - time.monotonic()))
                os.kill(os.getpid(), number)

        self._pressing = threading.Thread(target=send, daemon=True)
        self._pressing.start()

    @property
    def presses(self) -> bool:
        """Whether there is more to come."""
        return self._pressing.is_alive()


@pytest.fixture
def finger() -> Finger:
    return Finger()


@pytest.fixture
def interruption(finger: Finger) -> Iterator[Interruption]:
    """In a process that is as it was afterwards, once nothing more is sent to it: who runs the tests hears the same signals."""
    handlers = {number: signal.getsignal(number) for number in ending_signals()}
    made = Interruption()
    made.heed()
    yield made
    while finger.presses:
        time.sleep(0.01)
    for number, handler in handlers.items():
        signal.signal(number, handler)


class Played:
    """Something that takes a while, and to clean up until nobody presses any more."""

    def __init__(self, finger: Finger, seconds: float, fails: bool = False) -> None:
        self._finger, self._seconds, self._fails = finger, seconds, fails
        self.said: list[str] = []

    async def __call__(self, number: signal.Signals = signal.SIGINT, *pressed_after_seconds: float) -> str:
        self._finger.press(number, *pressed_after_seconds)
        try:
            await asyncio.sleep(self._seconds)
            if self._fails:
                raise OSError("it failed")
            return "played"
        finally:
            await to_its_end(self._clean_up())

    async def _clean_up(self) -> None:
        while self._finger.presses:
            await asyncio.sleep(0.01)
        self.said.append("cleaned up")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_further_signals_do_not_break_the_clean_up(number: signal.Signals, finger: Finger, interruption: Interruption) -> None:
    """However often somebody who sees nothing happen presses Ctrl-C."""
    played = Played(finger, 60.0)
    with pytest.raises(KeyboardInterrupt):
        interruption.run(played(number, 0.05, 0.1, 0.15, 0.2, 0.3), lambda: played.said.append("ending it"))
    assert played.said == ["ending it", "cleaned up"]
    signal.raise_signal(number)


@pytest.mark.parametrize("fails", [False, True])
def test_the_first_may_come_while_it_cleans_up_already(fails: bool, finger: Finger, interruption: Interruption) -> None:
    """At the end of a demo, or after a failure."""
    played = Played(finger, 0.0, fails)
    with pytest.raises(KeyboardInterrupt):
        interruption.run(played(signal.SIGINT, 0.1, 0.15), lambda: None)
    assert played.said == ["cleaned up"]


def test_it_may_be_waited_for(finger: Finger, interruption: Interruption) -> None:
    """Then nothing is cancelled."""

    async def stay() -> str:
        enough = asyncio.Event()
        interruption.ends_by(enough.set)
        finger.press(signal.SIGTERM, 0.0, 0.05)
        await enough.wait()
        await asyncio.sleep(0.1)
        return "stayed"

    assert interruption.run(stay(), lambda: None) == "stayed"


def test_before_anything_runs_it_is_as_ctrl_c_always_was(interruption: Interruption) -> None:
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGINT)


def test_what_is_played_to_its_end_is_given_back(finger: Finger, interruption: Interruption) -> None:
    assert interruption.run(Played(finger, 0.0)(), lambda: None) == "played"
