"""What is to happen in one simulated run: a system and a list of acts, all drawn from one seed.

A plan is data: the same plan gives the same run to the byte, a failing one can be shortened act by act, and what is left is the story of
the fault.
"""

import random
from enum import StrEnum

import msgspec

from ctrlplane_stream.model.catalog import ServiceInEnvironment
from ctrlplane_stream.model.facts import OverrideVerb
from ctrlplane_stream.model.identity import EdgeKind, ServiceKind
from ctrlplane_stream.model.policy import Fleet, MaintenanceWindow, Mode, OnDrift, Policy, Step, Supersede, Unsure
from ctrlplane_stream.model.verdicts import GatePolicy, OutsideJudge
from ctrlplane_stream.simulation.loop import service
from ctrlplane_stream.testing import START_MS

SWIFT = Policy(
    steps=(Step(20, 5, 60, 1), Step(100, 5, 60, 1)),
    bake_seconds=35,
    bake_windows=3,
    ready_timeout_seconds=40,
    drain_seconds=10,
    drain_limit_seconds=60,
    retention_seconds=60,
    blind_limit_seconds=40,
    lost_actuator_seconds=30,
    lease_seconds=45,
    hold_deadline_seconds=240,
)
"""Times so short that a whole rollout takes a minute; nothing else differs from the default."""


ELSEWHERE = "other"
"""The service that another tool moves, in systems that have one."""


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
    GAG = "outside judges fall silent"
    SLANDER = "outside judges are wrong"
    STRAY_AT_REST = "drift at rest"
    HAND_BACK = "edited and handed back"
    ELSEWHERE = "another tool moves"
    REGRET = "reverts what has baked, to what is no longer good"
    SECOND_THOUGHTS = "reverts what is just completing, and thinks better of it"
    ADOPT = "adopts what runs"
    TOO_LATE = "aborts what is parking its old versions"
    SICKEN = "fails after its bake"
    SCALE_DOWN = "scales what has weight down to nothing"
    RETAG = "runs another artifact under a label, at rest"
    RECREATE = "a job is made anew"
    IGNORE = "the gateway ignores the route"


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
    is an environment before this one, where everything is pushed first, and which announces what baked there.
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
    running: dict[str, int] = {}
    """Service to the number of the image that runs of it without us when the run begins."""


def plan(seed: int) -> Plan:
    """The plan of a seed."""
    rng = random.Random(seed)  # noqa: S311 - a seeded simulation, not a secret
    names = [f"s{i}" for i in range(rng.randint(1, 5))]
    rough = rng.random() < 0.5
    services = _some_in_place(random.Random(seed + 3), tuple(_service(rng, name, names) for name in names))  # noqa: S311 - as above
    services = _of_other_ways(random.Random(seed + 5), services)  # noqa: S311 - as above
    edges, acts = _edges(rng, names), _acts(rng, names)
    acts += _second_thoughts(random.Random(seed + 6))  # noqa: S311 - as above
    acts += _later_mishaps(random.Random(seed + 4), names)  # noqa: S311 - as above
    acts += _latest_mishaps(random.Random(seed + 10), services)  # noqa: S311 - as above
    services = _by_weight(random.Random(seed + 9), services)  # noqa: S311 - as above
    running, acts = _adoptions(random.Random(seed + 8), names, acts)  # noqa: S311 - as above
    other = _elsewhere(random.Random(seed + 2), names)  # noqa: S311 - as above
    crowd = random.Random(seed + 9)  # noqa: S311 - as above
    crowded = crowd.random() < CROWDED_SHARE
    if crowded:
        services, acts = _starting_over(crowd, services), acts + _crowd(crowd, names)
    return Plan(
        seed=seed,
        services=(*services, *other.services),
        edges=(*edges, *other.edges),
        acts=tuple(sorted((*acts, *other.acts), key=lambda act: act.at)),
        loss=rng.choice((0.0, 0.05, 0.2)) if rough else 0.0,
        echo=rng.choice((0.0, 0.1)) if rough else 0.0,
        delay=rng.choice((0.0, 3.0, 12.0)) if rough else 0.0,
        again=rng.choice((0.0, 0.2)) if rough else 0.0,
        actuation=max(rng.choice((0.5, 0.5, 8.0, 25.0)) if rough else 0.5, crowd.choice((0.5, 8.0, 25.0)) if crowded else 0.5),
        twice=rng.choice((0.0, 0.2)) if rough else 0.0,
        start=rng.choice((2.0, 2.0, 15.0, 35.0)),
        staging=rng.random() < 0.1,
        running=running,
    )


