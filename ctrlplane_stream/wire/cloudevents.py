"""CloudEvents 1.0, structured JSON mode: the envelope of everything that people and other systems send us.

Reading never raises: what cannot be read is an ``Unreadable`` whose reason tells the sender what to mend.
"""

from datetime import datetime
from typing import TypeVar

import msgspec

from ctrlplane_stream.wire.json_words import WrongJson, read_json

T = TypeVar("T")

MAX_BYTES = 1_000_000
"""Longest event that is read; Kafka's own default limit for a record, so a well-behaved sender never meets it."""

_SHOWN = 200


class Unreadable(msgspec.Struct, frozen=True):
    """Why a record could not be read, in words for the person who sent it."""

    reason: str


class CloudEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """The attributes that we use; ``data`` is kept as raw JSON until its type is known.

    ``time`` decides nothing, since clocks of senders may be wrong: the broker's is what counts. It must be one where it is given.
    """

    id: str
    source: str
    type: str
    specversion: str = "1.0"
    data: msgspec.Raw = msgspec.Raw(b"{}")
    subject: str | None = None
    time: datetime | None = None
    datacontenttype: str | None = None


def decode(raw: bytes | msgspec.Raw, word: type[T] | msgspec.json.Decoder[T], what: str) -> T | Unreadable:
    """The word that ``raw`` JSON holds, or why not; ``what`` names it in the reason."""
    try:
        return read_json(raw, word)
    except WrongJson as error:
        return Unreadable(f"not a readable {what}: {error}")


def read(value: bytes | None) -> CloudEvent | Unreadable:
    """The event that a record's value holds."""
    if not value:
        return Unreadable("the record is empty; expected a CloudEvents 1.0 JSON object")
    if len(value) > MAX_BYTES:
        return Unreadable(f"{len(value)} bytes are over the limit of {MAX_BYTES} for an event")
    event = decode(value, CloudEvent, "CloudEvents 1.0 JSON object")
    if isinstance(event, Unreadable):
        return event
    if event.specversion != "1.0":
        return Unreadable(f"specversion {event.specversion[:_SHOWN]!r} is not 1.0")
    wrong = wrong_id(event.id)
    return Unreadable(wrong) if wrong is not None else event


def wrong_id(id_: str) -> str | None:
    """Why an event cannot have this id, or None."""
    return None if 0 < len(id_) <= 256 else "id must have 1 to 256 characters: repetitions are known by it"


def write(event_id: str, source: str, type_: str, data: object, subject: str | None = None) -> bytes:
    """The bytes of an event; ``data`` is anything msgspec encodes."""
    raw = msgspec.Raw(msgspec.json.encode(data, order="sorted"))
    return msgspec.json.encode(CloudEvent(event_id, source, type_, data=raw, subject=subject))
