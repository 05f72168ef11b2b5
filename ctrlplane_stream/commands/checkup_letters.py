"""The check of ``doctor`` for dead letters: how many there are, of what, since when no more came, and how to look at them."""

from collections import Counter
from datetime import UTC, datetime

from ctrlplane_stream.commands.findings import Finding, note, ok
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.wire.dead_letters import TOPIC, read_letter
from ctrlplane_stream.wire.kafka_clients import read_to_end

_LOOKED_AT = 1_000
"""The newest of each partition: what there are more is said to be more, and costs nobody minutes."""


async def check_dead_letters(settings: Settings) -> list[Finding]:
    """A note, and nothing wrong: a letter stays until its retention ends, also where it was mended and replayed."""
    counts, partitions, newest_ms = Counter[str](), Counter[int](), 0
    async for record in read_to_end(settings, TOPIC, newest=_LOOKED_AT):
        letter = read_letter(record.partition, record.offset, record.value, record.headers)
        counts[letter.topic or "nobody knows what"] += 1
        partitions[record.partition] += 1
        newest_ms = max(newest_ms, record.timestamp)
    if not counts:
        return [ok("dead letters", "none")]
    of_each = ", ".join(f"{count} of {topic}" for topic, count in counts.most_common())
    least = "at least " if _LOOKED_AT in partitions.values() else ""
    at = datetime.fromtimestamp(newest_ms / 1000, UTC).isoformat(sep=" ", timespec="seconds")
    remedy = "`ctrlplane-stream dead-letters list` says why (`--topic NAME`: of one); what is mended goes back by `dead-letters replay`"
    return [note("dead letters", f"{least}{of_each}; the newest came {at}", remedy)]