def _by_weight(rng: random.Random, services: tuple[ServiceInEnvironment, ...]) -> tuple[ServiceInEnvironment, ...]:
    """The candidates of one service in six have instances for their weight only."""
    fleets = [Fleet.BY_WEIGHT if rng.random() < 1 / 6 else msgspec.UNSET for _ in services]
    return tuple(
        msgspec.structs.replace(s, policy=msgspec.structs.replace(s.policy, candidate_fleet=fleet))
        for s, fleet in zip(services, fleets, strict=True)
    )


def _adoptions(rng: random.Random, names: list[str], acts: list[Act]) -> tuple[dict[str, int], list[Act]]:
    """In one system of five something runs before us, and somebody has it adopted instead of pushing a first version: mostly what
    runs there, sometimes what does not, now and then twice, or aborted soon after."""
    if rng.random() >= 0.2:
        return {}, acts
    running = {name: 90 for name in names if rng.random() < 0.7}
    kept = [act for act in acts if not (act.deed is Deed.PUSH and act.number == 1 and act.service in running)]
    for name in running:
        at = rng.uniform(1, 20)
        number = 90 if rng.random() < 0.8 else 91
        kept.append(Act(at, Deed.ADOPT, name, number))
        if rng.random() < 0.3:
            kept.append(Act(at + rng.uniform(0.1, 40), Deed.SAY, name, verb=OverrideVerb.ABORT))
        if number != 90 or rng.random() < 0.3:
            kept.append(Act(at + rng.uniform(0.1, 90), Deed.ADOPT, name, 90))
    return running, kept


def _some_in_place(rng: random.Random, services: tuple[ServiceInEnvironment, ...]) -> tuple[ServiceInEnvironment, ...]:
    """One service in six changes in place, a third of those with a lease shorter than an instance may take to become ready."""
    return tuple(_in_place(rng, s) if rng.random() < 1 / 6 else s for s in services)


def _in_place(rng: random.Random, s: ServiceInEnvironment) -> ServiceInEnvironment:
    lease = rng.choice((SWIFT.lease_seconds, SWIFT.lease_seconds, 25.0))
    return msgspec.structs.replace(s, policy=msgspec.structs.replace(s.policy, in_place=True, lease_seconds=lease))


def _of_other_ways(rng: random.Random, services: tuple[ServiceInEnvironment, ...]) -> tuple[ServiceInEnvironment, ...]:
    """What came to be known later, drawn by itself: one in four answers for a bake by itself, one in six has room for
    a portion only, one in eight is a job."""
    found = []
    for entry in services:
        answer = rng.choice(list(Unsure)) if rng.random() < 0.25 else msgspec.UNSET
        surge = rng.choice((25, 50, 60)) if rng.random() < 1 / 6 else 100
        policy = msgspec.structs.replace(entry.policy, on_unprovable_bake=answer, surge_percent=surge)
        kind = ServiceKind.JOB if rng.random() < 1 / 8 else entry.kind
        found.append(msgspec.structs.replace(entry, policy=policy, kind=kind))
    return tuple(found)


def _service(rng: random.Random, name: str, names: list[str]) -> ServiceInEnvironment:
    kind = rng.choice((ServiceKind.ROUTED, ServiceKind.ROUTED, ServiceKind.ROUTED, ServiceKind.CONSUMER))
    return service(
        name,
        policy_of(rng),
        ServiceKind.JOB if rng.random() < 0.03 else kind,
        in_cycle_compatible=rng.random() < 0.7,
        moves_together="g" if rng.random() < 0.1 and len(names) > 2 else None,
    )


