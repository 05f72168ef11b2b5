"""What a role keeps on a compacted topic for whoever has the partition next: the newest of each key that can be read.

A record that somebody else wrote there is passed over, as on any topic. Where it took the place of one of ours, what the key held before
it counts for as long as the broker has that, and else what it held is begun anew.
"""

from collections.abc import Callable
from typing import TypeVar

from ctrlplane_stream.stream.ports import LogReader, Record
from ctrlplane_stream.wire.cloudevents import Unreadable

T = TypeVar("T")

Read = Callable[[str, bytes], T]
"""What a record of this key and value holds. Raises ValueError where that is nothing of ours."""

Strays = list[tuple[Record, Unreadable]]


async def read_kept(reader: LogReader, topic: str, partition: int, read: Read[T]) -> tuple[dict[str, T], Strays]:
    """What a partition keeps by key, and in the order of offsets what cannot be read.

    Where all can be read nothing but the newest of each key is looked at.
    """
    end = await reader.end(topic, partition)
    newest: dict[bytes | None, Record] = {}
    async for found in reader.read(topic, partition, 0, end):
        newest.pop(found.key, None)
        if found.value is not None:
            newest[found.key] = found
    kept: dict[str, T] = {}
    doubtful = {found.key for found in newest.values() if _take(kept, found, read) is not None}
    if not doubtful:
        return kept, []
    strays: Strays = []
    async for found in reader.read(topic, partition, 0, end):
        if found.key in doubtful and (why := _take(kept, found, read)) is not None:
            strays.append((found, why))
    return kept, strays


def _take(kept: dict[str, T], found: Record, read: Read[T]) -> Unreadable | None:
    """Take over what the record holds; or why that is nothing."""
    try:
        key = (found.key or b"").decode()
        if found.value is not None:
            kept[key] = read(key, found.value)
        else:
            kept.pop(key, None)
    except ValueError as error:
        return Unreadable(f"not a record of {found.topic}: {str(error)[:200]}")
    return None
