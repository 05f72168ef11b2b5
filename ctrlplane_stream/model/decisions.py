"""The log of record: one record per fact decided, and the claims that say who may decide."""

from enum import StrEnum

import msgspec

from ctrlplane_stream.model.commands import Notify, Output


class Disposition(StrEnum):
    """What became of a fact."""

    APPLIED = "applied"
    IGNORED = "ignored"


class Lane(StrEnum):
    """In which order a fact was decided. The order of records on ``decisions`` is the order of deciding."""

    TURN = "turn"
    """In its turn: every earlier fact of the environment was decided before."""
    AHEAD = "ahead"
    """An override that was decided before facts that stand ahead of it, because people do not wait behind a queue."""
    BESIDE = "beside"
    """An abort answered by the minimal rule while an earlier fact is parked: nothing is remembered of it but that it
    was answered, and the fact is decided again in its turn."""


class Reason(msgspec.Struct, frozen=True):
    """Why something was decided or ignored: a stable ``code`` for programs, a sentence for people."""

    code: str
    text: str
    rollout: str | None = None


GONE = b"null"
"""The value of a state key that went away, in a delta."""


class Decided(msgspec.Struct, frozen=True, tag_field="type", tag="decided"):
    """The decision of one fact: written once, awaited, and only then is the fact acknowledged.

    ``delta`` maps each changed state key to its new canonical JSON, or ``null`` where the key went away; folding deltas in
    order gives the state. ``wake_at_ms`` is when the environment wants the next TimePassed (None: not at all).
    """

    environment: str
    epoch: int
    fact_offset: int
    sequence: int
    build: str
    at_ms: int
    disposition: Disposition
    outputs: tuple[Output, ...]
    reasons: tuple[Reason, ...]
    delta: dict[str, msgspec.Raw]
    wake_at_ms: int | None = None
    lane: Lane = Lane.TURN
    version: int = 1


class Claim(msgspec.Struct, frozen=True, tag_field="type", tag="claim"):
    """A new owner of the partition: the offset of this record is its epoch."""

    owner: str
    build: str


class Parked(msgspec.Struct, frozen=True, tag_field="type", tag="parked"):
    """This fact made ``decide`` raise; later facts of the environment wait until a mended build or a skip.

    ``notice`` is what people are told of it (None where the state does not say even that).
    """

    environment: str
    epoch: int
    fact_offset: int
    build: str
    error: str
    notice: Notify | None = None


DecisionRecord = Decided | Claim | Parked
"""What a record on ``decisions`` holds."""
