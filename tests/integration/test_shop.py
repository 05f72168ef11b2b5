"""The sample shop as real processes: the shapes in its traces, the faults of its images, and how its processes end."""

import asyncio
import json
import os
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest
from aiokafka import AIOKafkaProducer
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from ctrlplane_stream.local.kafka import EmbeddedKafka, NamedKafka
from ctrlplane_stream.local.load_report import Request, by_entry, read_requests
from ctrlplane_stream.local.processes import ChildProcess, free_port
from ctrlplane_stream.local.shop import touched
from ctrlplane_stream.local.shop.images import Behaviour, digest
from ctrlplane_stream.local.shop.orders_topic import create_orders_topic
from ctrlplane_stream.local.shop.topology import ENTRIES, ORDERS_TOPIC, SERVICES
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.wire.kafka_clients import read_to_end
from ctrlplane_stream.wire.topic_admin import admin_client, apply_changes
from ctrlplane_stream.wire.topic_plan import Create

_LOAD_SECONDS = 6
_RATE = 20
_PARTITIONS = 2


class Seen(msgspec.Struct, frozen=True):
    """A span and the resource that sent it."""

    service: str
    resource: dict[str, str]
    span: Span

    def attribute(self, key: str) -> str | int | None:
        """A string or integer attribute."""
        for attribute in self.span.attributes:
            if attribute.key == key:
                return attribute.value.string_value or attribute.value.int_value
        return None


class Run(msgspec.Struct, frozen=True):
    """What came of some seconds of load on the whole shop."""

    spans: list[Seen]
    requests: list[Request]
    exits: dict[str, int | None]

    def of(self, kind: "Span.SpanKind") -> list[Seen]:
        """The spans of one kind."""
        return [seen for seen in self.spans if seen.span.kind == kind]

    def edges(self) -> Counter[tuple[str, str]]:
        """Caller and callee of every pair of a CLIENT span and the SERVER span under it."""
        clients = {seen.span.span_id: seen.service for seen in self.of(Span.SPAN_KIND_CLIENT)}
        servers = self.of(Span.SPAN_KIND_SERVER)
        return Counter((clients[s.span.parent_span_id], s.service) for s in servers if s.span.parent_span_id in clients)


class Started:
    """One process of the shop."""

    def __init__(self, service: str, port: int, log: Path, environ: Mapping[str, str]) -> None:
        self.port = port
        command = [sys.executable, "-m", "ctrlplane_stream.local.shop.service"]
        self.process = ChildProcess(service, command, log=log, environ={**os.environ, "SERVICE": service, "PORT": str(port), **environ})

    def get(self, path: str) -> tuple[int, str]:
        """Status and touched header; (0, "") where no answer came."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{path}", timeout=20) as response:
                return response.status, response.headers.get(touched.HEADER, "")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers.get(touched.HEADER, "")
        except OSError:
            return 0, ""

    def wait_ready(self) -> "Started":
        """Wait until /healthz is 200."""
        self.process.wait_ready(lambda: self.get("healthz")[0] == 200, 60.0)
        return self


Start = Callable[..., Started]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts single services by name, with environment variables as keywords."""
    with ExitStack() as stack:

        def start_one(service: str, **environ: str) -> Started:
            port = free_port()
            started = Started(service, port, tmp_path / f"{port}.log", environ)
            stack.callback(started.process.kill)
            return started

        yield start_one