OUTSIDE_JUDGE = "canary-tool"
_EVERY_DAY = tuple(range(7))
_MIDDAY = START_MS // 60_000 % 1440


def policy_of(rng: random.Random) -> Policy:
    """A policy with everything drawn that may differ from service to service."""
    judge = OutsideJudge(OUTSIDE_JUDGE, rng.random() < 0.7, rng.random() < 0.5, rng.random() < 0.5)
    closed = MaintenanceWindow(_EVERY_DAY, _MIDDAY + 2, _MIDDAY + 60)
    return msgspec.structs.replace(
        SWIFT,
        supersede=rng.choice(list(Supersede)),
        on_no_data=rng.choice(list(Unsure)),
        on_unprovable=rng.choice(list(Unsure)),
        on_unknown_service=rng.choice((Unsure.SOAK, Unsure.SOAK, Unsure.HOLD)),
        on_lease_expired=rng.choice((Unsure.ABORT, Unsure.HOLD)),
        on_drift=rng.choice(list(OnDrift)),
        auto_promote=rng.random() < 0.9,
        steps=rng.choice((SWIFT.steps, (Step(10, 5, 60, 1), Step(50, 5, 60, 2, rng.random() < 0.2), Step(100, 5, 60, 1)))),
        gate=GatePolicy(outside=(judge,)) if rng.random() < 0.15 else SWIFT.gate,
        maintenance=(closed,) if rng.random() < 0.05 else (),
        hold_after_revert_seconds=rng.choice((0.0, 0.0, 0.0, 30.0)),
        in_place=rng.random() < 0.03,
        drain_seconds=rng.choice((10.0, 10.0, 10.0, 50.0)),  # shorter than the bake, and longer
    )


def _edges(rng: random.Random, names: list[str]) -> tuple[tuple[str, str, EdgeKind], ...]:
    found = []
    for i, caller in enumerate(names):
        for callee in names[i + 1 :]:
            if rng.random() < 0.4:
                found.append((caller, callee, EdgeKind.CALL if rng.random() < 0.8 else EdgeKind.MESSAGE))
    if len(names) > 2 and rng.random() < 0.15:
        found.append((names[-1], names[0], EdgeKind.CALL))
    return tuple(found)


def _elsewhere(rng: random.Random, names: list[str]) -> Plan:
    """In a third of the systems a neighbour that another tool moves: by shares, back and forth, at once."""
    if rng.random() < 0.67:
        return Plan(0, (), (), ())
    neighbour = rng.choice(names)
    edge = (neighbour, ELSEWHERE, EdgeKind.CALL) if rng.random() < 0.5 else (ELSEWHERE, neighbour, EdgeKind.CALL)
    advised = service(ELSEWHERE, msgspec.structs.replace(SWIFT, mode=Mode.ADVISE, on_no_data=rng.choice(list(Unsure))))
    acts = [Act(rng.uniform(0, 5), Deed.ELSEWHERE, ELSEWHERE, 1, flag=True)]
    for number in range(2, rng.randint(3, 5)):
        at, flavour = rng.uniform(20, 120), rng.choice(("good", "good", "faulty"))
        for share in sorted(rng.sample((2, 5, 10, 30, 60, 100), rng.randint(1, 4))):
            acts.append(Act(at, Deed.ELSEWHERE, ELSEWHERE, number, flavour, other=str(share)))
            at += rng.uniform(5, 50)
        if rng.random() < 0.4:
            acts.append(Act(at, Deed.ELSEWHERE, ELSEWHERE, number, flavour, other="0"))
    return Plan(0, (advised,), (edge,), tuple(act for act in acts if act.at < 230))


_FLAVOURS = ("good", "good", "good", "faulty", "never ready", "crashes")
_VERBS = tuple(verb for verb in OverrideVerb if verb is not OverrideVerb.ADOPT)  # which is drawn by itself, beside what it is about


