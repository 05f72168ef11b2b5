"""The checks of ``doctor``, each a question to the broker and a finding a line. They change nothing that anybody uses.

The clock is the one that needs more than a question: Kafka tells its time only by stamping a record, so a topic of one
partition is made for it and deleted again. Where that is not allowed, the check says so.
"""

import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import msgspec
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import ClusterAuthorizationFailedError, KafkaError, PolicyViolationError, TopicAuthorizationFailedError, for_code

from ctrlplane_stream.commands.findings import Finding, note, ok, wrong
from ctrlplane_stream.decision.entities import TargetEntry
from ctrlplane_stream.decision.state import State
from ctrlplane_stream.model.counted import counted
from ctrlplane_stream.model.identity import UNKNOWN_VERSION
from ctrlplane_stream.model.windows import WindowPart
from ctrlplane_stream.settings import SETTINGS, Protocol, Settings
from ctrlplane_stream.stream.looking import look
from ctrlplane_stream.wire.kafka_clients import producer, read_to_end
from ctrlplane_stream.wire.topic_admin import plan_topics
from ctrlplane_stream.wire.topic_plan import Alter, Create, Refuse, refusal, sentence
from ctrlplane_stream.wire.topics import topic_specs
from ctrlplane_stream.wire.windows import read_window

_SKEW_LIMIT_SECONDS = 1.0
_WINDOWS_LOOKED_AT = 200
_LATE_PERCENT = 5
"""What half a minute of a held up exporter makes late of some minutes is no finding yet."""
_SHOWS_PERCENT, _REQUESTS_TO_SHOW = 20, 50
"""A version with a fifth of fifty requests is seen among them, but for one chance in 70,000."""
_NOT_ALLOWED = (ClusterAuthorizationFailedError, PolicyViolationError, TopicAuthorizationFailedError)


def check_settings(settings: Settings) -> list[Finding]:
    """Contradictions among the settings, and what differs from the defaults."""
    shown = settings.shown()
    changed = ", ".join(f"{s.variable}={shown[s.name]}" for s in SETTINGS if getattr(settings, s.name) != s.default)
    found = [ok("settings", changed or "all at their defaults")]
    sasl = settings.kafka_security_protocol in (Protocol.SASL_PLAINTEXT, Protocol.SASL_SSL)
    if settings.kafka_sasl_username and not sasl:
        remedy = "set KAFKA_SECURITY_PROTOCOL=SASL_SSL"
        found.append(wrong("settings", f"a SASL user is set, but the protocol is {settings.kafka_security_protocol}", remedy))
    if sasl and not settings.kafka_sasl_username:
        found.append(wrong("settings", "the protocol asks for SASL, but no user is set", "set KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD"))
    if settings.kafka_security_protocol is Protocol.SASL_PLAINTEXT:
        found.append(note("settings", "the password crosses the network unencrypted", "use SASL_SSL outside one machine"))
    return found


def check_compiled(no_spans: str | None, no_judging: str | None) -> list[Finding]:
    """Whether this installation works by compiled code, with spans and in judging; each is why there is none, or None."""
    found = []
    for missing, well, slower in (
        (no_spans, "spans are read and paired by it", "spans go the slower way"),
        (no_judging, "windows are judged by it", "windows are judged the slower way"),
    ):
        remedy = "install gcc and Python's headers (python3-dev), and install the package again"
        found.append(ok("compiled code", well) if missing is None else note("compiled code", f"{slower}: {missing}", remedy))
    return found


async def check_broker(client: AIOKafkaAdminClient, settings: Settings) -> list[Finding]:
    """How many brokers answer, how fast, and whether what they are set to fits."""
    began = time.monotonic()
    brokers = (await client.describe_cluster())["brokers"]
    found = [ok("broker", f"{len(brokers)} at {settings.kafka_bootstrap_servers}, answered in {(time.monotonic() - began) * 1000:.0f} ms")]
    if len(brokers) >= 3 and settings.replication_factor < 3:
        copies = counted(settings.replication_factor, "copy", "copies")
        what = f"{len(brokers)} brokers, but {copies} of new topics: one broker lost is data lost"
        found.append(note("broker", what, "set CTRLPLANE_REPLICATION_FACTOR=3 before `topics apply`"))
    own = await _config(client, ConfigResource(ConfigResourceType.BROKER, str(brokers[0]["node_id"])))
    if own.get("auto.create.topics.enable") == "true":
        found.append(note("broker", "makes topics by use, with partitions that are not ours", "set auto.create.topics.enable=false"))
    return found


async def check_topics(client: AIOKafkaAdminClient, settings: Settings) -> list[Finding]:
    """Every difference between the topics and their specification."""
    changes, remedy = await plan_topics(client, settings), "run `ctrlplane-stream topics apply`"
    missing = [change.topic for change in changes if isinstance(change, Create)]
    found = [wrong("topics", f"missing: {', '.join(missing)}", remedy)] if missing else []
    found += [wrong("topics", sentence(change), remedy) for change in changes if isinstance(change, Alter)]
    found += [wrong("topics", *refusal(change)) for change in _of_one_kind(change for change in changes if isinstance(change, Refuse))]
    return found or [ok("topics", f"all {len(topic_specs())} as specified")]


def _of_one_kind(refused: Iterable[Refuse]) -> list[Refuse]:
    """One for all topics that have the same number of what another is set of: a wrong setting is wrong for every one of them."""
    kinds: dict[Refuse, list[str]] = {}
    for change in refused:
        kinds.setdefault(msgspec.structs.replace(change, topic=""), []).append(change.topic)
    return [
        msgspec.structs.replace(kind, topic=names[0] if len(names) == 1 else f"each of {len(names)} topics ({', '.join(names)})")
        for kind, names in kinds.items()
    ]


