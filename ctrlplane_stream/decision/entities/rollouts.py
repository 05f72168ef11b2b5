"""A rollout: where it is, what holds it, what was heard of it and where it has been."""

from enum import StrEnum

import msgspec

from ctrlplane_stream.decision.entities.targets import LastKnownGood
from ctrlplane_stream.decision.phases import BAKING, Phase
from ctrlplane_stream.model.policy import Step
from ctrlplane_stream.model.verdicts import Harm, VerdictStatus

SUPERSEDED = "superseded by "
"""How the reason of a rollout begins whose members move on in a newer set."""
NOBODY_CAME = "nobody ended the hold "
"""How the reason of a rollout begins that was held until the deadline of that."""
NOT_BEGUN = "not begun: "
"""How the reason of a rollout begins that waited until it was no longer wanted."""


class Hold(msgspec.Struct, frozen=True):
    """Why a rollout does not go on, who said so, and when its patience ends."""

    code: str
    text: str
    since_ms: int
    since_steady: int
    deadline_steady: int
    deadline_ms: int
    who: str | None = None
    sticky: bool = False
    """Stays until somebody (or a named event) lifts it; others go when their condition goes."""


class Passage(msgspec.Struct, frozen=True):
    """When a rollout entered a phase or step."""

    phase: Phase
    wave: int
    step: int
    at_ms: int


class Heard(msgspec.Struct, frozen=True):
    """What a judge said of the step, in short; the whole verdict is on ``health-verdicts``."""

    judge: str
    status: VerdictStatus
    reason: str
    step: int
    attempt: int
    at_ms: int
    window: int | None = None
    windows_judged: int = 0
    proven: bool = False
    no_data: str | None = None
    contradicted: bool = False
    doubtful: bool = False


class Word(StrEnum):
    """What we would do with a rollout that another tool makes."""

    WAIT = "wait"
    ADVANCE = "advance"
    ABORT = "abort"


class Advice(msgspec.Struct, frozen=True):
    """What we would do now with a rollout that another tool makes, why, and what its candidate was seen to take.

    ``share`` is the candidate's share of the arrivals (0..1) that is judged now; ``baking``: it has all of them. ``strayed`` counts
    windows in a row in which the share was elsewhere, ``absent`` those without the candidate while others took requests.
    """

    word: Word
    text: str
    since_ms: int
    share: float
    baking: bool = False
    strayed: int = 0
    absent: int = 0
    heard_steady: int = 0
    """When any request to the service was last seen."""


class AdvisedEntry(msgspec.Struct, frozen=True):
    """A service that another tool rolls out: the version that it had settled on, and a newcomer that was seen in so many windows."""

    stable: str | None
    newcomer: str | None = None
    windows: int = 0


class RunsFell(msgspec.Struct, frozen=True):
    """That fewer runs of a job are seen than were seen before: the fewest, and since when."""

    seen: int
    since_steady: int


class Unit(msgspec.Struct, frozen=True):
    """A changed service of a rollout on its way."""

    service: str
    candidate: str
    stable: str | None
    wave: int
    weighted: bool = False
    """Whether the candidate was ever given a weight above 0 in this rollout, or seen with one."""
    fallback: LastKnownGood | None = None
    """What was last known good before this rollout promoted; an abort while the old version drains goes back to it."""