def _acts(rng: random.Random, names: list[str]) -> list[Act]:
    acts = [Act(rng.uniform(0, 3), Deed.PUSH, name, 1, "good" if rng.random() < 0.9 else "faulty") for name in names if rng.random() < 0.95]
    numbers = dict.fromkeys(names, 1)
    for _ in range(rng.randint(1, 5)):
        name = rng.choice(names)
        numbers[name] += 1
        acts.append(Act(rng.uniform(50, 160), Deed.PUSH, name, numbers[name], rng.choice(_FLAVOURS)))
    if len(names) > 1 and rng.random() < 0.3:
        acts += _release(rng, names, numbers)
    for _ in range(rng.choice((0, 0, 1, 2, 4))):
        acts.append(_override(rng, names))
    for _ in range(rng.choice((0, 0, 1, 2, 3))):
        acts += _mishap(rng, names)
    return acts


def _release(rng: random.Random, names: list[str], numbers: dict[str, int]) -> list[Act]:
    members = rng.sample(names, rng.randint(2, len(names)))
    at = rng.uniform(60, 140)
    acts = []
    for name in members:
        numbers[name] += 1
        flavour = "good" if rng.random() < 0.7 else "faulty"
        acts.append(Act(at + rng.random(), Deed.RELEASE, name, numbers[name], flavour, other=f"r{len(members)}", flag=rng.random() < 0.1))
    return acts


def _override(rng: random.Random, names: list[str]) -> Act:
    verb = rng.choice(_VERBS)
    scope = rng.choice(names) if rng.random() < 0.7 or verb in (OverrideVerb.PIN, OverrideVerb.UNPIN, OverrideVerb.REVERT) else ""
    late = verb is OverrideVerb.REVERT  # only then is there anything to go back to
    return Act(
        rng.uniform(130 if late else 10, 220),
        Deed.SAY,
        scope,
        rng.randint(1, 3),
        verb=verb,
        flavour="unsafe" if rng.random() < 0.15 else "",
        other="rollout" if scope and rng.random() < 0.3 else "",
        flag=rng.random() < (0.7 if late else 0.3),
    )


def _second_thoughts(rng: random.Random) -> list[Act]:
    """In one run of ten somebody is so undecided, and in one of ten reverts what was good."""
    return [Act(rng.uniform(40, 160), deed) for deed in (Deed.SECOND_THOUGHTS, Deed.REGRET) if rng.random() < 0.1]


CROWDED_SHARE = 1 / 6
"""In so many runs rollouts get into each other's way all the time: what is rare elsewhere, and found most faults, is common there."""
_CROWD_VERBS = (
    *(OverrideVerb.ABORT, OverrideVerb.ABORT, OverrideVerb.REVERT, OverrideVerb.RETRY, OverrideVerb.RESUME),
    *(OverrideVerb.FORCE, OverrideVerb.PROMOTE, OverrideVerb.PAUSE, OverrideVerb.SKIP),
)
_CROWD_MISHAPS = (Deed.EDIT, Deed.DRIFT, Deed.GLASS, Deed.MUTE, Deed.BREAK, Deed.LIE, Deed.RESTART, Deed.DOWN)


def _starting_over(rng: random.Random, services: tuple[ServiceInEnvironment, ...]) -> tuple[ServiceInEnvironment, ...]:
    """Half of the services start over for newer versions, most of them, and answer a drift in one of the ways."""
    found = []
    for s in services:
        supersede = rng.choice((Supersede.RESTART, Supersede.RESTART, Supersede.QUEUE_LATEST))
        policy = msgspec.structs.replace(s.policy, supersede=supersede, on_drift=rng.choice(list(OnDrift)))
        found.append(msgspec.structs.replace(s, policy=policy) if rng.random() < 0.5 else s)
    return tuple(found)


