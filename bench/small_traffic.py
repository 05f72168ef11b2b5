"""Little traffic on a real broker: how soon windows are published, and what a worker costs while nothing comes.

``python -m bench.small_traffic [--quick]``. Idle first: CPU of the spans role over half a minute without a span. Then a few spans a
second, a record each; how long after its end and the allowed lateness the broker had each window (its own time stamps).
"""

import argparse
import asyncio
import random
import time

import msgspec

from bench._replay import cpu_seconds
from bench._site import Site, site
from ctrlplane_stream.local.kafka import open_broker
from ctrlplane_stream.model.windows import WindowPart, WindowRecord
from ctrlplane_stream.telemetry.half import Kind
from ctrlplane_stream.telemetry.sample_traces import SampleTraces, request
from ctrlplane_stream.wire.kafka_clients import producer, read_to_end

_TRACES_A_SECOND = 2
_IDLE_SECONDS = 30.0


async def _trickle(where: Site, seconds: float) -> None:
    """Two traces of three spans a second, each span a record of its own, on any partition."""
    traces, chance = SampleTraces(), random.Random(1)
    topic = where.settings.topic("otlp_spans")
    async with producer(where.settings) as client:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            now_ms = time.time() * 1000
            root = traces.span("front", Kind.SERVER, end_ms=now_ms, milliseconds=30)
            call = traces.span("front", Kind.CLIENT, root, end_ms=now_ms - 2, milliseconds=20)
            served = traces.span("cart", Kind.SERVER, call, version="#2", end_ms=now_ms - 4, milliseconds=10)
            for span in (root, call, served):
                await client.send(topic, request([span]), partition=chance.randrange(where.settings.partitions))
            await asyncio.sleep(chance.expovariate(_TRACES_A_SECOND))
        await client.flush()


async def _delays(where: Site) -> list[float]:
    """Seconds from the end of each window and the allowed lateness to the time at which the broker had it."""
    settings = where.settings
    due = settings.window_seconds + settings.lateness_seconds
    found = []
    async for record in read_to_end(settings, "telemetry-windows"):
        window = msgspec.json.decode(record.value or b"", type=WindowRecord)
        if isinstance(window, WindowPart) and window.part == 0:
            found.append(record.timestamp / 1000 - window.window - due)
    return sorted(found)


async def measure(bootstrap: str, seconds: float) -> None:
    """Idle, then little."""
    async with site(bootstrap, "small") as where:
        with where.worker("spans", "one") as worker:
            await where.marked()
            await asyncio.sleep(5.0)
            before = cpu_seconds(worker.pid)
            await asyncio.sleep(_IDLE_SECONDS)
            used = 100 * (cpu_seconds(worker.pid) - before) / _IDLE_SECONDS
            print(f"idle: {used:.1f}% of a core, spans role, {where.settings.partitions} partitions")
            before = cpu_seconds(worker.pid)
            await _trickle(where, seconds)
            used = 100 * (cpu_seconds(worker.pid) - before) / seconds
            await where.counted(time.time(), 120.0)
        delays = await _delays(where)
        middle, late = delays[len(delays) // 2], delays[int(0.99 * len(delays))]
        print(f"{_TRACES_A_SECOND * 3} spans a second, a record each: {used:.1f}% of a core")
        print(f"published after window end + lateness: {middle:.2f} s at the median, {late:.2f} s at the 99th percentile of {len(delays)}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="45 s of traffic instead of 120")
    arguments = parser.parse_args()
    with open_broker() as broker:
        asyncio.run(measure(broker.bootstrap, 45.0 if arguments.quick else 120.0))


if __name__ == "__main__":
    main()
