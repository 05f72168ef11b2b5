"""Notices a consumer that has stalled for good: records wait and nothing was acknowledged, it never gets its partitions, or it
never finishes recovering them.

Long-running consumers have been seen to stop fetching without an error; a restart mends it and costs seconds.
"""

import time
from typing import Any

from ctrlplane_stream.stream.duty import Duty

_LOOK_EVERY_SECONDS = 1.0


class Stalled(RuntimeError):
    """Records wait, but nothing was acknowledged for too long."""


class Watchdog:
    """Looks at lag and progress of one app, and reports both to its metrics. ``stall_seconds`` 0: only reports."""

    def __init__(self, duty: Duty, stall_seconds: float) -> None:
        self._duty = duty
        self._stall_seconds = stall_seconds
        self._looked_at = 0.0
        self._held_at = time.monotonic()
        self._last: dict[tuple[str, int], tuple[int, float]] = {}
        self._recovered_at, self._records_read = time.monotonic(), 0

    def look(self) -> None:
        """Fail the duty where it has stalled. Cheap: looks once a second at most."""
        now = time.monotonic()
        if now - self._looked_at < _LOOK_EVERY_SECONDS:
            return
        self._looked_at = now
        if self._duty.app.holding:
            self._held_at = now
        elif self._stall_seconds and now - self._held_at > self._stall_seconds:
            self._duty.fail(Stalled(f"the group gave us no answer about our partitions for {now - self._held_at:.0f} s"))
        self._look_at_recovery(now)
        consumer: Any = self._duty.app._consumer
        if consumer is None:
            return
        ages: dict[str, float] = {}
        for tp, committed in list(consumer._committed_offset.items()):
            lag = (consumer.waiting(tp, committed or 0) or 0) if tp in consumer.assignment() else 0
            self._duty.metrics.lag(self._own_name(tp.topic), tp.partition, lag)
            age = self._age((tp.topic, tp.partition), committed or 0, lag, now)
            ages[tp.topic] = max(ages.get(tp.topic, 0.0), age)
        for topic, age in ages.items():
            self._duty.metrics.commit_age(self._own_name(topic), age)
            if self._stall_seconds and age > self._stall_seconds:
                self._duty.fail(Stalled(f"{topic}: records wait and nothing was committed for {age:.0f} s"))

    def _look_at_recovery(self, now: float) -> None:
        """A recovery may take long, but not without reading anything."""
        if not self._duty.app.seeking or self._duty.reader.records_read != self._records_read:
            self._recovered_at, self._records_read = now, self._duty.reader.records_read
        elif self._stall_seconds and now - self._recovered_at > self._stall_seconds:
            self._duty.fail(Stalled(f"taking our partitions stands still for {now - self._recovered_at:.0f} s"))

    def _own_name(self, topic: str) -> str:
        """Topics are labelled by our own names, as everywhere."""
        return topic.removeprefix(self._duty.settings.topic_prefix)

    def _age(self, place: tuple[str, int], committed: int, lag: int, now: float) -> float:
        """Seconds since the position moved, 0 where nothing waits."""
        before, since = self._last.get(place, (-1, now))
        if committed != before or lag == 0:
            self._last[place] = committed, now
            return 0.0
        return now - since
