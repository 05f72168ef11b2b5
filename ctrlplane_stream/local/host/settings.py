"""What a host is told when it starts; every length of time in seconds."""

import sys
from pathlib import Path

import msgspec

SHOP_SERVICE = (sys.executable, "-m", "ctrlplane_stream.local.shop.service")
"""What runs for every version unless told otherwise: the sample shop, whose image decides its behaviour."""


class HostSettings(msgspec.Struct, frozen=True):
    """How one machine room runs."""

    folder: Path
    """Where ledgers and logs are kept; a host that starts again on the same folder goes on."""
    program: tuple[str, ...] = SHOP_SERVICE
    """The command of an instance; everything that differs between versions comes by its environment."""
    port: int = 0
    """Of the interface on 127.0.0.1; 0 takes a free one."""
    full: int = 1
    """Instances that carry the whole traffic of a routed service: one process does on one machine."""
    consumer_instances: int = 4
    """Instances of a consumer in total: weights come in quarters."""
    job_seconds: float = 60.0
    """Between the beginnings of two runs of a job; the next waits for one that takes longer."""
    otlp_endpoint: str | None = None
    """Where instances send their telemetry (OTEL_EXPORTER_OTLP_ENDPOINT); None leaves what the host itself was given."""
    probe_seconds: float = 1.0
    """Between health checks of a ready instance; ten times as often before that, since a rollout waits for it."""
    probe_timeout_seconds: float = 2.0
    """The longest a health check may take."""
    probe_failures: int = 3
    """Failed checks in a row that end readiness: one slow answer of a busy machine is no outage."""
    backoff_seconds: float = 0.2
    """Before the first restart of an instance that ended; doubles with each."""
    longest_backoff_seconds: float = 10.0
    """The limit of that: a service whose dependency was away is back soon after it."""
    crash_loop: int = 3
    """Ends in a row that are reported as a crash loop."""
    settled_seconds: float = 10.0
    """After being ready this long, earlier ends no longer count."""
    drain_seconds: float = 10.0
    """The longest that an instance waits for its requests in flight before it is told to end."""
    grace_seconds: float = 5.0
    """Between being told to end (SIGTERM) and being killed."""
    response_seconds: float = 60.0
    """How long a router waits for a service to begin its answer."""
