"""What the engine is told: past-tense words, the only input of ``decide``. Time itself is one of them.

A fact on the topic is a ``FactRecord``: the fact, the environment it concerns and the origin it was made from, by
which a repetition is known. Its Kafka offset and append time are part of what ``decide`` sees, never of the body.
"""

from enum import StrEnum

import msgspec

from ctrlplane_stream.model.catalog import EnvironmentCatalog
from ctrlplane_stream.model.identity import Artifact, EdgeKey, Target
from ctrlplane_stream.model.verdicts import Verdict
from ctrlplane_stream.model.world import Cursor, TargetObserved


class Origin(msgspec.Struct, frozen=True, order=True):
    """Where a fact came from: the input record, and which of the facts made of that record this one is (0, 1 …).

    ``at_ms`` is the date that the record has on its topic (None: from a build that did not say). A topic that was made anew, or that
    lost its end, has other records at the same offsets, and they are dated later.
    """

    topic: str
    partition: int
    offset: int
    index: int = 0
    at_ms: int | None = None


class Provenance(msgspec.Struct, frozen=True):
    """Who made an artifact, from what. ``digest_source`` says whether the digest was announced or resolved from ``tag``."""

    commit: str | None = None
    build: str | None = None
    actor: str | None = None
    tag: str | None = None
    digest_source: str = "announced"


class CatalogApplied(msgspec.Struct, frozen=True, tag_field="type", tag="catalog-applied"):
    """This environment's part of the catalog as it is from now on; of one too large for a record, so much of it.

    Of such a one each fact tells some ``services`` of ``catalog``, those that move together in one. ``more``: others follow, and until
    the last nothing is taken away. ``names``: in the last, all services of the environment; None where ``catalog`` has them all.
    """

    catalog: EnvironmentCatalog
    hash: str
    who: str
    why: str = ""
    more: bool = False
    names: tuple[str, ...] | None = None


class ReleaseOrder(StrEnum):
    """Which side of an edge takes weight first when both ends change."""

    CALLEES_FIRST = "callees-first"
    CALLERS_FIRST = "callers-first"


class ArtifactPushed(msgspec.Struct, frozen=True, tag_field="type", tag="artifact-pushed"):
    """A CI system, a promotion or a person offers an artifact to this environment.

    Events of the same ``release`` move together; ``release_size`` says how many services that release has, so that a
    set is not decided before it is whole (None: the event stands alone or comes as it comes).
    """

    event_id: str
    artifact: Artifact
    release: str | None = None
    release_size: int | None = None
    order: ReleaseOrder = ReleaseOrder.CALLEES_FIRST
    provenance: Provenance = Provenance()


class EdgeSeen(msgspec.Struct, frozen=True):
    """An edge as telemetry has it: sightings as window starts in seconds, calls ever, and calls a second lately."""

    edge: EdgeKey
    first_window: int
    last_window: int
    calls: int
    calls_per_second: float


class ServiceSeen(msgspec.Struct, frozen=True):
    """A service as telemetry has it: requests a second lately, how many of them from outside, and version labels seen."""

    service: str
    last_window: int
    requests_per_second: float
    roots_per_second: float
    versions: tuple[str, ...] = ()


class EdgesObserved(msgspec.Struct, frozen=True, tag_field="type", tag="edges-observed"):
    """Edges and services that appeared or changed their share class; in a digest, all of them."""

    window: int
    edges: tuple[EdgeSeen, ...]
    services: tuple[ServiceSeen, ...] = ()
    digest: bool = False


class EdgesFaded(msgspec.Struct, frozen=True, tag_field="type", tag="edges-faded"):
    """Edges that were not seen for as long as the policy keeps them, while their caller did report."""

    window: int
    edges: tuple[EdgeKey, ...]


class ArrivalsObserved(msgspec.Struct, frozen=True, tag_field="type", tag="arrivals-observed"):
    """Requests that arrived at each version of the services in motion, in one window that all partitions closed."""

    window: int
    window_seconds: float
    arrivals: dict[str, dict[str, int]]


