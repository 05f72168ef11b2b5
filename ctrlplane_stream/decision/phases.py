"""The phases of a rollout and the events that move it: the whole life of a release in one table.

A rollout waits (``queued``) until nothing that it would disturb is moving, makes its candidates ready at weight 0
(``preparing``), then climbs: it asks for a weight (``shifting``) and, once the world has confirmed it, watches
(``verifying``) until every required guard has passed, step after step. At the last weight of the last wave it watches on
(``baking``), makes the candidates stable, waits until nobody talks to the old versions any more (``draining``) and is
``completed``. From every one of these an abort leads to ``aborting``, in which weights only fall, to ``draining`` of the
candidates, and to ``reverted``. Where telemetry is lost for too long a rollout *retreats* to ``preparing``: weight 0, and it may
climb again. To be *held* is no phase: it is a condition with a reason on top of one, so no place is ever lost.

What another tool rolls out (policy ``mode: advise``) is one phase, ``advising``: nothing is commanded, the judge watches every share of
traffic that the other tool gives, and the rollout ends as that tool ends it: ``completed`` where the candidate kept all traffic,
``reverted`` where it lost it, ``dismissed`` where nobody is to be advised any more.

What runs already is *adopted*: ``adopting`` tells the world to take it over as it is, and is over when the world shows it; ``leaving``
gives that up, and ends ``reverted`` once the world has said that it took nothing over, or else goes back to ``adopting``. Neither moves
traffic or instances.

A version that fails by itself (it crashes, or has weight and no ready instance) is aborted in each of these, and while the old
versions drain, too, since there is a way back until those are gone; only a first version has none. What was announced onward by then
is judged where it went. An old version that has drained is kept a while longer, up to the drain limit, if the new one is not ready whole.

A version goes once no request has arrived at it for ``drain_seconds``, and no time ends that while some do, however few. Whoever
calls a version at weight 0 goes past the route: by the ClusterIP of a Service, by a connection that is kept alive, or as a health
check that is traced (those are for the Collector to drop). ``drain_limit_seconds`` after the drain began, which is after the bake or
the abort, the rollout is held as ``not-drained``, and people are told how many requests still come. The version goes by itself once
they end; ``control force --unsafe`` has it go under them, and ``control abort`` returns to an old version. What else is waited for
ends at that limit, and the log says so: telemetry that stands still and tells of no request at weight 0, a new version that is not
ready whole, runs of a job.

Rules, in the order in which they matter: an abort is an event of every phase that we move; nothing leads
back from ``aborting``; the only ways into ``shifting`` are readiness and a passed step; only a drained version ends a rollout.

``TRANSITIONS`` holds every pair of phase and event that means something. A pair that is missing is refused with a
reason and changes nothing. What couples one rollout to another is the table of ``couplings.py``; the diagram of
``docs/rollout.md`` is generated from this table.
"""

from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Phase(StrEnum):
    """Where a rollout is."""

    QUEUED = "queued"
    PREPARING = "preparing"
    SHIFTING = "shifting"
    VERIFYING = "verifying"
    BAKING = "baking"
    DRAINING = "draining"
    COMPLETED = "completed"
    ABORTING = "aborting"
    REVERTED = "reverted"
    ADVISING = "advising"
    DISMISSED = "dismissed"
    ADOPTING = "adopting"
    LEAVING = "leaving"


class Event(StrEnum):
    """What moves a rollout; each is derived from facts by the rules of ``rollout.py``."""

    ADMITTED = "admitted"
    """Nothing that it would disturb is moving."""
    READY = "ready"
    """Every candidate has the ready capacity that its first weight needs, and nothing holds the rollout."""
    CONFIRMED = "weight confirmed"
    """The world shows the weight that was asked for."""
    PASSED = "step passed"
    """Every required guard passed at this weight, or an operator skipped the gate."""
    VERIFIED = "verified at 100"
    """The last weight of the last wave passed."""
    BAKED = "baked"
    """It was watched long enough at full weight: the candidates become stable."""
    OLD_DRAINED = "old drained"
    """Nobody talks to the old versions any more, or somebody will not wait for that, and they are parked."""
    STOP = "stop"
    """A gate failed, a version died, or somebody said abort."""
    RETREAT = "retreat"
    """Nobody can see what the candidate does: back to weight 0, to be resumed."""
    AT_ZERO = "at weight 0"
    """Every candidate's weight is confirmed to be 0."""
    CANDIDATES_DRAINED = "candidates drained"
    """Nobody talks to the candidates any more, and they are parked."""
    SHARE_MOVED = "share moved"
    """Another tool gives the candidate another share of the traffic: it is judged anew."""
    KEPT = "kept"
    """The candidate of another tool has kept all traffic long enough."""
    GONE = "gone"
    """The candidate of another tool takes no traffic any more."""
    DISMISSED = "dismissed"
    """The policy advises no longer, or nothing of the service was heard for too long."""
    ADOPTED = "taken over"
    """The world shows what ran already as ours, as it runs: it is stable and last known good, unjudged."""
    LEFT = "left alone"
    """The world has said that it did not take over what was to be adopted."""
    TAKEN = "taken before"
    """The world had taken it over before it heard that it should not: it stays adopted, since nothing would be better undone."""


