"""What cannot be used goes to ``dead-letters``: the original bytes, and headers that say where from and why."""

from ctrlplane_stream.stream.ports import Letter, Record
from ctrlplane_stream.wire.cloudevents import Unreadable
from ctrlplane_stream.wire.dead_letters import TOPIC, letter_headers


def dead_letter(found: Record, why: Unreadable, now_ms: int) -> Letter:
    """The dead letter of a record; it lies on the partition of the same number as its origin."""
    headers = letter_headers(found.topic, found.partition, found.offset, why.reason, now_ms, key=found.key, headers=found.headers)
    return Letter(TOPIC, found.partition, found.topic.encode(), found.value, headers)