async def check_clock(client: AIOKafkaAdminClient, settings: Settings) -> list[Finding]:
    """The broker's clock against ours: the append time of a record, which lies between our times before and after."""
    name = f"{settings.topic_prefix}doctor-{uuid.uuid4()}"
    response = await client.create_topics([NewTopic(name, 1, 1, topic_configs={"message.timestamp.type": "LogAppendTime"})])
    refused = next((for_code(code)(message or "refused") for _, code, message in response.topic_errors if code), None)
    if refused is not None:
        return [not_measured(refused, name)]
    try:
        async with producer(settings) as writer:
            await writer.send_and_wait(name, b"warm-up", partition=0)
            before = time.time() * 1000
            stamped = (await writer.send_and_wait(name, b"", partition=0)).timestamp
            after = time.time() * 1000
    finally:
        await client.delete_topics([name])
    return [clock_finding((max(stamped - after, 0.0) or min(stamped - before, 0.0)) / 1000)]


def not_measured(refused: KafkaError, topic: str) -> Finding:
    """What to say where the broker does not make the topic: raises where it may not be that it is not allowed."""
    if not isinstance(refused, _NOT_ALLOWED):
        raise refused
    return note("clock", f"not measured: {refused}", f"allow creating and deleting topics named {topic[: topic.index('doctor-')]}doctor-*")


def clock_finding(ahead_seconds: float) -> Finding:
    """What to say of a broker's clock that is ahead of ours by so much (negative: behind)."""
    if abs(ahead_seconds) < _SKEW_LIMIT_SECONDS:
        return ok("clock", f"the broker's and ours agree to {abs(ahead_seconds) * 1000:.0f} ms, beyond what the request took")
    way = "ahead of" if ahead_seconds > 0 else "behind"
    return wrong(
        "clock", f"the broker's is {abs(ahead_seconds):.1f} s {way} ours", "synchronise both by NTP: facts are timed by the broker's"
    )


async def check_telemetry(settings: Settings) -> list[Finding]:
    """What the newest telemetry lacks: spans in time, and versions told apart."""
    parts = await _newest_windows(settings)
    return [*late_findings(parts), *await _check_versions(settings, parts)]


def late_findings(parts: Sequence[WindowPart]) -> list[Finding]:
    """Whether more of the requests came after their window than can be put up with: what is late is judged late, or not at all."""
    requests, late = (sum(row.requests for part in parts if part.part >= least for row in part.services) for least in (0, 1))
    if late * 100 <= requests * _LATE_PERCENT:
        return []
    what = f"{late / requests:.0%} of the requests in the newest windows came after they closed"
    remedy = "have SDKs and Collector export sooner, or set CTRLPLANE_LATENESS_SECONDS above what they take together"
    return [note("lateness", what, remedy)]


async def _check_versions(settings: Settings, parts: Sequence[WindowPart]) -> list[Finding]:
    """Services whose spans do not tell their versions apart: such a release cannot be judged."""
    seen = versions_seen(parts)
    unknown = versionless(seen)
    constant = one_version_only(seen, await _split(settings, parts))
    remedy = "set service.version per release on their resource, or let an actuator inject ctrlplane.version"
    found = [wrong("versions", f"no version in the spans of {', '.join(unknown)}", remedy)] if unknown else []
    if constant:
        found.append(wrong("versions", f"two versions share the traffic of {', '.join(constant)}, and its spans name one only", remedy))
    return found or [ok("versions", "every service with traffic names its version")]


async def _split(settings: Settings, parts: Iterable[WindowPart]) -> list[str]:
    """``environment:service`` of each whose traffic two versions share by the engine's log, sorted."""
    states = [(await look(settings, environment)).state for environment in sorted({part.environment for part in parts})]
    return [f"{state.environment}:{service}" for state in states for service in split_services(state)]


def split_services(state: State) -> list[str]:
    """Services of which two versions or more have a weight that must show, sorted."""
    targets = [state.find(key, TargetEntry) for key, _ in state.entries() if key.startswith("target/")]
    return sorted(t.service for t in targets if t is not None and sum(v.weight >= _SHOWS_PERCENT for v in t.observed) > 1)


Seen = dict[str, Counter[str]]
"""``environment:service`` of each with traffic, to its requests by the version that they came from."""


def versions_seen(parts: Iterable[WindowPart]) -> Seen:
    """The requests in these windows, summed."""
    seen: Seen = defaultdict(Counter)
    for part in parts:
        for row in part.services:
            seen[f"{part.environment}:{row.service}"][row.version] += row.requests
    return dict(seen)


def versionless(seen: Seen) -> list[str]:
    """Each whose every request came from an unknown version, sorted."""
    return sorted(service for service, versions in seen.items() if set(versions) == {UNKNOWN_VERSION})


def one_version_only(seen: Seen, split: Sequence[str]) -> list[str]:
    """Those of ``split`` whose spans name one version, though there are requests enough for a second to show."""
    counts = {service: seen.get(service, Counter()) for service in split}
    return [s for s, c in counts.items() if set(c) != {UNKNOWN_VERSION} and len(c) == 1 and c.total() >= _REQUESTS_TO_SHOW]


async def _newest_windows(settings: Settings) -> list[WindowPart]:
    records = read_to_end(settings, "telemetry-windows", newest=_WINDOWS_LOOKED_AT)
    return [window async for record in records if isinstance(window := read_window(record.value), WindowPart)]


async def _config(client: AIOKafkaAdminClient, resource: ConfigResource) -> dict[str, str]:
    (response,) = await client.describe_configs([resource])
    return {entry[0]: entry[1] for _, _, _, _, entries in response.resources for entry in entries}
