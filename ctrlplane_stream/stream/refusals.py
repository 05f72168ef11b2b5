"""What cannot be used goes to ``dead-letters``: the original bytes, and headers that say where from and why."""

from ctrlplane_stream.stream.ports import Letter, Record
from ctrlplane_stream.wire.cloudevents import Unreadable

TOPIC = "dead-letters"


def dead_letter(found: Record, why: Unreadable, now_ms: int) -> Letter:
    """The dead letter of a record; it lies on the partition of the same number as its origin."""
    headers = (
        ("topic", found.topic.encode()),
        ("partition", str(found.partition).encode()),
        ("offset", str(found.offset).encode()),
        ("reason", why.reason[:2000].encode()),
        ("at_ms", str(now_ms).encode()),
    )
    return Letter(TOPIC, found.partition, found.topic.encode(), found.value, headers)