class VerdictGiven(msgspec.Struct, frozen=True, tag_field="type", tag="verdict-given"):
    """A judge, ours or somebody else's, spoke about a step of a rollout."""

    verdict: Verdict


class OverrideVerb(StrEnum):
    """What an operator can say on ``control``."""

    PAUSE = "pause"
    RESUME = "resume"
    PROMOTE = "promote"
    ABORT = "abort"
    FREEZE = "freeze"
    UNFREEZE = "unfreeze"
    PIN = "pin"
    UNPIN = "unpin"
    FORCE = "force"
    SKIP = "skip"
    RETRY = "retry"
    REVERT = "revert"
    ADOPT = "adopt"


class OverrideRequested(msgspec.Struct, frozen=True, tag_field="type", tag="override-requested"):
    """An operator overrules the engine. ``id`` makes it idempotent, with its verb and scope; ``who`` is what the message claims.

    ``rollout`` or ``service`` (or neither: the whole environment) is its scope. ``version`` is the label to pin or
    revert to; ``all_steps`` promotes through; ``unsafe`` permits what would break make-before-break; ``fact_offset``
    names the parked fact that ``skip`` passes over. ``image`` and ``digest`` are what runs already and is to be adopted;
    ``version`` is then the label that its telemetry carries (None: its digest).
    """

    id: str
    verb: OverrideVerb
    who: str
    why: str
    rollout: str | None = None
    service: str | None = None
    version: str | None = None
    all_steps: bool = False
    unsafe: bool = False
    expires_ms: int | None = None
    fact_offset: int | None = None
    image: str | None = None
    digest: str | None = None


class OutcomeStatus(StrEnum):
    """How a command ended."""

    APPLIED = "applied"
    REFUSED = "refused"
    """The target is ahead of the command's cursor, edited by hand, or cannot do this at all."""
    FAILED = "failed"
    """The world did not let us, after all retries."""
    SUPERSEDED = "superseded"
    """A later command for the same target came first."""


class OutcomeReported(msgspec.Struct, frozen=True, tag_field="type", tag="outcome-reported"):
    """How a command ended, and what the target looked like then (None where it could not be observed)."""

    command_id: str
    target: Target
    cursor: Cursor
    status: OutcomeStatus
    reason: str
    observed: TargetObserved | None = None


class WorldCause(StrEnum):
    """Why an observation is worth telling."""

    READINESS = "readiness"
    """Ready instances or the failure of a version changed."""
    DRIFT = "drift"
    """The target is no longer as our last command left it, by nobody's known hand."""
    HAND_EDIT = "hand-edit"
    """Somebody changed a weight or an object."""
    LEASE_EXPIRED = "lease-expired"
    """Nobody renewed; the actuator went to stable."""
    BREAK_GLASS = "break-glass"
    """Somebody aborted on the target itself, without Kafka."""


class WorldChanged(msgspec.Struct, frozen=True, tag_field="type", tag="world-changed"):
    """A target changed without a command of ours ending.

    ``forgotten`` is the sequence of the last command that the target had taken and knows of no longer: somebody brought an older state of
    it back. None where it knows all that it ever took, or nothing says so.
    """

    target: Target
    cause: WorldCause
    observed: TargetObserved
    detail: str = ""
    forgotten: int | None = None


class TimePassed(msgspec.Struct, frozen=True, tag_field="type", tag="time-passed"):
    """Time went by; how much is told by the record's append time."""


class BuildChanged(msgspec.Struct, frozen=True, tag_field="type", tag="build-changed"):
    """Another build of the engine decides from here on."""

    build: str
    previous: str | None


Fact = (
    CatalogApplied
    | ArtifactPushed
    | EdgesObserved
    | EdgesFaded
    | ArrivalsObserved
    | VerdictGiven
    | OverrideRequested
    | OutcomeReported
    | WorldChanged
    | TimePassed
    | BuildChanged
)


class FactRecord(msgspec.Struct, frozen=True):
    """A fact as the topic ``facts`` holds it. ``origin`` is None for TimePassed and BuildChanged, and for
    OutcomeReported and WorldChanged, which are known by their command and by being whole states."""

    environment: str
    fact: Fact
    origin: Origin | None = None
    version: int = 1
