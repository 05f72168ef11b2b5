"""The router against real sockets: what passes, what it answers itself, and that connections are never mixed up."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctrlplane_stream.local.host.backend import Backend
from ctrlplane_stream.local.host.router import Router

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Upstream:
    """An instance that answers every request with what ``answer(head, body)`` returns, and closes after an empty answer."""

    def __init__(self, answer) -> None:
        self.answer = answer
        self.connections = 0

    async def serve(self, reader, writer):
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
                body = await reader.readexactly(length)
                answer = self.answer(head, body)
                if not answer:
                    break
                writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def ok(body: bytes, headers: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n%s\r\n%s" % (len(body), headers, body)


@asynccontextmanager
async def routed(answer, response_seconds=5.0):
    """A router with one instance behind it."""
    upstream = Upstream(answer)
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
    router = Router("shop/cart", response_seconds=response_seconds)
    await router.start()
    backend = Backend(server.sockets[0].getsockname()[1])
    router.steer({"#1": 100}, {"#1": [backend]})
    try:
        yield router, upstream, backend
    finally:
        await router.stop()
        backend.close()
        server.close()


async def ask(router: Router, request: bytes) -> bytes:
    """Everything that comes back for these bytes on one connection that we then close for writing."""
    reader, writer = await asyncio.open_connection("127.0.0.1", router.port)
    writer.write(request)
    writer.write_eof()
    try:
        return await reader.read(-1)
    finally:
        writer.close()


def through(answer, request: bytes, **options) -> tuple[bytes, dict]:
    async def play():
        async with routed(answer, **options) as (router, _, _):
            return await ask(router, request), dict(router.counts)

    return asyncio.run(play())


def test_a_request_and_its_response_pass_untouched():
    seen = []

    def answer(head, body):
        seen.append((head, body))
        return ok(b"fine", b"X-Odd:  Value \r\n")

    request = b"POST /a?b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nX-ODD: y\r\n\r\nhello"
    assert through(answer, request) == (ok(b"fine", b"X-Odd:  Value \r\n"), {("#1", 0): 1})
    assert seen == [(request[:-5], b"hello")]


def test_chunks_with_extensions_and_trailers_pass_untouched():
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"
    assert through(lambda *_: chunked, GET)[0] == chunked


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_responses_without_a_body_end_with_their_head(status):
    reply = b"HTTP/1.1 " + status + b"\r\n\r\n"
    assert through(lambda *_: reply, GET + GET)[0] == reply * 2


def test_a_response_to_head_has_no_body_whatever_its_length_says():
    reply = b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n"
    assert through(lambda *_: reply, GET.replace(b"GET", b"HEAD") + GET.replace(b"GET", b"HEAD"))[0] == reply * 2


def test_a_response_until_close_ends_the_connection():
    replies = iter([b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhello", b""])

    def answer(head, body):
        return next(replies)

    async def play():
        async def serve(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer(b"", b""))
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        router = Router("s", response_seconds=5.0)
        await router.start()
        router.steer({"#1": 100}, {"#1": [Backend(server.sockets[0].getsockname()[1])]})
        got = await ask(router, GET + GET)
        await router.stop()
        server.close()
        return got

    assert asyncio.run(play()) == b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhello"


def test_an_interim_response_is_not_taken_for_the_answer():
    request = b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi"
    answer = b"HTTP/1.1 100 Continue\r\n\r\n" + ok(b"done")
    assert through(lambda *_: answer, request)[0] == b"HTTP/1.1 100 Continue\r\n\r\n" + ok(b"done")


def test_idle_connections_are_used_again():
    async def play():
        async with routed(lambda *_: ok(b"")) as (router, upstream, backend):
            for _ in range(5):
                await ask(router, GET)
            assert upstream.connections == 1
            assert backend.in_flight == 0

    asyncio.run(play())


def test_a_stale_connection_is_no_failure():
    """The instance closes each connection after one answer without saying so; no caller notices."""
    state = {"answered": 0}

    async def play():
        async def serve(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            state["answered"] += 1
            writer.write(ok(b"x"))
            await reader.read(1)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        router = Router("s", response_seconds=5.0)
        await router.start()
        router.steer({"#1": 100}, {"#1": [Backend(server.sockets[0].getsockname()[1])]})
        answers = [await ask(router, GET) for _ in range(3)]
        await router.stop()
        server.close()
        return answers

    assert asyncio.run(play()) == [ok(b"x")] * 3
    assert state["answered"] == 3


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhalf", 400),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\n", 501),
        (b"CONNECT x:1 HTTP/1.1\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", 501),
    ],
)
def test_what_cannot_be_passed_on_is_refused_before_a_version_is_chosen(request_, status):
    got, counts = through(lambda *_: ok(b""), request_)
    assert got.startswith(b"HTTP/1.1 %d " % status)
    assert counts == {("", status): 1}


@pytest.mark.parametrize("body", [b"content-length: 10\r\n\r\nhalf", b"transfer-encoding: chunked\r\n\r\nxyz\r\n"])
def test_a_caller_that_breaks_off_is_not_held_against_the_instance(body):
    _, counts = through(lambda *_: ok(b""), b"POST / HTTP/1.1\r\n" + body)
    assert counts == {("#1", 400): 1}


def test_an_instance_that_breaks_off_within_its_response_is_counted():
    async def play():
        async def serve(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        router = Router("s", response_seconds=5.0)
        await router.start()
        router.steer({"#1": 100}, {"#1": [Backend(server.sockets[0].getsockname()[1])]})
        await ask(router, GET)
        await router.stop()
        server.close()
        return dict(router.counts)

    assert asyncio.run(play()) == {("#1", 502): 1}


def test_an_instance_that_breaks_off_gives_502():
    got, counts = through(lambda *_: b"", GET)
    assert got.startswith(b"HTTP/1.1 502 ")
    assert counts == {("#1", 502): 1}


def test_an_instance_that_is_gone_gives_502():
    async def play():
        router = Router("shop/cart", response_seconds=5.0)
        await router.start()
        router.steer({"#1": 100}, {"#1": [Backend(1)]})
        got = await ask(router, GET)
        await router.stop()
        return got, dict(router.counts)

    got, counts = asyncio.run(play())
    assert got.startswith(b"HTTP/1.1 502 ")
    assert counts == {("#1", 502): 1}


def test_a_version_without_a_ready_instance_gives_503_and_no_other_version_steps_in():
    async def play():
        async with routed(lambda *_: ok(b"")) as (router, upstream, backend):
            router.steer({"#1": 0, "#2": 100}, {"#1": [backend], "#2": []})
            got = await ask(router, GET)
            assert upstream.connections == 0
            return got, dict(router.counts)

    got, counts = asyncio.run(play())
    assert got.startswith(b"HTTP/1.1 503 ")
    assert b"shop/cart #2: no instance is ready" in got
    assert counts == {("#2", 503): 1}


def test_an_instance_that_does_not_answer_gives_504():
    async def play():
        async def serve(reader, writer):
            await reader.read(-1)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        router = Router("s", response_seconds=0.05)
        await router.start()
        router.steer({"#1": 100}, {"#1": [Backend(server.sockets[0].getsockname()[1])]})
        got = await ask(router, GET)
        await router.stop()
        server.close()
        return got

    assert asyncio.run(play()).startswith(b"HTTP/1.1 504 ")


def test_a_broken_response_is_cut_and_the_connection_not_used_again():
    async def play():
        async with routed(lambda *_: b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nabcdEXTRA") as (router, upstream, _):
            first = await ask(router, GET)
            await ask(router, GET)
            return first, upstream.connections

    first, connections = asyncio.run(play())
    assert first == b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nabcd"
    assert connections == 2, "leftover bytes of one response must not begin the next"


bodies = st.binary(max_size=300)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(bodies, st.booleans(), st.integers(1, 50)), min_size=1, max_size=6))
def test_any_sequence_of_requests_on_one_connection_is_answered_in_order(requests):
    """Echoed bodies come back each to its request, whatever their length, chunked or not."""

    def answer(head, body):
        if b"x-chunked" not in head:
            return ok(body)
        pieces = b"".join(b"%x\r\n%s\r\n" % (len(body[i : i + 7]), body[i : i + 7]) for i in range(0, len(body), 7))
        return b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + pieces + b"0\r\n\r\n"

    sent = b"".join(
        b"POST / HTTP/1.1\r\n%scontent-length: %d\r\n\r\n%s" % (b"x-chunked: 1\r\n" if chunked else b"", len(body), body)
        for body, chunked, _ in requests
    )
    expected = b"".join(answer(b"x-chunked" if chunked else b"", body) for body, chunked, _ in requests)
    assert through(answer, sent)[0] == expected
