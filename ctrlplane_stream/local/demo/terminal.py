"""Hears that the terminal is closed where nobody says so.

A terminal that is closed tells the program that it runs, which is mostly a shell that tells us. `make` as that program waits for us
instead, and nobody would ever end us.
"""

import os
import signal
import sys
import threading
import time

from ctrlplane_stream.ending import ending_signals

_LOOK_SECONDS = 1.0


def end_with_terminal() -> None:
    """From here on have SIGHUP sent to this process once its terminal is gone; not where it has none, or has SIGHUP ignored (`nohup`)."""
    if signal.SIGHUP not in ending_signals():
        return
    streams = [stream.fileno() for stream in (sys.__stdin__, sys.__stdout__, sys.__stderr__) if stream is not None]
    terminal = next((descriptor for descriptor in streams if is_ours(descriptor)), None)
    if terminal is not None:
        threading.Thread(target=_watch, args=(terminal,), name="terminal", daemon=True).start()


def is_ours(descriptor: int) -> bool:
    """Whether it is the terminal of our session, and is there."""
    try:
        os.tcgetpgrp(descriptor)
    except OSError:
        return False
    return True


def _watch(terminal: int) -> None:
    while is_ours(terminal):
        time.sleep(_LOOK_SECONDS)
    os.kill(os.getpid(), signal.SIGHUP)
