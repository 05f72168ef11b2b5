"""The memory of a target as an observer hears of it, whose cursor must never go back."""

import contextlib

from ctrlplane_stream.actuators.kubernetes.memory import read_memory
from ctrlplane_stream.actuators.kubernetes.names import memory_name
from ctrlplane_stream.actuators.kubernetes.objects import name_of
from ctrlplane_stream.actuators.kubernetes.place import Place
from ctrlplane_stream.actuators.ledger import Ledger, words
from ctrlplane_stream.actuators.wanted import retreats
from ctrlplane_stream.local.control_plane.sweep.moments import Moment
from ctrlplane_stream.model.world import TargetWanted


class Memories:
    """What a place's memory said last, from ``step`` to ``step``."""

    def __init__(self, place: Place) -> None:
        self._name = memory_name(place.slug)
        self.ledger: Ledger | None = None
        """None before there was one."""

    def step(self, moment: Moment) -> list[str]:
        """Take note of a ConfigMap, if it is the memory; that its cursor went back, if it did."""
        if name_of(moment.object) != self._name or moment.gone:
            return []
        before = self.ledger
        with contextlib.suppress(RuntimeError):
            self.ledger = read_memory(moment.object).ledger
        was, is_now = (None if ledger is None else ledger.cursor for ledger in (before, self.ledger))
        if was is None or (is_now is not None and is_now >= was):
            return []
        return [f"cursor: went back from {words(was)} to {words(is_now) if is_now is not None else 'none'}"]

    @property
    def wanted(self) -> TargetWanted | None:
        """What the last command that was taken wants."""
        return self.ledger.wanted if self.ledger is not None else None

    @property
    def aborting(self) -> bool:
        """Whether all is to go to the stable version, by command or because a lease ran out."""
        return self.ledger is not None and self.ledger.wanted is not None and (self.ledger.lease_expired or retreats(self.ledger.wanted))
