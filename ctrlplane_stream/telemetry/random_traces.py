"""Traces of every shape, well-formed or not, from a seed: for property tests, fuzzing and benchmarks.

They hold what real telemetry does and more: missing, repeated and reordered halves, loops, skewed clocks, shared ids, links
across traces, wrappers, local spans, failed and unanswered calls, spans that end in other windows than their parents.
"""

import random
from collections.abc import Mapping
from typing import Any

from ctrlplane_stream.telemetry.half import Kind
from ctrlplane_stream.telemetry.sample_traces import BEGINNING_MS, SampleSpan, SampleTraces

_SERVICES = ("shop", "cart", "stock", "mailer", "bank")
_ATTRIBUTES: tuple[Mapping[str, str | int], ...] = (
    {},
    {},
    {"db.system": "postgresql", "db.name": "orders"},
    {"db.system.name": "redis"},
    {"server.address": "cart", "server.port": 8080},
    {"server.address": "gateway"},
    {"peer.service": "stock", "http.url": "http://stock:80/1?a=b"},
    {"net.peer.name": "bank.example", "error.type": "timeout"},
    {"messaging.system": "kafka", "messaging.destination.name": "orders"},
    {"messaging.system": "kafka", "messaging.destination.name": "orders", "messaging.operation": "receive"},
    {"messaging.system": "kafka", "messaging.destination.name": "orders", "messaging.operation.type": "settle"},
    {"service.peer.name": "stock", "service.peer.namespace": "shop"},
    {"unrelated": "x" * 20, "rpc.service": "Ledger", "server.address": "10.0.0.7"},
    {"rpc.service": "Ledger", "peer.service": "ledger", "net.peer.ip": "10.0.0.8", "net.sock.peer.port": 80},
    {"http.url": "http://cart:8080/2", "net.peer.ip": "10.0.0.9"},
    {"http.url": "/3", "network.peer.address": "10.0.0.9"},
    {"http.url": "https://me:secret@cart:8080?a=b@c", "url.full": "stock"},
    {"url.full": "HTTP://stock/4", "http.url": "http://cart/4"},
    {"url.full": "//stock:80#é", "messaging.operation": "receive"},
    {"http.url": "http://" + "s" * 193 + "/5", "error.type": "timeout"},
    {"http.url": "http://[::1]:80/6"},
    {"server.address": "127.0.0.1", "server.port": 9000, "rpc.service": "Ledger"},
    {"server.address": "localhost", "server.port": 9000},
    {"server.address": "books.svc.local", "server.port": 80},
    {"server.address": "books.svc.local"},
)


def tidy_spans(seed: int, traces: int = 8, spread_ms: int = 25_000) -> list[SampleSpan]:
    """Traces of the usual shape: trees of calls with both sides, databases, local spans; a server may be missing or fail."""
    rng = random.Random(seed)  # noqa: S311 - shapes, not secrets
    make = SampleTraces(seed % 1_000 + 1_001)
    spans: list[SampleSpan] = []
    for _ in range(traces):
        _serve(rng, make, spans, rng.choice(_SERVICES), None, BEGINNING_MS + rng.uniform(0, spread_ms), 0)
    return spans


def _serve(
    rng: random.Random, make: SampleTraces, spans: list[SampleSpan], service: str, caller: SampleSpan | None, end_ms: float, depth: int
) -> None:
    inherited = dict(caller.resource)["deployment.environment.name"] if caller else rng.choice(("prod", "prod", "staging"))
    took = rng.lognormvariate(3, 1)
    version, state = rng.choice(("1", "2")), rng.choice(("", "", "ot=th:8"))
    common: dict[str, Any] = {"version": version, "environment": inherited, "milliseconds": took, "trace_state": state}
    consumer = caller is not None and caller.kind is Kind.PRODUCER
    kind = Kind.CONSUMER if consumer else Kind.SERVER
    served = make.span(service, kind, caller, end_ms=end_ms + 5 * consumer, error=rng.random() < 0.1, **common)
    spans.append(served)
    if rng.random() < 0.3:
        spans.append(make.span(service, Kind.INTERNAL, served, end_ms=end_ms - 1, **common))
    for _ in range(rng.choice((0, 1, 2)) if depth < 3 else 0):
        _call(rng, make, spans, service, served, end_ms - 2, depth, common)


