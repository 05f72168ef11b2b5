"""What is to happen in one simulated run: a system and a list of acts, all drawn from one seed.

A plan is data: the same plan gives the same run to the byte, a failing one can be shortened act by act, and what is left is the story of
the fault.
"""

from enum import StrEnum

import msgspec

from ctrlplane_stream.model.catalog import ServiceInEnvironment
from ctrlplane_stream.model.facts import OverrideVerb
from ctrlplane_stream.model.identity import EdgeKind


class Deed(StrEnum):
    """What an act does."""

    PUSH = "push"
    RELEASE = "release"
    CONFIGURE = "configure"
    SAY = "say"
    BREAK = "break"
    LIE = "lie"
    MEND = "mend"
    EDIT = "edit"
    GLASS = "break-glass"
    CUT = "cut telemetry"
    LATE = "late telemetry"
    FLOW = "telemetry flows"
    DOWN = "engine down"
    RESTART = "restart"
    LOSE_READY = "lose readiness"
    LEARN = "learn an edge"
    SILENCE = "silence"
    STRAY = "stray verdict"
    UNSURE = "never proven"
    DRIFT = "drift"
    MUTE = "mute actuator"
    JUMP = "the log's clock jumps"
    FADE = "forget an edge"
    REMOVE = "remove from the catalog"
    RETUNE = "another policy"
    REMAKE = "made in another manner"
    GAG = "outside judges fall silent"
    SLANDER = "outside judges are wrong"
    STRAY_AT_REST = "drift at rest"
    HAND_BACK = "edited and handed back"
    ELSEWHERE = "another tool moves"
    REGRET = "reverts what has baked, to what is no longer good"
    RETURN = "reverts what has baked, while what is next to it climbs"
    SECOND_THOUGHTS = "reverts what is just completing, and thinks better of it"
    ADOPT = "adopts what runs"
    TOO_LATE = "aborts what is parking its old versions"
    PARKING_FAILS = "an old version of a first wave cannot be parked, and somebody aborts"
    SICKEN = "fails after its bake"
    SCALE_DOWN = "scales what has weight down to nothing"
    RETAG = "runs another artifact under a label, at rest"
    RECREATE = "a job is made anew"
    IGNORE = "the gateway ignores the route"
    EDIT_AND_FAIL = "edited by hand, and fails then"
    DRIFT_ON_LEASE = "drifts under weight, and may fail then"
    EDIT_GOING_BACK = "edited by hand on the way back"
    BRING_BACK = "an older state of a target is brought back"
    BYPASS = "is called past the route"


CHAOS_SECONDS, LONG_SECONDS = 240, 720
"""How long things go wrong in a run, and in a long one."""


class Act(msgspec.Struct, frozen=True):
    """Something that happens at a time, in seconds from the start."""

    at: float
    deed: Deed
    service: str = ""
    number: int = 0
    flavour: str = ""
    verb: OverrideVerb | None = None
    other: str = ""
    flag: bool = False


class Plan(msgspec.Struct, frozen=True):
    """A whole run.

    ``loss``, ``echo`` and ``delay`` are probabilities and seconds of what happens upstream of the log to what the world and the judge
    report; ``again`` is the probability that a user's record is delivered twice. Commands are carried out after up to
    ``actuation`` seconds, each with probability ``twice`` two times; new instances are ready after ``start`` seconds. ``staging``: there
    is an environment before this one, where everything is pushed first, and which announces what baked there. After ``chaos`` seconds
    everything is mended.
    """

    seed: int
    services: tuple[ServiceInEnvironment, ...]
    edges: tuple[tuple[str, str, EdgeKind], ...]
    acts: tuple[Act, ...]
    loss: float = 0.0
    echo: float = 0.0
    delay: float = 0.0
    again: float = 0.0
    actuation: float = 0.5
    twice: float = 0.0
    start: float = 2.0
    staging: bool = False
    chaos: int = CHAOS_SECONDS
    running: dict[str, int] = {}
    """Service to the number of the image that runs of it without us when the run begins."""