def _crowd(rng: random.Random, names: list[str]) -> list[Act]:
    """Many pushes, releases that overlap, aborts and reverts (many of them unsafe) and hands on the targets, all at once."""
    numbers = dict.fromkeys(names, 50)
    acts = []
    for _ in range(rng.randint(2, 6)):
        name = rng.choice(names)
        numbers[name] += 1
        acts.append(Act(rng.uniform(40, 210), Deed.PUSH, name, numbers[name], rng.choice(_FLAVOURS)))
    for _ in range(rng.randint(1, 3) if len(names) > 1 else 0):
        acts += _release(rng, names, numbers)
    for _ in range(rng.randint(2, 8)):
        act = _override(rng, names)
        verb, unsafe = rng.choice(_CROWD_VERBS), "unsafe" if rng.random() < 0.4 else ""
        acts.append(msgspec.structs.replace(act, at=rng.uniform(60, 235), verb=verb, service=act.service or names[0], flavour=unsafe))
    for _ in range(rng.randint(0, 3)):
        acts += _mishap(rng, names, rng.choice((*_CROWD_MISHAPS, *_LATER_MISHAPS)))
    for _ in range(rng.choice((0, 0, 1, 2))):
        acts.append(Act(rng.uniform(40, 200), Deed.TOO_LATE, flag=rng.random() < 0.5))
    return acts


_ENDS = {
    Deed.BREAK: Deed.MEND,
    Deed.LIE: Deed.MEND,
    Deed.MUTE: Deed.MEND,
    Deed.UNSURE: Deed.MEND,
    Deed.GAG: Deed.FLOW,
    Deed.SLANDER: Deed.MEND,
    Deed.CUT: Deed.FLOW,
    Deed.LATE: Deed.FLOW,
}
"""Mishaps that end, and what ends them."""
_LATER_MISHAPS = (Deed.SLANDER, Deed.STRAY_AT_REST, Deed.HAND_BACK)
"""Mishaps that came to be known later: drawn by themselves, so that a seed's other acts stay what they were."""
_NO_MISHAPS = (
    Deed.PUSH,
    Deed.RELEASE,
    Deed.SAY,
    Deed.MEND,
    Deed.FLOW,
    Deed.ELSEWHERE,
    Deed.SECOND_THOUGHTS,
    Deed.REGRET,
    Deed.ADOPT,
    Deed.TOO_LATE,
    Deed.SICKEN,
    Deed.SCALE_DOWN,
    Deed.RETAG,
    Deed.RECREATE,
    Deed.IGNORE,
)


def _latest_mishaps(rng: random.Random, services: tuple[ServiceInEnvironment, ...]) -> list[Act]:
    """In one run of ten each: what was good fails while its old version drains, loses all its instances, or is not what it was called; and
    every other job is made anew, by whoever has its schedule. In one of ten gateways go by old weights for a while."""
    names = [s.service for s in services]
    acts = [
        Act(rng.uniform(40, 190), deed, rng.choice(names), rng.randint(1, 80), flag=rng.random() < 0.5)
        for deed in (Deed.SICKEN, Deed.SCALE_DOWN, Deed.RETAG)
        if rng.random() < 0.1
    ]
    jobs = [s.service for s in services if s.kind is ServiceKind.JOB]
    acts += [Act(rng.uniform(60, 220), Deed.RECREATE, name) for name in jobs if rng.random() < 0.5]
    if rng.random() < 0.1:
        acts += [
            Act(rng.uniform(5, 200), Deed.IGNORE, rng.choice(names), rng.randint(3, 120), flag=rng.random() < 0.3)
            for _ in range(rng.randint(1, 4))
        ]
    return acts


def _later_mishaps(rng: random.Random, names: list[str]) -> list[Act]:
    return [act for deed in _LATER_MISHAPS if rng.random() < 0.15 for act in _mishap(rng, names, deed)]


def _mishap(rng: random.Random, names: list[str], deed: Deed | None = None) -> list[Act]:
    deed = deed or rng.choice([d for d in Deed if d not in (*_NO_MISHAPS, *_LATER_MISHAPS)])
    at, name = rng.uniform(5, 180), rng.choice(names)
    act = Act(at, deed, name, rng.randint(1, 80), other=rng.choice(names), flag=rng.random() < 0.3)
    end = _ENDS.get(deed)
    return [act] if end is None else [act, Act(at + rng.uniform(5, 120), end, name if end is Deed.MEND else "")]