QUEUED: Final = Phase.QUEUED
BAKING: Final = Phase.BAKING
ABORTING: Final = Phase.ABORTING
LEAVING: Final = Phase.LEAVING
"""Phases that every rollout is asked for in every decision. In Python 3.11 the class of an enum looks its members up in a way of its own
that takes five times as long as a name does, which was a twelfth of the time that decisions took. So these have names of their own, and so
has, in its module, each other member that is compared with as often."""

TRANSITIONS = MappingProxyType(
    {
        Phase.QUEUED: MappingProxyType({Event.ADMITTED: Phase.PREPARING, Event.STOP: Phase.ABORTING}),
        Phase.PREPARING: MappingProxyType({Event.READY: Phase.SHIFTING, Event.STOP: Phase.ABORTING}),
        Phase.SHIFTING: MappingProxyType({Event.CONFIRMED: Phase.VERIFYING, Event.RETREAT: Phase.PREPARING, Event.STOP: Phase.ABORTING}),
        Phase.VERIFYING: MappingProxyType(
            {
                Event.PASSED: Phase.SHIFTING,
                Event.VERIFIED: Phase.BAKING,
                Event.RETREAT: Phase.PREPARING,
                Event.STOP: Phase.ABORTING,
            }
        ),
        Phase.BAKING: MappingProxyType({Event.BAKED: Phase.DRAINING, Event.RETREAT: Phase.PREPARING, Event.STOP: Phase.ABORTING}),
        Phase.DRAINING: MappingProxyType(
            {Event.OLD_DRAINED: Phase.COMPLETED, Event.CANDIDATES_DRAINED: Phase.REVERTED, Event.STOP: Phase.ABORTING}
        ),
        Phase.COMPLETED: MappingProxyType({}),
        Phase.ABORTING: MappingProxyType({Event.AT_ZERO: Phase.DRAINING}),
        Phase.REVERTED: MappingProxyType({}),
        Phase.ADVISING: MappingProxyType(
            {
                Event.SHARE_MOVED: Phase.ADVISING,
                Event.KEPT: Phase.COMPLETED,
                Event.GONE: Phase.REVERTED,
                Event.DISMISSED: Phase.DISMISSED,
            }
        ),
        Phase.DISMISSED: MappingProxyType({}),
        Phase.ADOPTING: MappingProxyType({Event.ADOPTED: Phase.COMPLETED, Event.STOP: Phase.LEAVING}),
        Phase.LEAVING: MappingProxyType({Event.LEFT: Phase.REVERTED, Event.TAKEN: Phase.ADOPTING}),
    }
)
"""Phase and event to the next phase. Every phase has a row, the ended ones an empty one."""

ENDED = (Phase.COMPLETED, Phase.REVERTED, Phase.DISMISSED)
"""Phases that nothing leaves."""

ADOPTION = (Phase.ADOPTING, Phase.LEAVING)
"""Phases in which what runs already is taken over, or left alone: nothing moves."""

MOVING = (Phase.PREPARING, Phase.SHIFTING, Phase.VERIFYING, Phase.BAKING, Phase.DRAINING, Phase.ABORTING, *ADOPTION)
"""Phases in which a rollout owns its targets."""

FORWARD = (Phase.PREPARING, Phase.SHIFTING, Phase.VERIFYING, Phase.BAKING)
"""Phases of a rollout on its way up."""

GATED = (Phase.VERIFYING, Phase.BAKING)
"""Phases that are left by what judges say."""


def after(phase: Phase, event: Event) -> Phase | None:
    """The phase that ``event`` leads to, or None where the pair is not in the table."""
    return TRANSITIONS[phase].get(event)
