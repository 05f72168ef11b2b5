"""A spans worker that stood still, or heard nothing of its broker for a while, closes no window over what came meanwhile."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress

import msgspec
import pytest

from ctrlplane_stream.local.kafka import EmbeddedKafka, missing_parts
from ctrlplane_stream.local.processes import free_port
from ctrlplane_stream.local.workers import Workers
from ctrlplane_stream.model.windows import Closed, WindowPart, WindowRecord
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.telemetry.half import Kind
from ctrlplane_stream.telemetry.in_memory import call_counts
from ctrlplane_stream.telemetry.sample_traces import SampleTraces, request
from ctrlplane_stream.wire.kafka_clients import producer, read_to_end
from ctrlplane_stream.wire.topic_admin import ensure_topics
from tests.background import Background

WINDOW_SECONDS, LATENESS_SECONDS = 4, 1
_LISTENER = """
listeners=PLAINTEXT://127.0.0.1:{{port}},CONTROLLER://127.0.0.1:{{controller_port}},BEHIND://127.0.0.1:{behind}
advertised.listeners=PLAINTEXT://127.0.0.1:{{port}},BEHIND://127.0.0.1:{front}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,BEHIND:PLAINTEXT
"""


class Line(Background):
    """Forwards a port to another one of this machine; while ``cut`` it carries nothing either way, and no connection ends."""

    def __init__(self, front: int, behind: int) -> None:
        super().__init__()
        self.front, self._behind = front, behind
        self.cut = False

    async def _go_on(self) -> None:
        async with await asyncio.start_server(self._connected, "127.0.0.1", self.front):
            while not self._ended.is_set():
                await asyncio.sleep(0.05)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            from_broker, to_broker = await asyncio.open_connection("127.0.0.1", self._behind)
            await asyncio.gather(self._carry(reader, to_broker), self._carry(from_broker, writer))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                while self.cut:
                    await asyncio.sleep(0.02)
                writer.write(data)
                await writer.drain()
        writer.close()


@pytest.fixture
def line(require: Callable[[list[str]], None]) -> Iterator[tuple[Line, EmbeddedKafka]]:
    """A broker, and a line to it besides the direct one."""
    require(missing_parts({"KAFKA_BOOTSTRAP_SERVERS": ""}))
    front, behind = free_port(), free_port()
    listener = _LISTENER.format(front=front, behind=behind)
    with Line(front, behind) as made, EmbeddedKafka(heap_megabytes=256, more_properties=listener) as broker:
        yield made, broker


@asynccontextmanager
async def traffic(settings: Settings, flowing: asyncio.Event) -> AsyncIterator[list[float]]:
    """Calls to cart while it flows, ten a second, straight to the broker: when each ended."""
    ended, sent = asyncio.Event(), list[float]()

    async def send() -> None:
        traces = SampleTraces()
        async with producer(settings) as client:
            while not ended.is_set():
                await flowing.wait()
                sent.append(time.time())
                call = traces.span("front", Kind.CLIENT, end_ms=sent[-1] * 1000, milliseconds=20)
                answer = traces.span("cart", Kind.SERVER, call, version="#2", end_ms=sent[-1] * 1000 - 2, milliseconds=10)
                for number, span in enumerate((call, answer)):
                    await client.send_and_wait(settings.topic("otlp_spans"), request([span]), partition=number)
                await asyncio.sleep(0.1)

    sending = asyncio.create_task(send())
    try:
        yield sent
    finally:
        ended.set()
        await sending


async def windows(settings: Settings) -> tuple[list[WindowPart], dict[int, int]]:
    """The parts that were published, and the last window that each partition closed."""
    parts, closed = list[WindowPart](), dict[int, int]()
    async for found in read_to_end(settings, "telemetry-windows"):
        record = msgspec.json.decode(found.value or b"", type=WindowRecord)
        if isinstance(record, Closed):
            closed[record.partition] = max(record.window, closed.get(record.partition, 0))
        else:
            parts.append(record)
    return parts, closed


async def closed_through(settings: Settings, end: float) -> list[WindowPart]:
    """The parts up to the window of this time, once all have closed it."""
    async with asyncio.timeout(60):
        while True:
            parts, closed = await windows(settings)
            if len(closed) == settings.partitions and min(closed.values()) + WINDOW_SECONDS > end:
                return [part for part in parts if part.window <= end]
            await asyncio.sleep(0.3)


async def stand_still(cut: Callable[[bool], None], flowing: asyncio.Event) -> None:
    """From soon after windows were closed until soon after they are to be the next time; the worker has nothing in hand as it begins."""
    period, now = WINDOW_SECONDS, time.time()
    closed = (now - LATENESS_SECONDS) // period * period + period + LATENESS_SECONDS
    await asyncio.sleep(closed - now)
    flowing.clear()
    await asyncio.sleep(1.0)
    cut(True)
    flowing.set()
    await asyncio.sleep(closed + period + 1.0 - time.time())
    cut(False)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("how", ["cut off", "stopped"])
def test_no_window_closes_over_what_the_worker_has_not_heard_of(how: str, line: tuple[Line, EmbeddedKafka], workers: Workers) -> None:
    """What the broker had in time is in its window, whole: by what was heard before, the worker had read all that there was."""
    cable, broker = line
    settings = Settings(
        kafka_bootstrap_servers=broker.bootstrap,
        partitions=2,
        window_seconds=WINDOW_SECONDS,
        lateness_seconds=LATENESS_SECONDS,
        pairing_seconds=6,
        session_timeout_seconds=20,
    )
    asyncio.run(ensure_topics(settings))
    child = workers.start(msgspec.structs.replace(settings, kafka_bootstrap_servers=f"127.0.0.1:{cable.front}"), "spans", "one")

    def cut(is_cut: bool) -> None:
        if how == "cut off":
            cable.cut = is_cut
        else:
            child.signal(signal.SIGSTOP if is_cut else signal.SIGCONT)

    async def play() -> tuple[list[float], list[WindowPart]]:
        flowing = asyncio.Event()
        flowing.set()
        async with traffic(settings, flowing) as sent:
            await closed_through(settings, time.time())
            await stand_still(cut, flowing)
            parts = await closed_through(settings, time.time())
        last = max(part.window for part in parts) + WINDOW_SECONDS
        return [at for at in sent if at < last], parts

    sent, parts = asyncio.run(play())
    assert [part.window for part in parts if part.part] == []
    assert {edge.callee_version for part in parts for edge in part.edges} == {"#2"}
    assert call_counts(parts) == {("front", "cart", "call"): (len(sent), 0)}
