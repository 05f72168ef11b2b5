"""What the worker tells Prometheus. One registry a process, on loopback, only where a port is set."""

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server

_PREFIX = "ctrlplane"


class Metrics:
    """Counters and gauges of one role."""

    def __init__(self, role: str) -> None:
        self.registry = CollectorRegistry()
        self._role = role
        self._consumed = self._counter("consumed_records", "Records consumed and acknowledged", "topic")
        self._refused = self._counter("dead_letters", "Records that went to dead-letters", "topic")
        self._produced = self._counter("produced", "What came out: spans, pairs, windows, decisions, facts, verdicts, outcomes", "what")
        self._lag = self._gauge("lag_records", "Records on the broker behind what was acknowledged", "topic", "partition")
        self._commit_age = self._gauge("commit_age_seconds", "Seconds since anything was committed", "topic")
        self.consumed_at = time.monotonic()

    def consumed(self, topic: str, records: int) -> None:
        """Records of the topic were acknowledged."""
        self._consumed.labels(self._role, topic).inc(records)
        self.consumed_at = time.monotonic()

    def refused(self, topic: str) -> None:
        """A record of the topic went to dead-letters."""
        self._refused.labels(self._role, topic).inc()

    def produced(self, what: str, count: float) -> None:
        """Something came out."""
        self._produced.labels(self._role, what).inc(count)

    def lag(self, topic: str, partition: int, records: int) -> None:
        """How far a partition lies behind."""
        self._lag.labels(self._role, topic, str(partition)).set(records)

    def commit_age(self, topic: str, seconds: float) -> None:
        """How long ago the topic's position was last committed."""
        self._commit_age.labels(self._role, topic).set(seconds)

    def serve(self, port: int) -> None:
        """Listen on loopback; OSError where the port is taken."""
        start_http_server(port, addr="127.0.0.1", registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"{_PREFIX}_{name}", text, ("role", *labels), registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"{_PREFIX}_{name}", text, ("role", *labels), registry=self.registry)
