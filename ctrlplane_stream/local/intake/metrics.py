"""What the intake counts, for Prometheus."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest


class Metrics:
    """The counters of one intake, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "ctrlplane_intake_requests", "Requests, by protocol and how they were answered", ["protocol", "answer"], registry=self._registry
        )
        self._spans = Counter("ctrlplane_intake_spans", "Spans, accepted or rejected", ["fate"], registry=self._registry)
        self._records = Counter("ctrlplane_intake_records", "Records that the broker acknowledged", registry=self._registry)
        self._in_flight = Gauge("ctrlplane_intake_in_flight_bytes", "Bytes of requests not yet acknowledged", registry=self._registry)

    def answered(self, protocol: str, answer: object) -> None:
        """A request was answered."""
        self._requests.labels(protocol, type(answer).__name__.lower()).inc()

    def accepted(self, spans: int, rejected: int) -> None:
        """Spans were acknowledged, and others of their request rejected."""
        self._spans.labels("accepted").inc(spans)
        self._spans.labels("rejected").inc(rejected)

    def record_written(self) -> None:
        """The broker acknowledged a record."""
        self._records.inc()

    def watch_bytes_in_flight(self, read: Callable[[], float]) -> None:
        """Where to read the bytes in flight."""
        self._in_flight.set_function(read)

    def exposition(self) -> bytes:
        """All of it in the Prometheus text format."""
        return generate_latest(self._registry)
