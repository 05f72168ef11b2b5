"""Calls to other services: a CLIENT span for each attempt, the trace context on the wire, what was touched back.

OpenTelemetry semantic conventions for HTTP client spans: https://opentelemetry.io/docs/specs/semconv/http/http-spans/.
"""

from collections.abc import Mapping

import aiohttp
import msgspec
from opentelemetry.propagate import inject
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer
from yarl import URL

from ctrlplane_stream.local.shop import touched
from ctrlplane_stream.local.shop.topology import Call
from ctrlplane_stream.local.shop.touched import Touched

_TIMEOUT = aiohttp.ClientTimeout(total=2.0)


class Answer(msgspec.Struct, frozen=True):
    """How an action of an operation ended, and the versions that it touched."""

    ok: bool
    touched: Touched = touched.NOTHING


class Caller:
    """Makes calls along the routes that the process was given."""

    def __init__(self, session: aiohttp.ClientSession, tracer: Tracer, routes: Mapping[str, str]) -> None:
        self._session = session
        self._tracer = tracer
        self._routes = {service: URL(base) for service, base in routes.items()}

    async def call(self, call: Call) -> Answer:
        """The answer to the call, after as many attempts as it is worth. Never raises for what the callee does."""
        answers = []
        for attempt in range(call.attempts):
            answers.append(await self._attempt(call, attempt))
            if answers[-1].ok:
                break
        return Answer(answers[-1].ok or call.optional, touched.join(a.touched for a in answers))

    async def _attempt(self, call: Call, attempt: int) -> Answer:
        base = self._routes.get(call.service)
        if base is None:
            return Answer(False, touched.itself(call.service, ""))
        url = base / call.operation
        attributes: dict[str, str | int] = {
            "http.request.method": "GET",
            "url.full": str(url),
            "server.address": url.host or "",
            "server.port": url.port or 80,
        }
        if attempt:
            attributes["http.request.resend_count"] = attempt
        with self._tracer.start_as_current_span("GET", kind=SpanKind.CLIENT, attributes=attributes) as span:
            return await self._request(call, url, span)

    async def _request(self, call: Call, url: URL, span: Span) -> Answer:
        headers: dict[str, str] = {}
        inject(headers)
        try:
            async with self._session.get(url, headers=headers, timeout=_TIMEOUT) as response:
                await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            span.set_attribute("error.type", type(error).__qualname__)
            span.set_status(Status(StatusCode.ERROR, str(error)))
            return Answer(False, touched.itself(call.service, ""))
        span.set_attribute("http.response.status_code", response.status)
        if response.status >= 400:
            span.set_attribute("error.type", str(response.status))
            span.set_status(Status(StatusCode.ERROR))
        return Answer(response.status < 400, touched.read(response.headers.get(touched.HEADER, "")))