def _call(
    rng: random.Random,
    make: SampleTraces,
    spans: list[SampleSpan],
    service: str,
    served: SampleSpan,
    end_ms: float,
    depth: int,
    common: dict[str, Any],
) -> None:
    callee = rng.choice(_SERVICES)
    chance = rng.random()
    kind = Kind.CLIENT
    attributes: dict[str, str | int] = {"server.address": callee, "server.port": 80}
    if chance < 0.3:
        attributes = {"db.system": "postgresql", "db.name": "orders"}
    elif chance < 0.4:
        kind, attributes = Kind.PRODUCER, {"messaging.system": "kafka", "messaging.destination.name": callee}
    elif chance < 0.5:
        attributes = {"server.address": "bank.example"}
    elif chance < 0.53 or chance > 0.9:
        attributes = {"http.url": f"http://{callee}:80/{depth}"}
        if chance > 0.9:
            attributes["net.peer.ip"] = "10.0.0.7"
    elif chance < 0.55 or chance > 0.8:
        attributes = {"rpc.service": f"shop.{callee}", "net.peer.ip": "10.0.0.8" if chance > 0.8 else "10.0.0.9"}
    answered = chance >= 0.3 and not 0.4 <= chance < 0.55
    client = make.span(service, kind, served, end_ms=end_ms, error=not answered and rng.random() < 0.5, attributes=attributes, **common)
    spans.append(client)
    if answered:
        for _ in range(rng.choice((1, 1, 1, 2))):
            _serve(rng, make, spans, callee, client, end_ms - 1, depth + 1)


def random_spans(seed: int, most_spans: int = 40, spread_ms: int = 45_000) -> list[SampleSpan]:
    """Up to ``most_spans`` spans of a few traces, in the order they were made; they end within ``spread_ms``."""
    rng = random.Random(seed)  # noqa: S311 - shapes, not secrets
    traces = SampleTraces(seed % 1_000 + 1)
    spans: list[SampleSpan] = []
    for _ in range(rng.randint(1, most_spans)):
        spans.append(_span(rng, traces, spans, spread_ms))
    return spans


def _span(rng: random.Random, traces: SampleTraces, spans: list[SampleSpan], spread_ms: int) -> SampleSpan:
    parent = rng.choice(spans[-12:]) if spans and rng.random() < 0.8 else None
    around = parent.end_ms if parent and rng.random() < 0.7 else BEGINNING_MS + rng.uniform(0, spread_ms)
    span = traces.span(
        rng.choice(_SERVICES),
        rng.choice((Kind.SERVER, Kind.SERVER, Kind.CLIENT, Kind.CLIENT, Kind.CLIENT, Kind.PRODUCER, Kind.CONSUMER, Kind.INTERNAL)),
        parent,
        version=rng.choice(("1", "2")),
        environment=rng.choice(("prod", "prod", "prod", "staging")),
        end_ms=around + rng.choice((0.0, -1.0, 2.5, 400.0, 12_000.0)),
        milliseconds=rng.choice((-2.0, 0.0, 0.0004, 1.0, 7.3, 250.0, 31_000.0)),
        error=rng.random() < 0.3,
        attributes=rng.choice(_ATTRIBUTES),
        links=rng.sample(spans, min(len(spans), rng.randint(0, 3))) if rng.random() < 0.3 else (),
        trace_state=rng.choice(("", "", "", "ot=th:8", "x=y,ot=rv:1;th:c")),
        missing_parent=parent is None and rng.random() < 0.3,
    )
    return _disturbed(rng, span, spans)


def _disturbed(rng: random.Random, span: SampleSpan, spans: list[SampleSpan]) -> SampleSpan:
    """Now and then a span with somebody else's id, its own id as its parent, or the whole of another span again."""
    fields = {name: getattr(span, name) for name in SampleSpan.__struct_fields__}
    chance = rng.random()
    if chance < 0.03 and spans:
        return rng.choice(spans)
    if chance < 0.08 and spans:
        other = rng.choice(spans)
        fields |= {"trace": other.trace, "span": other.span, "parent": other.parent}
    elif chance < 0.10:
        fields["parent"] = span.span
    elif chance < 0.14 and spans:
        fields["parent"] = rng.choice(spans).span
    return SampleSpan(**fields)
