"""Topics of a measurement's own on a real broker, the workers on them, and the traffic that they are fed."""

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import msgspec
from aiokafka import AIOKafkaProducer

from bench._replay import KEY, Recorded
from ctrlplane_stream.local.processes import ChildProcess
from ctrlplane_stream.local.workers import start_worker
from ctrlplane_stream.model.windows import Closed, WindowPart, WindowRecord
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.log_reader import KafkaLogReader
from ctrlplane_stream.wire.topic_admin import ensure_topics

PARTITIONS = 8


class Site:
    """Topics of one measurement, and the workers on them."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings = settings
        self.reader = KafkaLogReader(settings)
        self._folder = folder

    @contextmanager
    def worker(self, role: str, instance: str, **environ: str) -> Iterator[ChildProcess]:
        """A worker as users start it; ``environ`` on top."""
        told = msgspec.structs.replace(self.settings, instance=instance)
        with start_worker(told, role, self._folder / f"{role}-{instance}.log", environ) as child:
            yield child

    async def ends(self, topic: str) -> list[int]:
        """How far each partition of a topic goes."""
        return [await self.reader.end(topic, p) for p in range(self.settings.partitions)]

    async def marked(self) -> None:
        """Until every source partition is owned: each writes a watermark into every partition of the halves."""
        while min(await self.ends("span-halves")) < self.settings.partitions:
            await asyncio.sleep(0.2)
        await asyncio.sleep(10.0)  # until the last worker has joined and the group is at rest

    async def feed(self, base: Sequence[Recorded], rounds: int) -> int:
        """The traffic, so many times, each record ending now; returns the spans."""
        client = AIOKafkaProducer(
            bootstrap_servers=self.settings.kafka_bootstrap_servers, max_request_size=12_000_000, compression_type="zstd", linger_ms=5
        )
        await client.start()
        try:
            for turn in range(rounds):
                for i, one in enumerate(base):
                    value = one.again(turn * KEY % (1 << 64), time.time_ns())
                    await client.send(self.settings.topic("otlp_spans"), value, partition=i % self.settings.partitions)
            await client.flush()
        finally:
            await client.stop()
        return rounds * sum(one.spans for one in base)

    async def counted(self, end: float, limit_seconds: float) -> int:
        """Wait until every partition has closed everything up to ``end``; returns the calls of all windows."""
        deadline, calls = time.monotonic() + limit_seconds, 0
        place: dict[int, int] = {}
        closed: dict[int, int] = {}
        while len(closed) < self.settings.partitions or min(closed.values()) <= end:
            assert time.monotonic() < deadline, f"closed {closed} after {limit_seconds} s, wanted {end}"
            await asyncio.sleep(0.5)
            for partition in range(self.settings.partitions):
                async for found in self.reader.read("telemetry-windows", partition, place.get(partition, 0)):
                    place[partition] = found.offset + 1
                    record = msgspec.json.decode(found.value or b"", type=WindowRecord)
                    if isinstance(record, Closed):
                        closed[record.partition] = max(closed.get(record.partition, 0), record.window)
                    elif isinstance(record, WindowPart):
                        calls += sum(edge.calls for edge in record.edges)
        return calls


@asynccontextmanager
async def site(bootstrap: str, name: str, partitions: int = PARTITIONS) -> AsyncIterator[Site]:
    """Topics of their own on the broker."""
    settings = Settings(kafka_bootstrap_servers=bootstrap, topic_prefix=f"bench-{os.getpid()}-{name}-", partitions=partitions)
    await ensure_topics(settings)
    folder = Path(tempfile.mkdtemp(prefix="bench-spans-"))
    made = Site(settings, folder)
    try:
        yield made
    finally:
        await made.reader.close()
        shutil.rmtree(folder, ignore_errors=True)
