"""The load is open-loop, seeded and bounded, and its report counts what happened."""

import asyncio
import itertools
from pathlib import Path
from random import Random

import msgspec
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from ctrlplane_stream.local import load
from ctrlplane_stream.local.load import Stream, arrivals, generate
from ctrlplane_stream.local.load_report import Request, by_entry, read_requests
from ctrlplane_stream.local.shop.topology import ENTRIES, Entry


@given(st.floats(0.5, 50), st.floats(0, 20), st.integers())
def test_arrivals_are_ascending_and_the_same_for_a_seed(rate: float, seconds: float, seed: int) -> None:
    """Times within the span, in order; the seed alone decides them."""
    times = list(arrivals(rate, seconds, Random(seed)))
    assert times == list(arrivals(rate, seconds, Random(seed)))
    assert all(0 <= a <= b < seconds for a, b in itertools.pairwise([0.0, *times])) or not times


def test_arrivals_have_the_rate_that_was_asked_for() -> None:
    """10,000 expected: within five standard deviations of a Poisson count."""
    assert abs(len(list(arrivals(100, 100, Random(7)))) - 10_000) < 500


def _drive(seconds: float, stalls_until: int = 0) -> list[Request]:
    """Requests to a server that answers at once, or not before it was sent, or spared, ``stalls_until`` of them."""
    requests: list[Request] = []

    async def run() -> None:
        arrived, answer = 0, asyncio.Event()

        def count() -> None:
            if arrived + len(requests) >= stalls_until:
                answer.set()

        def record(request: Request) -> None:
            requests.append(request)
            count()

        async def handle(_: web.Request) -> web.Response:
            nonlocal arrived
            arrived += 1
            count()
            await answer.wait()
            return web.Response(headers={"x-versions-touched": "shop/cart=#2, shop/frontend=#1"})

        application = web.Application()
        application.router.add_get("/{operation}", handle)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        await generate((Stream(ENTRIES[0], 200, url),), seconds, 1, record, asyncio.Event())
        await runner.cleanup()

    asyncio.run(run())
    return requests


def test_a_shop_that_stalls_is_sent_just_as_much() -> None:
    """The same requests are sent whether each is answered at once or none before the last is there; latencies show the wait."""
    quick = _drive(0.5)
    stalled = _drive(0.5, stalls_until=len(quick))
    assert len(stalled) == len(quick) > 50
    assert sorted(r.operation for r in stalled) == sorted(r.operation for r in quick)
    last_due = max(r.at for r in stalled)
    assert all(r.at + r.milliseconds / 1000 > last_due - 0.01 for r in stalled)


def test_a_thousand_outstanding_requests_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound (here ten) a request is recorded as refused, not sent and not forgotten."""
    quick = _drive(0.3)
    monkeypatch.setattr(load, "_MOST_OUTSTANDING", 10)
    requests = _drive(0.3, stalls_until=len(quick))
    assert len(requests) == len(quick) > 30
    assert [r.error is None for r in requests].count(True) == 10
    assert {r.status for r in requests if r.error} == {0}


def test_what_a_request_touched_is_recorded_and_who_gave_no_answer() -> None:
    """From the header; where there is no answer, the entry itself is of unknown version."""
    assert {r.touched for r in _drive(0.1)} == {(("shop/cart", "#2"), ("shop/frontend", "#1"))}
    requests: list[Request] = []
    nobody = Stream(Entry("shop/frontend", {"browse": 1.0}), 100, "http://127.0.0.1:1")
    asyncio.run(generate((nobody,), 0.1, 1, requests.append, asyncio.Event()))
    assert {(r.status, r.touched) for r in requests} == {(0, (("shop/frontend", "unknown"),))}


def test_a_stop_ends_it_at_once() -> None:
    """Set from the beginning, nothing is sent however long it was to last."""

    async def run() -> None:
        stop = asyncio.Event()
        stop.set()
        await generate((Stream(ENTRIES[0], 1, "http://127.0.0.1:1"),), 3600, 1, pytest.fail, stop)

    asyncio.run(run())


def test_a_file_that_is_being_written_reads_up_to_its_last_whole_line(tmp_path: Path) -> None:
    """An unfinished line is left for next time."""
    path = tmp_path / "load.jsonl"
    request = Request(1.0, "shop/frontend", "browse", 200, 5.0, (("shop/cart", "#1"),))
    path.write_bytes(msgspec.json.encode(request) + b"\n" + msgspec.json.encode(request)[:9])
    assert read_requests(path) == [request]


def test_harm_is_counted_for_what_was_or_may_have_been_exposed() -> None:
    """Failed and slow requests harm; one whose service gave no answer may have touched any of its versions."""
    cart = ("shop/cart", "#2")
    requests = [
        Request(0, "e", "o", 200, 5, (cart,)),
        Request(0, "e", "o", 500, 5, (cart,)),
        Request(0, "e", "o", 200, 900, (cart,)),
        Request(0, "e", "o", 502, 5, (("shop/cart", "unknown"),)),
        Request(0, "e", "o", 502, 5, (("shop/cart", "#1"),)),
    ]
    exposed = [r for r in requests if r.possibly_exposed(*cart)]
    assert (exposed, [r.harmed(500) for r in exposed]) == (requests[:4], [False, True, True, True])
    report = by_entry(requests)["e"]
    assert (report.sent, report.ok, report.failed, report.p50_milliseconds) == (5, 2, 3, 5)
    assert by_entry([Request(0, "e", "o", 0, 3000)])["e"].p99_milliseconds is None