class Rollout(msgspec.Struct, frozen=True):
    """A version set on its way. Its set, with guards and reasons, is the entry ``set/<id>``."""

    id: str
    environment: str
    phase: Phase
    units: tuple[Unit, ...]
    steps: tuple[Step, ...]
    attempt: int
    cause: str
    """``release``, ``configuration``, ``revert``, ``retry``, ``adoption``, or ``another tool``."""
    began_ms: int
    queued_steady: int
    phase_since_steady: int
    wave: int = 0
    step: int = 0
    """Its place in ``steps``, from 0 on; words count from 1."""
    judged_attempt: int = 0
    """Rises with every assignment; a verdict that names another is ignored."""
    holds: tuple[Hold, ...] = ()
    weights: dict[str, dict[str, int]] = {}
    """Service to version label to the weight wanted now."""
    confirmed_ms: int | None = None
    confirmed_steady: int | None = None
    evidence_steady: int | None = None
    """When a judge last had something to say about this step."""
    heard: dict[str, Heard] = {}
    harm: tuple[Harm, ...] = ()
    """What the candidates harmed in what is judged now, as far as it was told; a judge counts each step and climb anew."""
    harm_before: tuple[Harm, ...] = ()
    """The same of all steps and climbs before."""
    harm_attempt: int = 0
    """What ``harm`` is of."""
    history: tuple[Heard, ...] = ()
    timeline: tuple[Passage, ...] = ()
    overrides: tuple[str, ...] = ()
    approved: bool = False
    promote_all: bool = False
    skip_gate: bool = False
    """This step's gate is skipped by an operator."""
    forced: bool = False
    """All further gates are skipped by an operator."""
    unsafe: bool = False
    promoted: bool = False
    """The candidates have baked and are stable; what drains are the old versions."""
    runs: dict[str, int] = {}
    """Of each job that it moves: runs of the candidate that ended well, of the step that is judged once its weight was confirmed."""
    runs_before: dict[str, int] = {}
    """What the world had counted of them before; less than nothing where it began to count anew since."""
    runs_fell: dict[str, RunsFell] = {}
    """Of those of which fewer are seen than before: how few, and since when."""
    unproven: tuple[int, ...] = ()
    """The steps that were passed on less than proof, counted from 0 through all waves, each of which takes them all; the bake is last."""
    unproven_now: bool = False
    """The gate of this step is open on something less than proof."""
    retreats: int = 0
    stopped_because: str | None = None
    ended_ms: int | None = None
    waiting_for: str | None = None
    """Why a queued rollout waits, or what another one waits for that is not a hold."""
    waits_on: str | None = None
    """The rollout that this one waits for: a queued one for what it would disturb, a climbing one for a revert next to it."""
    waits_while: Phase | None = None
    """The phase which that one was in when it was last looked at."""
    astray: str | None = None
    """A service that no longer shows the weight which is watched; what was seen meanwhile is no evidence."""
    beside: str | None = None
    """Another rollout that was reverted for a harm seen on a shared guard; this one waits until that has ended."""
    advice: Advice | None = None
    """What we would do, where another tool makes this rollout; None where we make it."""
    stuck: tuple[str, ...] = ()
    """Which targets do not do what is wanted, what is where and why: the exact list of a partial failure."""

    def unit(self, service: str) -> Unit:
        """What it does to a service that it moves."""
        return next(unit for unit in self.units if unit.service == service)

    @property
    def only_first_versions(self) -> bool:
        """Whether nothing of what it moves was stable before."""
        return all(unit.stable is None for unit in self.units)

    @property
    def by_a_person(self) -> bool:
        """Whether a person asked for what it moves to."""
        return self.cause in ("revert", "retry")

    @property
    def is_revert(self) -> bool:
        """Whether somebody goes back by it to an earlier version."""
        return self.cause == "revert"

    @property
    def is_kept(self) -> bool:
        """Whether nothing but a person, or instances that fail, takes traffic from what it moves to: a revert that has it, which would go
        to what somebody found bad."""
        return self.is_revert and any(unit.weighted for unit in self.units)

    @property
    def is_gone_back(self) -> bool:
        """Whether it went back for what was found of it, or since a person said so."""
        return self.phase is Phase.REVERTED and not (self.stopped_because or "").startswith((SUPERSEDED, NOT_BEGUN))

    @property
    def goes_back(self) -> bool:
        """Whether it is on its way back, or is back, for what was found of it, or since a person said so."""
        stopped = self.stopped_because if self.advice is None else None
        return stopped is not None and not stopped.startswith((SUPERSEDED, NOT_BEGUN))

    @property
    def forced_unsafe(self) -> bool:
        """Whether somebody forced it and said unsafe, so that it waits for no instance and no drain."""
        return self.unsafe and self.forced

    @property
    def held(self) -> bool:
        """Whether anything keeps it from going forward."""
        return bool(self.holds)

    @property
    def phase_word(self) -> str:
        """The phase as people are told it: a drain of the candidates, on the way back, is another thing than one of the old versions."""
        return f"going back, {self.phase}" if self.phase is Phase.DRAINING and not self.promoted else str(self.phase)

    @property
    def bakes(self) -> bool:
        """Whether the candidates have all traffic and are watched on."""
        return self.phase is BAKING or (self.advice is not None and self.advice.baking)
