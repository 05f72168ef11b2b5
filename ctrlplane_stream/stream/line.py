"""An environment's place in the line of its facts: what was decided of it, folded from the log of record.

Facts of an environment are decided in the order of their offsets, but for two exceptions that the log tells apart by
``Decided.lane``: overrides may be decided ahead of their turn, and aborts may be answered beside the line while an
earlier fact is parked.
"""

import msgspec

from ctrlplane_stream.decision.standstill import Standstill
from ctrlplane_stream.decision.state import State, fold
from ctrlplane_stream.model.decisions import Decided, Lane, Parked


class Line(msgspec.Struct):
    """Where one environment stands. ``through`` is the last fact offset that was decided in its turn (-1: none).

    ``ahead`` are later facts that were decided already. ``parked`` is the fact that made ``decide`` raise: it and
    everything behind it wait. ``beside`` is the last fact that was answered by the minimal rule meanwhile.
    """

    state: State
    through: int = -1
    ahead: tuple[int, ...] = ()
    parked: int | None = None
    beside: int = -1
    wake_at_ms: int | None = None
    build: str | None = None
    decided_at: int = -1
    """Offset on ``decisions`` of the latest record of this environment; tells a snapshot what it has seen."""
    stalled: int | None = None
    """An override that raised when it was tried ahead of its turn: later ones must not overtake it, or they would outrun its
    origin and it would count as a repetition. Known in memory only; in its turn it is parked."""
    error: str = ""
    """What was raised on the parked fact, where one is."""

    @property
    def standstill(self) -> Standstill | None:
        """That the environment stands still, and why; None where it goes on."""
        return None if self.parked is None else Standstill(self.state.environment, self.parked, self.error)

    def has_decided(self, offset: int) -> bool:
        """Whether the fact at this offset needs no decision any more."""
        return offset <= self.through or offset in self.ahead

    def take(self, record: Decided | Parked, at: int) -> None:
        """Fold a record that counts, standing at offset ``at`` of ``decisions``. A repetition changes nothing."""
        self.decided_at = at
        if isinstance(record, Parked):
            self.park(record)
        elif record.lane is Lane.BESIDE:
            self.beside = max(self.beside, record.fact_offset)
        elif not self.has_decided(record.fact_offset):
            self.advance(record, fold(self.state, record))

    def park(self, record: Parked) -> None:
        """Wait at a fact that cannot be decided."""
        self.parked, self.error, self.stalled = record.fact_offset, record.error, None

    def advance(self, record: Decided, state: State) -> None:
        """Go on to the state after a decision."""
        self.state = state
        self.wake_at_ms = record.wake_at_ms
        self.build = record.build
        if record.lane is Lane.AHEAD:
            self.ahead = (*self.ahead, record.fact_offset)
            return
        self.through = record.fact_offset
        if self.ahead:
            self.ahead = tuple(offset for offset in self.ahead if offset > record.fact_offset)
        if self.parked is not None and self.parked <= self.through:
            self.parked = None


def restart_offset(lines: dict[str, Line]) -> int:
    """Where reading ``facts`` must go on: behind the last fact decided in turn, but not behind a parked one."""
    decided = max((line.through for line in lines.values()), default=-1) + 1
    return min([decided, *(line.parked for line in lines.values() if line.parked is not None)])
