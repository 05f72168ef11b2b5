"""The load generator: an open loop, so that a slow shop gets no less to do and no stall goes unseen.

Requests start at the times of a seeded Poisson process, whoever has answered by then, and their latency counts from
the time they were due (Tene's "coordinated omission" is what a closed loop would commit). Every request becomes one
JSON line with the versions that it touched, so that requests exposed and harmed can be counted without telemetry.

``python -m ctrlplane_stream.local.load --entry shop/frontend=15@http://127.0.0.1:8001 --seconds 60 --out load.jsonl``
ends by itself after that many seconds, or soon after SIGTERM; answers on the way are waited for, three seconds at most.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import click
import msgspec
import uvloop

from ctrlplane_stream.ending import ending_signals
from ctrlplane_stream.local.load_report import Request
from ctrlplane_stream.local.shop import touched
from ctrlplane_stream.local.shop.topology import ENTRIES, Entry

_ANSWER_SECONDS = 3.0
_MOST_OUTSTANDING = 1000
_TIMEOUT = aiohttp.ClientTimeout(total=_ANSWER_SECONDS)

Record = Callable[[Request], None]


class Stream(msgspec.Struct, frozen=True):
    """Requests to one entry: ``url`` is the base of what stands in front of it, ``rate`` requests a second."""

    entry: Entry
    rate: float
    url: str


def arrivals(rate: float, seconds: float, random: Random) -> Iterator[float]:
    """When requests are due, in seconds from the start, ascending: a Poisson process of ``rate`` a second."""
    due = random.expovariate(rate)
    while due < seconds:
        yield due
        due += random.expovariate(rate)


class Generator:
    """Drives streams; at most a thousand requests are on their way, one beyond that is recorded as refused."""

    def __init__(self, session: aiohttp.ClientSession, record: Record, seed: int) -> None:
        self._session = session
        self._record = record
        self._seed = seed
        self._outstanding: set[asyncio.Task[None]] = set()

    async def drive(self, stream: Stream, seconds: float) -> None:
        """Send what is due and return when the last was sent; ``finish`` waits for the answers."""
        random = Random(f"{self._seed} {stream.entry.service}")  # noqa: S311 (a schedule, not a secret)
        operations, weights = list(stream.entry.mix), list(stream.entry.mix.values())
        started = time.monotonic()
        for due in arrivals(stream.rate, seconds, random):
            await asyncio.sleep(started + due - time.monotonic())
            operation = random.choices(operations, weights)[0]
            self._send(stream, operation, started + due)

    async def finish(self) -> None:
        """Wait for what is on its way."""
        if self._outstanding:
            await asyncio.wait(self._outstanding)

    def _send(self, stream: Stream, operation: str, due: float) -> None:
        at = time.time() - (time.monotonic() - due)
        if len(self._outstanding) >= _MOST_OUTSTANDING:
            self._record(Request(at, stream.entry.service, operation, 0, 0.0, error="refused: too many outstanding"))
            return
        task = asyncio.create_task(self._ask(stream, operation, due, at))
        self._outstanding.add(task)
        task.add_done_callback(self._outstanding.discard)

    async def _ask(self, stream: Stream, operation: str, due: float, at: float) -> None:
        status, error, seen, late = 0, None, touched.itself(stream.entry.service, ""), (time.monotonic() - due) * 1000.0
        try:
            async with self._session.get(f"{stream.url}/{operation}", timeout=_TIMEOUT) as response:
                await response.read()
                status, seen = response.status, touched.read(response.headers.get(touched.HEADER, "")) or seen
        except (aiohttp.ClientError, TimeoutError) as failure:
            error = f"{type(failure).__qualname__}: {failure}"
        milliseconds = (time.monotonic() - due) * 1000.0
        self._record(Request(at, stream.entry.service, operation, status, milliseconds, tuple(sorted(seen)), error, late))


async def generate(streams: tuple[Stream, ...], seconds: float, seed: int, record: Record, stop: asyncio.Event) -> None:
    """Drive all streams for so many seconds, or until ``stop`` is set."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        generator = Generator(session, record, seed)
        sending = asyncio.gather(*(generator.drive(stream, seconds) for stream in streams))
        stopping = asyncio.ensure_future(stop.wait())
        either: list[asyncio.Future[Any]] = [sending, stopping]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        sending.cancel()
        stopping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sending
        await generator.finish()


async def _write(streams: tuple[Stream, ...], seconds: float, seed: int, out: Path) -> None:
    stop = asyncio.Event()
    for number in ending_signals():
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    # Line-buffered: whoever reads along sees each request as soon as it has ended.
    with out.open("a", buffering=1, encoding="utf-8") as lines:
        await generate(streams, seconds, seed, lambda request: _append(lines.write, request), stop)


def _append(write: Callable[[str], int], request: Request) -> None:
    write(msgspec.json.encode(request).decode() + "\n")


def _stream(text: str) -> Stream:
    name, _, rest = text.partition("=")
    rate, _, url = rest.partition("@")
    entry = next((e for e in ENTRIES if e.service == name), None)
    if entry is None or not url.startswith("http://127.0.0.1:"):
        known = ", ".join(e.service for e in ENTRIES)
        raise click.BadParameter(f"{text!r}: write ENTRY=RATE@http://127.0.0.1:PORT with an ENTRY of {known}")
    try:
        return Stream(entry, float(rate), url.rstrip("/"))
    except ValueError as error:
        raise click.BadParameter(f"{text!r}: {rate!r} is no number of requests a second") from error


@click.command()
@click.option(
    "--entry", "entries", multiple=True, required=True, metavar="ENTRY=RATE@URL", help="Where to send how many requests a second."
)
@click.option("--seconds", type=click.FloatRange(0, 3600), required=True, help="How long to send.")
@click.option("--seed", default=1, show_default=True, help="Of the arrival times and of what is asked for.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="Where to append a JSON line for each request.")
def main(entries: tuple[str, ...], seconds: float, seed: int, out: Path) -> None:
    """Send requests to the shop at a fixed rate, whatever it answers."""
    uvloop.run(_write(tuple(_stream(text) for text in entries), seconds, seed, out))


if __name__ == "__main__":
    main()
