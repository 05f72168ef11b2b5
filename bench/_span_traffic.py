"""Realistic span traffic for the benchmarks: a shop of n services, ten attributes a span, 500 spans and more a record.

A trace is a tree: a root server, calls two or three levels deep with a client and a server span each, a database call in every
second service, and a local span here and there. About four spans in ten are clients, three servers, one local, two database calls.
"""

import random

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

_BEGIN_NS = 1_700_000_000_000_000_000


def _attribute(key: str, value: str | int) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=value) if isinstance(value, str) else AnyValue(int_value=value))


class Traffic:
    """Generates requests; ``services`` and ``edges_each`` set the size of the graph, services are named by number from ``first`` on."""

    def __init__(self, seed: int = 1, services: int = 12, edges_each: int = 3, spans_per_second: float = 100_000.0, first: int = 0) -> None:
        self._rng = random.Random(seed)
        self._names = range(first, first + services)
        self._callees = {first + i: [first + (i * edges_each + j + 1) % services for j in range(edges_each)] for i in range(services)}
        self._now_ns = _BEGIN_NS
        self._step_ns = 1e9 / spans_per_second

    def requests(self, records: int, spans_each: int = 500) -> list[bytes]:
        """Serialized requests of at least ``spans_each`` spans, grouped by service as the Collector's batches are."""
        return [self._request(spans_each) for _ in range(records)]

    @property
    def now_ms(self) -> int:
        """When the last trace ended, in milliseconds since the epoch."""
        return self._now_ns // 1_000_000

    def _request(self, least: int) -> bytes:
        by_service: dict[int, list[Span]] = {}
        count = 0
        while count < least:
            made = self._trace(by_service)
            self._now_ns += int(self._step_ns * made)
            count += made
        request = ExportTraceServiceRequest()
        for service, spans in by_service.items():
            resource_spans = request.resource_spans.add()
            resource_spans.resource.attributes.extend(
                [
                    _attribute("service.name", f"service-{service}"),
                    _attribute("service.namespace", "shop"),
                    _attribute("ctrlplane.version", "#3"),
                    _attribute("deployment.environment.name", "prod"),
                    _attribute("k8s.pod.name", f"service-{service}-6b7c9d-x{service}"),
                ]
            )
            resource_spans.scope_spans.add(spans=spans).scope.name = "io.opentelemetry.http"
        return request.SerializeToString()

    def _trace(self, by_service: dict[int, list[Span]]) -> int:
        trace = self._rng.randbytes(16)
        return self._server(by_service, trace, b"", self._rng.choice(self._names), 0, self._now_ns)

    def _server(self, by_service: dict[int, list[Span]], trace: bytes, parent: bytes, service: int, depth: int, end_ns: int) -> int:
        span = self._span(by_service, trace, parent, service, Span.SPAN_KIND_SERVER, end_ns)
        count = 1
        if self._rng.random() < 0.3:
            self._span(by_service, trace, span, service, Span.SPAN_KIND_INTERNAL, end_ns - 1000)
            count += 1
        if service % 2:
            self._span(by_service, trace, span, service, Span.SPAN_KIND_CLIENT, end_ns - 2000, database=True)
            count += 1
        if depth < 3:
            for callee in self._rng.choices(self._callees[service], k=self._rng.choice((0, 1, 1, 2))):
                client = self._span(by_service, trace, span, service, Span.SPAN_KIND_CLIENT, end_ns - 3000, callee=callee)
                count += 1 + self._server(by_service, trace, client, callee, depth + 1, end_ns - 500_000)
        return count

    def _span(
        self,
        by_service: dict[int, list[Span]],
        trace: bytes,
        parent: bytes,
        service: int,
        kind: "Span.SpanKind.ValueType",
        end_ns: int,
        callee: int | None = None,
        database: bool = False,
    ) -> bytes:
        identifier = self._rng.randbytes(8)
        span = Span(
            trace_id=trace,
            span_id=identifier,
            parent_span_id=parent,
            name="GET /api/items/{id}",
            kind=kind,
            start_time_unix_nano=end_ns - int(self._rng.lognormvariate(15, 1)),
            end_time_unix_nano=end_ns,
        )
        if self._rng.random() < 0.01:
            span.status.code = 2  # type: ignore[assignment]
        span.attributes.extend(self._attributes(callee, database))
        by_service.setdefault(service, []).append(span)
        return identifier

    def _attributes(self, callee: int | None, database: bool) -> list[KeyValue]:
        """Ten attributes: those of the semantic conventions, and what is particular to each request."""
        path = f"/api/items/{self._rng.randrange(10**6)}"
        found: list[tuple[str, str | int]] = [
            ("thread.id", self._rng.randrange(64)),
            ("user_agent.original", "Mozilla/5.0 (X11; Linux x86_64)"),
            ("http.request.method", "GET"),
            ("http.response.status_code", 200),
            ("network.protocol.version", "1.1"),
            ("url.path", path),
            ("app.user.id", f"{self._rng.getrandbits(64):016x}"),
        ]
        if database:
            found += [("db.system.name", "postgresql"), ("db.namespace", "orders"), ("db.query.text", "SELECT * FROM t WHERE id = ?")]
        elif callee is not None:
            host = f"service-{callee}.shop.svc"
            found += [("server.address", host), ("server.port", 8080), ("url.full", f"http://{host}:8080{path}")]
        else:
            found += [("http.route", "/api/items/{id}"), ("url.scheme", "http"), ("client.address", f"10.0.{self._rng.randrange(256)}.7")]
        return [_attribute(key, value) for key, value in found]
