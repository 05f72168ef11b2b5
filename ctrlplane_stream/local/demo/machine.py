"""Whether the machine kept up: how long what had something to do waited for a core, how late requests were sent, how busy the cores were.

A demo plays against the clock, so on a machine that has more to do than it can everything takes longer, and something may not be seen
in time. None of it is the engine's doing, and nobody can tell that from the acts: so it is measured beside them. The kernel says of each
of the demo's threads how long it waited for a core (``waiting``); a thread asks for nothing but to be woken every 50 ms; and the load
generator sends by a schedule of its own. How busy the cores were tells least: something that gives way to all others makes them busy, too.
"""

import os
import threading
import time
from collections.abc import Collection
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import msgspec

from ctrlplane_stream.local.demo.waiting import Family, Waited
from ctrlplane_stream.local.load_report import Request
from ctrlplane_stream.model.counted import counted

_EVERY_SECONDS, _LOOK_SECONDS = 0.05, 1.0
LATE_MILLISECONDS = 50.0
"""So late, in 1 of 100 cases, wakes a machine that has more to do than it can; one with cores to spare is some ms late."""
WAITED_SHARE = 0.8
"""What waits for a core for so much of the time in which it has something to do takes five times as long as it should; by the formula for a
queue before two servers (M/M/2) both are then nine tenths busy. The acts have waits of their own, and take less than five times as
long: a bad release was found in 28 s and 44 s where the share was 92%, and in 12 s with cores to spare."""
SENT_LATE_MILLISECONDS = 100.0
"""The same of requests, whose generator has work of its own to do."""


class MachineReport(msgspec.Struct, frozen=True):
    """The machine over a stretch of time; a figure is None where it was not measured."""

    cores: int
    busy_share: float | None
    """Of all cores' time, what something ran in; from 0 to 1, as the other shares."""
    stolen_share: float | None
    """Of all cores' time, what a hypervisor gave to other machines."""
    waited_share: float | None
    """Of the time in which the demo's threads had something to do, that in which they waited for a core."""
    woken_late_milliseconds: float | None
    """How late a thread was woken, in 99 of 100 cases at most."""
    sent_late_milliseconds: float | None
    """How late the load generator sent a request after it was due, in 99 of 100 cases at most."""

    @property
    def overloaded(self) -> bool:
        """Whether it had more to do than it could."""
        limits = (
            (self.waited_share, WAITED_SHARE),
            (self.woken_late_milliseconds, LATE_MILLISECONDS),
            (self.sent_late_milliseconds, SENT_LATE_MILLISECONDS),
        )
        return any(found is not None and found > limit for found, limit in limits)


class _Ticks(NamedTuple):
    """What all cores did since the machine started, in ticks."""

    busy: int
    stolen: int
    total: int


class Machine:
    """Watches until the end of the ``with``."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._late: list[tuple[float, float]] = []
        self._ticks: list[tuple[float, _Ticks]] = []
        self._waited: list[tuple[float, Waited]] = []
        self._thread = threading.Thread(target=self._watch, name="machine", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()

    def between(self, began: float, ended: float, requests: Collection[Request]) -> MachineReport:
        """The machine between two times (Unix seconds), with the requests that were due then."""
        ticks = [read for at, read in self._ticks if began <= at <= ended]
        total = ticks[-1].total - ticks[0].total if ticks else 0
        waited = [read for at, read in self._waited if began <= at <= ended]
        return MachineReport(
            cores=os.cpu_count() or 1,
            busy_share=(ticks[-1].busy - ticks[0].busy) / total if total else None,
            stolen_share=(ticks[-1].stolen - ticks[0].stolen) / total if total else None,
            waited_share=Waited(waited[-1].ran - waited[0].ran, waited[-1].waited - waited[0].waited).share if waited else None,
            woken_late_milliseconds=_worst([late for at, late in self._late if began <= at <= ended]),
            sent_late_milliseconds=_worst([r.sent_late_milliseconds for r in requests if began <= r.at <= ended]),
        )

    def _watch(self) -> None:
        next_look, family = 0.0, Family()
        while True:
            asked = time.monotonic()
            if self._ended.wait(_EVERY_SECONDS):
                return
            self._late.append((time.time(), max(0.0, time.monotonic() - asked - _EVERY_SECONDS) * 1000))
            if asked >= next_look:
                self._look(family)
                next_look = asked + _LOOK_SECONDS

    def _look(self, family: Family) -> None:
        at = time.time()
        self._waited.append((at, family.read()))
        if (read := _read_ticks()) is not None:
            self._ticks.append((at, read))


def in_words(machine: MachineReport) -> str:
    """The figures in a sentence."""
    parts = [counted(machine.cores, "core")]
    if machine.busy_share is not None:
        stolen = f" and {machine.stolen_share:.0%} taken by its host" if (machine.stolen_share or 0) >= 0.01 else ""
        parts[0] += f", {machine.busy_share:.0%} busy{stolen}"
    if machine.waited_share is not None:
        parts.append(f"; what had something to do waited {machine.waited_share:.0%} of the time for a core")
    said = [
        f"; of 100 {what} 99 were at most {milliseconds:.0f} ms late"
        for what, milliseconds in (("wake-ups", machine.woken_late_milliseconds), ("requests", machine.sent_late_milliseconds))
        if milliseconds is not None
    ]
    return "".join([*parts, *said])


def overload(machine: MachineReport | None) -> str | None:
    """What to say beside anything that took long or was not seen in time; None where the machine kept up, or nobody knows."""
    if machine is None or not machine.overloaded:
        return None
    return f"the machine had more to do than it could ({in_words(machine)}): play it again with less beside"


def _worst(late: list[float]) -> float | None:
    """The 99th percentile, None of nothing."""
    return round(sorted(late)[round(0.99 * (len(late) - 1))], 1) if late else None


def _read_ticks(source: Path = Path("/proc/stat")) -> _Ticks | None:
    """The sums of all cores, None where the machine does not tell. In order: user, nice, system, idle, iowait, irq, softirq, steal."""
    try:
        ticks = [int(word) for word in source.read_text().split("\n", 1)[0].split()[1:9]]
    except (OSError, ValueError):
        return None
    if len(ticks) < 8:
        return None
    idle, stolen = ticks[3] + ticks[4], ticks[7]
    return _Ticks(sum(ticks) - idle - stolen, stolen, sum(ticks))
