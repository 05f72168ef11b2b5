"""One process of the shop: ``python -m ctrlplane_stream.local.shop.service``, told everything by its environment.

It listens on 127.0.0.1:PORT: ``GET /healthz`` is 200 once it is ready, ``GET /<operation>`` performs one operation of
its service. SIGTERM finishes the requests and messages in hand, hands over the spans and ends with status 0. Status 1
is a version that crashes at its start, 2 a process that was started wrongly; the reason is the last line it writes.

``orders`` is imported only by the services that use a topic: Kafka's client is a third of a start's time.
"""

import asyncio
import os
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from random import Random

import aiohttp
import uvloop
from aiohttp import web
from opentelemetry.propagate import extract
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer

from ctrlplane_stream.ending import ending_signals
from ctrlplane_stream.local.shop import surroundings, touched
from ctrlplane_stream.local.shop.calls import Caller
from ctrlplane_stream.local.shop.database import Database
from ctrlplane_stream.local.shop.surroundings import BadSurroundings, Surroundings
from ctrlplane_stream.local.shop.topology import Publish, Service
from ctrlplane_stream.local.shop.tracing import tracer_provider
from ctrlplane_stream.local.shop.version import Version

_DRAIN_SECONDS = 5.0
_CRASHED, _STARTED_WRONGLY = 1, 2


class Front:
    """The HTTP side of a service: a SERVER span around every operation, and readiness.

    Conventions: https://opentelemetry.io/docs/specs/semconv/http/http-spans/.
    """

    def __init__(self, service: Service, version: Version, tracer: Tracer, ready: Callable[[], bool]) -> None:
        self._service = service
        self._version = version
        self._tracer = tracer
        self._ready = ready

    def application(self) -> web.Application:
        """What to serve."""
        application = web.Application()
        application.router.add_get("/healthz", self._healthz)
        application.router.add_get("/{operation}", self._operation)
        return application

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(status=200 if self._ready() else 503)

    async def _operation(self, request: web.Request) -> web.Response:
        operation = self._service.operation(request.match_info["operation"])
        if operation is None:
            raise web.HTTPNotFound
        route = f"/{operation.name}"
        attributes = {"http.request.method": "GET", "http.route": route, "url.path": route, "url.scheme": "http"}
        with self._tracer.start_as_current_span(
            f"GET {route}", context=extract(request.headers), kind=SpanKind.SERVER, attributes=attributes
        ) as span:
            done = await self._version.perform(operation)
            span.set_attribute("http.response.status_code", done.status)
            if not done.ok:
                span.set_attribute("error.type", str(done.status))
                span.set_status(Status(StatusCode.ERROR))
        return web.Response(status=done.status, headers={touched.HEADER: touched.write(done.touched)})


async def run(told: Surroundings) -> None:
    """Serve until SIGTERM, SIGINT or SIGHUP, then leave in good order."""
    leave = asyncio.Event()
    for number in ending_signals():
        asyncio.get_running_loop().add_signal_handler(number, leave.set)
    provider = tracer_provider(told)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(_hand_over, provider)
        await _serve(told, provider.get_tracer("shop"), stack)
        await leave.wait()


async def _serve(told: Surroundings, tracer: Tracer, stack: AsyncExitStack) -> None:
    """Put the parts together; what is entered last is left first: the front, then the work, then the connections."""
    session = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
    database = Database(told.service.name, told.service.queries, tracer)
    stack.callback(database.close)
    seed = f"{told.service.name} {told.version} {told.port}"
    random = Random(seed)  # noqa: S311 (chance, not secrets)
    version = Version(told, Caller(session, tracer, told.routes), database, random, _start_publisher(told, tracer, stack))
    joined = _start_worker(told, version, tracer, stack)
    front = Front(told.service, version, tracer, lambda: told.conduct.becomes_ready and joined())
    runner = web.AppRunner(front.application(), access_log=None, handle_signals=False, shutdown_timeout=_DRAIN_SECONDS)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", told.port).start()


def _start_publisher(told: Surroundings, tracer: Tracer, stack: AsyncExitStack) -> Callable[[Publish, bytes], None] | None:
    """What to publish with, if the service publishes."""
    if not told.service.publishes or told.kafka is None:
        return None
    from ctrlplane_stream.local.shop.orders import Publisher

    publisher = Publisher(told.kafka, told.topic_prefix, tracer)
    stack.push_async_callback(publisher.close)
    return publisher.publish


def _start_worker(told: Surroundings, version: Version, tracer: Tracer, stack: AsyncExitStack) -> Callable[[], bool]:
    """Start reading the topic, if the service consumes one; the result says whether it has begun (or need not)."""
    if told.service.consumes is None or told.kafka is None or told.standby or not told.conduct.becomes_ready:
        return lambda: True
    from ctrlplane_stream.local.shop.orders import Worker

    operation = told.service.operations[0]

    async def perform() -> bool:
        return (await version.perform(operation)).ok

    worker = Worker(told.kafka, told.topic_prefix, told.service.consumes, tracer, perform)
    running = asyncio.create_task(worker.run())

    async def leave() -> None:
        worker.leave()
        await running

    stack.push_async_callback(leave)
    return lambda: worker.joined and not running.done()


async def _hand_over(provider: TracerProvider) -> None:
    """Export what spans are left. The exporter gives up by itself where nobody takes them."""
    await asyncio.to_thread(provider.shutdown)


def main() -> int:
    """Run the service that the environment describes; the exit status."""
    try:
        told = surroundings.read(os.environ)
    except BadSurroundings as error:
        print(f"cannot start: {error}", file=sys.stderr)
        return _STARTED_WRONGLY
    if told.conduct.crashes:
        print(f"{told.image}@{told.digest}: this image crashes at its start", file=sys.stderr)
        return _CRASHED
    try:
        uvloop.run(run(told))
    except OSError as error:
        print(f"cannot start: 127.0.0.1:{told.port}: {error.strerror}", file=sys.stderr)
        return _STARTED_WRONGLY
    return 0


if __name__ == "__main__":
    sys.exit(main())