@pytest.fixture(scope="module")
def run(kafka: EmbeddedKafka | NamedKafka, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The whole shop under load through the real intake, payment being a version of which three in ten charges fail."""
    folder = tmp_path_factory.mktemp("shop")
    settings = Settings(kafka_bootstrap_servers=kafka.bootstrap, topic_prefix=f"shop{os.getpid()}-", partitions=_PARTITIONS)
    asyncio.run(_create_topics(settings))
    ports = {service.name: free_port() for service in SERVICES}
    intake_port = free_port()
    environ = {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap,
        "CTRLPLANE_TOPIC_PREFIX": settings.topic_prefix,
        "CTRLPLANE_ROUTES": json.dumps({name: f"http://127.0.0.1:{port}" for name, port in ports.items()}),
        "CTRLPLANE_VERSION": "#7",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{intake_port}",
        "OTEL_RESOURCE_ATTRIBUTES": "team=a%20team,ctrlplane.version=outranked",
    }
    with ExitStack() as stack:
        intake = [sys.executable, "-m", "ctrlplane_stream", "intake", "--http-port", str(intake_port), "--grpc-port", "0"]
        receiver = stack.enter_context(ChildProcess("intake", intake, log=folder / "intake.log", environ={**os.environ, **environ}))
        shop = {}
        for name, port in ports.items():
            image = digest(name, Behaviour.ERRORS if name == "shop/payment" else Behaviour.HEALTHY)
            shop[name] = Started(name, port, folder / f"{port}.log", {**environ, "DIGEST": image})
            stack.callback(shop[name].process.kill)
        receiver.wait_ready(lambda: "OTLP/HTTP" in receiver.log_tail(), 60.0)
        for started in shop.values():
            started.wait_ready()
        _load(folder, ports)
        _wait_for_orders(settings, shop["shop/fulfilment"])
        with ThreadPoolExecutor(len(shop)) as pool:
            list(pool.map(lambda started: started.process.stop(30.0), shop.values()))
    exits = {name: started.process.returncode for name, started in shop.items()}
    return Run(asyncio.run(_spans(settings)), read_requests(folder / "load.jsonl"), exits)


def test_every_request_of_the_load_is_recorded_and_answered(run: Run) -> None:
    """Both entries were asked at about their rates; what failed are checkouts whose charge failed twice."""
    reports = by_entry(run.requests)
    assert list(reports) == sorted(entry.service for entry in ENTRIES)
    assert reports["shop/frontend"].sent > _RATE * _LOAD_SECONDS / 2
    assert {r.operation for r in run.requests if not r.ok} <= {"checkout"}
    checkouts = [r for r in run.requests if r.operation == "checkout" and r.ok]
    assert all(r.exposed("shop/payment", "#7") and r.exposed("shop/inventory", "#7") for r in checkouts)


def test_the_traces_show_the_calls_of_the_topology_and_no_others(run: Run) -> None:
    """Every CLIENT span with a SERVER span under it is an edge of the table, and every edge of the table was seen."""
    declared = {(service.name, call.service) for service in SERVICES for call in service.calls}
    assert set(run.edges()) == declared


def test_traces_are_whole(run: Run) -> None:
    """Nothing is lost on the way: each request is a root, and each parent named is there."""
    ids = {seen.span.span_id for seen in run.spans}
    roots = [seen for seen in run.of(Span.SPAN_KIND_SERVER) if not seen.span.parent_span_id]
    assert len(roots) == len(run.requests)
    assert all(seen.span.parent_span_id in ids for seen in run.spans if seen.span.parent_span_id)
    assert len(ids) == len(run.spans)


def test_a_failed_call_is_retried_in_a_span_of_its_own(run: Run) -> None:
    """Of the two CLIENT spans under one parent the first failed, and only the second counts as a resend."""
    resent = [seen for seen in run.of(Span.SPAN_KIND_CLIENT) if seen.attribute("http.request.resend_count") == 1]
    assert resent
    for second in resent:
        siblings = [s for s in run.of(Span.SPAN_KIND_CLIENT) if s.span.parent_span_id == second.span.parent_span_id and s != second]
        firsts = [s for s in siblings if s.attribute("url.full") == second.attribute("url.full")]
        assert [s.span.status.code for s in firsts] == [Status.STATUS_CODE_ERROR]


def test_the_consumer_links_to_its_producer(run: Run) -> None:
    """Each message is one PRODUCER span and one CONSUMER span of another trace that links to it."""
    sent = {(seen.span.trace_id, seen.span.span_id) for seen in run.of(Span.SPAN_KIND_PRODUCER)}
    processed = run.of(Span.SPAN_KIND_CONSUMER)
    assert {(link.trace_id, link.span_id) for seen in processed for link in seen.span.links} == sent
    assert all(len(seen.span.links) == 1 and not seen.span.parent_span_id for seen in processed)
    assert {seen.span.trace_id for seen in processed}.isdisjoint(trace_id for trace_id, _ in sent)
    assert len(sent) == sum(r.ok for r in run.requests if r.operation == "checkout")


def test_the_database_is_asked_in_client_spans(run: Run) -> None:
    """With the attributes by which the conventions name a database, under the request that asked."""
    queries = [seen for seen in run.of(Span.SPAN_KIND_CLIENT) if seen.attribute("db.system.name")]
    assert {(q.service, q.attribute("db.namespace"), q.attribute("db.collection.name")) for q in queries} == {
        ("shop/inventory", "shop/inventory", "stock"),
        ("blog/posts", "blog/posts", "posts"),
    }


def test_no_trace_touches_both_groups(run: Run) -> None:
    """The second group has nothing to do with the first."""
    groups: dict[bytes, set[str]] = {}
    for seen in run.spans:
        groups.setdefault(seen.span.trace_id, set()).add(seen.service.partition("/")[0])
    assert set(map(frozenset, groups.values())) == {frozenset({"shop"}), frozenset({"blog"})}


def test_resources_carry_the_injected_version_and_what_else_was_told(run: Run) -> None:
    """The injected label outranks, the variable of the specification is honoured, the image is named by digest."""
    for seen in run.spans:
        assert seen.resource["ctrlplane.version"] == "#7"
        assert seen.resource["team"] == "a team"
        assert seen.resource["deployment.environment.name"] == "demo"


def test_sigterm_ends_every_service_in_good_order(run: Run) -> None:
    """Exit status 0, all of them."""
    assert run.exits == dict.fromkeys((service.name for service in SERVICES), 0)


def test_an_image_with_errors_fails_about_three_in_ten(start: Start) -> None:
    """With status 500 and its own label in the header."""
    payment = start("shop/payment", DIGEST=digest("shop/payment", Behaviour.ERRORS, 3), CTRLPLANE_VERSION="#2").wait_ready()
    with ThreadPoolExecutor(20) as pool:
        answers = Counter(pool.map(lambda _: payment.get("charge"), range(300)))
    assert set(answers) == {(200, "shop/payment=#2"), (500, "shop/payment=#2")}
    # 0.3 of 300 with five standard deviations.
    assert 50 < answers[500, "shop/payment=#2"] < 130


def test_a_configuration_can_break_a_healthy_image(start: Start) -> None:
    """``ERROR_SHARE=1`` fails every request; a value that cannot be is refused at the start."""
    payment = start("shop/payment", CONFIG_ERROR_SHARE="1.0").wait_ready()
    assert {payment.get("charge")[0] for _ in range(5)} == {500}
    refused = start("shop/payment", CONFIG_ERROR_SHARE="lots")
    assert refused.process.wait(60) == 2
    assert "CONFIG_ERROR_SHARE='lots'" in refused.process.log_tail(1)


def test_a_slow_image_takes_its_time_and_a_drain_waits_for_it(start: Start) -> None:
    """300 ms and more; SIGTERM meanwhile lets the request end and the process with status 0."""
    payment = start("shop/payment", DIGEST=digest("shop/payment", Behaviour.LATENCY), CONFIG_DELAY_MILLISECONDS="1500").wait_ready()
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", payment.port), timeout=30) as connection:
        connection.sendall(b"GET /charge HTTP/1.1\r\nHost: shop\r\n\r\n")
        while not _has_read(payment.port):
            pass
        payment.process.signal(signal.SIGTERM)
        assert connection.recv(65536).startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 500 "))
    assert time.monotonic() - began > 1.5
    assert payment.process.wait(30) == 0


def test_an_image_that_crashes_says_so(start: Start) -> None:
    """Exit status 1 before it listens."""
    crashing = start("shop/cart", DIGEST=digest("shop/cart", Behaviour.CRASH))
    assert crashing.process.wait(60) == 1
    assert "crashes at its start" in crashing.process.log_tail(1)


def test_an_image_that_is_never_ready_serves_its_probe_a_503(start: Start) -> None:
    """It runs and answers, but not 200."""
    never = start("shop/cart", DIGEST=digest("shop/cart", Behaviour.NEVER_READY))
    never.process.wait_ready(lambda: never.get("healthz")[0] != 0, 60.0)
    assert [never.get("healthz")[0] for _ in range(3)] == [503] * 3


def test_an_image_that_dies_does_so_in_its_twentieth_request(start: Start) -> None:
    """By SIGKILL, in the middle of it: the caller gets no answer."""
    dying = start("blog/posts", DIGEST=digest("blog/posts", Behaviour.DIES)).wait_ready()
    assert [dying.get("list")[0] for _ in range(20)] == [200] * 19 + [0]
    assert dying.process.wait(10) == -signal.SIGKILL


def test_an_image_with_wrong_calls_calls_twice_and_astray(start: Start) -> None:
    """The callee sees two requests for one, and another service one that is none of its business."""
    inventory = start("shop/inventory", CTRLPLANE_VERSION="#1").wait_ready()
    payment = start("shop/payment", CTRLPLANE_VERSION="#1", CONFIG_ERROR_SHARE="1").wait_ready()
    routes = {"shop/inventory": f"http://127.0.0.1:{inventory.port}", "shop/payment": f"http://127.0.0.1:{payment.port}"}
    wrong = start(
        "shop/pricing", DIGEST=digest("shop/pricing", Behaviour.WRONG_CALLS), CTRLPLANE_ROUTES=json.dumps(routes), CTRLPLANE_VERSION="#2"
    )
    status, header = wrong.wait_ready().get("quote")
    assert status == 200, "a stray call that fails harms nobody"
    assert touched.read(header) == {("shop/pricing", "#2"), ("shop/inventory", "#1"), ("shop/payment", "#1")}


def test_a_consumer_that_dies_leaves_its_message_to_the_next(start: Start, kafka: EmbeddedKafka | NamedKafka, topic_prefix: str) -> None:
    """It commits what it has done and dies in its twentieth message; the next version ends the rest, and nothing is lost."""
    settings = Settings(kafka_bootstrap_servers=kafka.bootstrap, topic_prefix=topic_prefix)
    asyncio.run(create_orders_topic(settings))
    asyncio.run(_publish_orders(settings, 50))
    environ = {"KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap, "CTRLPLANE_TOPIC_PREFIX": topic_prefix}
    dying = start("shop/fulfilment", DIGEST=digest("shop/fulfilment", Behaviour.DIES), **environ)
    assert dying.process.wait(60) == -signal.SIGKILL
    assert asyncio.run(_orders_left(settings)) == 50 - 19
    healthy = start("shop/fulfilment", **environ).wait_ready()
    _wait_for_orders(settings, healthy)
    healthy.process.stop(30.0)
    assert healthy.process.returncode == 0


def test_a_consumer_on_standby_is_ready_and_takes_nothing(start: Start, kafka: EmbeddedKafka | NamedKafka, topic_prefix: str) -> None:
    """It proves that it starts, without a place in the group."""
    settings = Settings(kafka_bootstrap_servers=kafka.bootstrap, topic_prefix=topic_prefix)
    asyncio.run(create_orders_topic(settings))
    asyncio.run(_publish_orders(settings, 5))
    environ = {"KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap, "CTRLPLANE_TOPIC_PREFIX": topic_prefix}
    start("shop/fulfilment", CTRLPLANE_STANDBY="1", **environ).wait_ready()
    start("shop/fulfilment", **environ).wait_ready()
    assert asyncio.run(_members(settings)) == 1


def _has_read(port: int) -> bool:
    """Whether the one connection to the port is established with nothing left to read for its server (Linux)."""
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    waiting = [queues for _, local, _, state, queues, *_ in rows if local.endswith(f":{port:04X}") and state == "01"]
    return bool(waiting) and all(queues.endswith(":00000000") for queues in waiting)


def _load(folder: Path, ports: Mapping[str, int]) -> None:
    entries = [
        f
        for e in ENTRIES
        for f in ("--entry", f"{e.service}={_RATE if e.service == 'shop/frontend' else 5}@http://127.0.0.1:{ports[e.service]}")
    ]
    command = [
        sys.executable,
        "-m",
        "ctrlplane_stream.local.load",
        *entries,
        "--seconds",
        str(_LOAD_SECONDS),
        "--out",
        str(folder / "load.jsonl"),
    ]
    with ChildProcess("load", command, log=folder / "load.log") as load:
        assert load.wait(_LOAD_SECONDS + 60) == 0, load.log_tail()


def _wait_for_orders(settings: Settings, consumer: Started) -> None:
    """Wait until the group has committed everything that was published."""
    consumer.process.wait_ready(lambda: asyncio.run(_orders_left(settings)) == 0, 60.0)


async def _orders_left(settings: Settings) -> int:
    """Published orders that the group has not committed."""
    group = settings.topic("shop-fulfilment")
    published = Counter([record.partition async for record in read_to_end(settings, ORDERS_TOPIC)])
    async with admin_client(settings) as client:
        committed = {place.partition: offset.offset for place, offset in (await client.list_consumer_group_offsets(group)).items()}
    return sum(count - max(0, committed.get(partition, 0)) for partition, count in published.items())


async def _members(settings: Settings) -> int:
    async with admin_client(settings) as client:
        (response,) = await client.describe_consumer_groups([settings.topic("shop-fulfilment")])
    return len(response.groups[0][5])


async def _publish_orders(settings: Settings, count: int) -> None:
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap_servers, acks="all") as producer:
        for _ in range(count):
            await producer.send_and_wait(settings.topic(ORDERS_TOPIC), b"an order")


async def _create_topics(settings: Settings) -> None:
    await create_orders_topic(settings)
    async with admin_client(settings) as client:
        await apply_changes(client, [Create(settings.topic("otlp_spans"), _PARTITIONS, 1, {})])


async def _spans(settings: Settings) -> list[Seen]:
    seen = []
    async for record in read_to_end(settings, "otlp_spans"):
        for resource_spans in ExportTraceServiceRequest.FromString(record.value).resource_spans:
            resource = {a.key: a.value.string_value for a in resource_spans.resource.attributes}
            service = f"{resource['service.namespace']}/{resource['service.name']}"
            seen += [Seen(service, resource, span) for scope_spans in resource_spans.scope_spans for span in scope_spans.spans]
    return seen
