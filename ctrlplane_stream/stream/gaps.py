"""Records that were passed over are read from the log before what came after them.

After a rebalance Faust may hand over a record that was fetched before the seek, take everything between the sought
position and that record for a gap in the topic, and commit past it (found by the crash sweep). So every batch is
held against the position that was sought or reached: what lies between was lost on the way and is fetched again. Where the
topic itself has a gap (compaction, retention) nothing is found there.
"""

from collections.abc import Sequence

from ctrlplane_stream.stream.ports import LogReader, Record


async def without_gaps(reader: LogReader, records: Sequence[Record], expected: int) -> list[Record]:
    """The records of one partition, in order, with everything that lies between them from ``expected`` on."""
    whole: list[Record] = []
    for record in records:
        if record.offset > expected:
            whole += [missed async for missed in reader.read(record.topic, record.partition, expected, record.offset)]
        whole.append(record)
        expected = max(expected, record.offset + 1)
    return whole
