"""What cannot be used goes to ``dead-letters``; see ``wire.dead_letters`` for its form."""

from ctrlplane_stream.stream.ports import Letter, Record
from ctrlplane_stream.wire.cloudevents import Unreadable
from ctrlplane_stream.wire.dead_letters import TOPIC, letter_headers


def dead_letter(found: Record, why: Unreadable, now_ms: int, partitions: int) -> Letter:
    """The dead letter of a record, on the partition of the same number as its origin where there is one."""
    headers = letter_headers(
        found.topic, found.partition, found.offset, why.reason, now_ms, key=found.key, headers=((k, v or b"") for k, v in found.headers)
    )
    return Letter(TOPIC, found.partition % partitions, found.topic.encode(), found.value, headers)
