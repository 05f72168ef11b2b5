"""What the worker tells Prometheus. One registry a process, on loopback, only where a port is set.

The families are a table: ``docs/metrics.md`` is written from it, and a name that is not in it cannot be counted.
"""

import time
from enum import StrEnum

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server


def port_trouble(port: int, error: OSError) -> OSError:
    """Why nothing can listen on a port of ``CTRLPLANE_METRICS_PORT``, and what to do."""
    why = error.strerror or str(error)
    return OSError(error.errno, f"port {port} cannot be had for metrics ({why}): set CTRLPLANE_METRICS_PORT to another, or to 0 for none")


class Product(StrEnum):
    """What comes out of a worker, as the label ``what`` says it; the roles that make it, and what it is."""

    roles: tuple[str, ...]
    text: str

    def __new__(cls, value: str, roles: tuple[str, ...], text: str) -> "Product":
        member = str.__new__(cls, value)
        member._value_, member.roles, member.text = value, roles, text
        return member

    SPANS = "spans", ("spans",), "spans read from `otlp_spans`"
    PAIRS = "pairs", ("spans",), "calls of which both halves were seen"
    WINDOWS = "windows", ("spans",), "records of `telemetry-windows`: parts of windows, and their closing"
    FACTS = "facts", ("engine", "judge", "actuate"), "facts written"
    VERDICTS = "verdicts", ("judge",), "verdicts of the judge"
    DECISIONS = "decisions", ("engine",), "decisions of the engine"
    OUTCOMES = "outcomes", ("actuate",), "answers of the world, and what it did by itself"
    PROJECTIONS = "projections", ("project",), "records of `version-sets` and `rollouts`, and announced artifacts"
    NOTIFICATIONS = "notifications", ("project",), "notifications that a webhook took"


class Family(msgspec.Struct, frozen=True):
    """One metric family: its name as it is scraped, whether it only counts up, what it says, its labels besides ``role``, and when
    to look closer."""

    name: str
    counts: bool
    text: str
    labels: tuple[str, ...]
    worry: str


LAG = Family("ctrlplane_lag_records", False, "Records on the broker behind what was acknowledged", ("topic", "partition"), "it only rises")
COMMIT_AGE = Family(
    "ctrlplane_commit_age_seconds", False, "Seconds since the position moved while records wait; 0 where none do", ("topic",), "above 30"
)
CONSUMED = Family("ctrlplane_consumed_records_total", True, "Records consumed and acknowledged", ("topic",), "it stands still under load")
PRODUCED = Family("ctrlplane_produced_total", True, "What came out, by what it is", ("what",), "no `windows` while there is traffic")
SKIPPED = Family("ctrlplane_skipped_spans_total", True, "Spans that made no half, by reason", ("reason",), "a share that grows")
UNPAIRED = Family(
    "ctrlplane_unpaired_spans_total",
    True,
    "Spans that made a half and no edge of their own, by reason",
    ("reason",),
    "any `evicted`, any `too-many-environments`",
)
DEAD_LETTERS = Family("ctrlplane_dead_letters_total", True, "Records that went to `dead-letters`, by origin", ("topic",), "any")
LEFT_OUT = Family(
    "ctrlplane_left_out_events_total",
    True,
    "Events of a registry that offer no artifact, and records that take an older catalog off, by reason",
    ("reason",),
    "`no tag` grows where an image should have been offered",
)
TURNED_AWAY = Family(
    "ctrlplane_turned_away_windows_total",
    True,
    "Records of `telemetry-windows` of environments that no catalog names, beyond as many as the judge keeps of those",
    (),
    "any: the log of the judge names one, and says what to do",
)
PARKED = Family(
    "ctrlplane_parked_environments",
    False,
    "Environments that stand still, since a fact of theirs cannot be decided",
    (),
    "any: `doctor` names them and what to type",
)
FAMILIES: tuple[Family, ...] = (LAG, COMMIT_AGE, CONSUMED, PRODUCED, SKIPPED, UNPAIRED, DEAD_LETTERS, LEFT_OUT, TURNED_AWAY, PARKED)
"""Every family, in the order of the page on them."""


class Metrics:
    """Counters and gauges of one role. What it makes is there from the start, at 0, so that a rate has a beginning."""

    def __init__(self, role: str) -> None:
        self.registry = CollectorRegistry()
        self._role = role
        self._counters = {f: Counter(f.name, f.text, ("role", *f.labels), registry=self.registry) for f in FAMILIES if f.counts}
        self._gauges = {f: Gauge(f.name, f.text, ("role", *f.labels), registry=self.registry) for f in FAMILIES if not f.counts}
        self.consumed_at = time.monotonic()
        for product in Product:
            if role in product.roles:
                self._counted(PRODUCED, product)

    def consumed(self, topic: str, records: int) -> None:
        """Records of the topic were acknowledged."""
        self._counted(CONSUMED, topic).inc(records)
        self.consumed_at = time.monotonic()

    def refused(self, topic: str) -> None:
        """A record of the topic went to dead-letters."""
        self._counted(DEAD_LETTERS, topic).inc()

    def produced(self, what: Product, count: float) -> None:
        """Something came out."""
        self._counted(PRODUCED, what).inc(count)

    def skipped(self, reason: str, count: int) -> None:
        """Spans made no half, for this reason."""
        self._counted(SKIPPED, reason).inc(count)

    def unpaired(self, reason: str, count: int) -> None:
        """Spans made no edge of their own, for this reason."""
        self._counted(UNPAIRED, reason).inc(count)

    def left_out(self, reason: str) -> None:
        """An event of a registry offers no artifact, for this reason."""
        self._counted(LEFT_OUT, reason).inc()

    def turned_away(self) -> None:
        """A window of an environment that nobody asked for was not taken in."""
        self._counted(TURNED_AWAY).inc()

    def lag(self, topic: str, partition: int, records: int) -> None:
        """How far a partition lies behind."""
        self._measured(LAG, topic, str(partition)).set(records)

    def commit_age(self, topic: str, seconds: float) -> None:
        """How long ago the topic's position was last committed."""
        self._measured(COMMIT_AGE, topic).set(seconds)

    def parked(self, environments: int) -> None:
        """So many environments of ours stand still."""
        self._measured(PARKED).set(environments)

    def serve(self, port: int) -> None:
        """Listen on loopback; OSError that says what to do where the port is taken."""
        try:
            start_http_server(port, addr="127.0.0.1", registry=self.registry)
        except OSError as error:
            raise port_trouble(port, error) from error

    def _counted(self, family: Family, *labels: str) -> Counter:
        return self._counters[family].labels(self._role, *labels)

    def _measured(self, family: Family, *labels: str) -> Gauge:
        return self._gauges[family].labels(self._role, *labels)
