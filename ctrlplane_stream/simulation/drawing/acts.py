"""What is to happen to a system, drawn: pushes, words of operators, mishaps, and what another tool does beside."""

import random

from msgspec.structs import replace

from ctrlplane_stream.model.catalog import ServiceInEnvironment
from ctrlplane_stream.model.facts import OverrideVerb
from ctrlplane_stream.model.identity import EdgeKind, ServiceKind
from ctrlplane_stream.model.policy import Mode, Unsure
from ctrlplane_stream.simulation.drawing.systems import ELSEWHERE, MANNERS, SWIFT
from ctrlplane_stream.simulation.loop import service
from ctrlplane_stream.simulation.plans import CHAOS_SECONDS, Act, Deed, Plan

_FLAVOURS = ("good", "good", "good", "faulty", "never ready", "crashes")


_VERBS = tuple(verb for verb in OverrideVerb if verb is not OverrideVerb.ADOPT)  # which is drawn by itself, beside what it is about


CROWDED_SHARE = 1 / 6
"""In so many runs rollouts get into each other's way all the time: what is rare elsewhere, and found most faults, is common there."""


_CROWD_VERBS = (
    *(OverrideVerb.ABORT, OverrideVerb.ABORT, OverrideVerb.REVERT, OverrideVerb.RETRY, OverrideVerb.RESUME),
    *(OverrideVerb.FORCE, OverrideVerb.PROMOTE, OverrideVerb.PAUSE, OverrideVerb.SKIP),
)


_CROWD_MISHAPS = (Deed.EDIT, Deed.DRIFT, Deed.GLASS, Deed.MUTE, Deed.BREAK, Deed.LIE, Deed.RESTART, Deed.DOWN)


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
    Deed.RETURN,
    Deed.ADOPT,
    Deed.TOO_LATE,
    Deed.PARKING_FAILS,
    Deed.SICKEN,
    Deed.SCALE_DOWN,
    Deed.RETAG,
    Deed.RECREATE,
    Deed.IGNORE,
    Deed.REMAKE,
    Deed.EDIT_AND_FAIL,
    Deed.DRIFT_ON_LEASE,
    Deed.EDIT_GOING_BACK,
    Deed.BRING_BACK,
    Deed.BYPASS,
)


def acts_of(rng: random.Random, names: list[str]) -> list[Act]:
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


def second_thoughts(rng: random.Random) -> list[Act]:
    """In one run of ten somebody is so undecided, and in one of ten reverts what was good."""
    return [Act(rng.uniform(40, 160), deed) for deed in (Deed.SECOND_THOUGHTS, Deed.REGRET) if rng.random() < 0.1]


def returns(rng: random.Random) -> list[Act]:
    """In half of the long runs somebody goes back to what was good while what is next to it climbs, every other time though all is frozen:
    only then enough has baked to go back to."""
    at, number = CHAOS_SECONDS - rng.uniform(0, 200), rng.randint(0, 40)
    return [Act(at, Deed.RETURN, "", number, flag=rng.random() < 0.5)] if rng.random() < 0.5 else []


def crowd_of(rng: random.Random, names: list[str]) -> list[Act]:
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
        acts.append(replace(act, at=rng.uniform(60, 235), verb=verb, service=act.service or names[0], flavour=unsafe))
    for _ in range(rng.randint(0, 3)):
        acts += _mishap(rng, names, rng.choice((*_CROWD_MISHAPS, *_LATER_MISHAPS)))
    for _ in range(rng.choice((0, 0, 1, 2))):
        acts.append(Act(rng.uniform(40, 200), Deed.TOO_LATE, flag=rng.random() < 0.5))
    return acts


def latest_mishaps(rng: random.Random, services: tuple[ServiceInEnvironment, ...]) -> list[Act]:
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


def taken_back(rng: random.Random, names: list[str]) -> list[Act]:
    """In one run of eight somebody changes a configuration and takes it back, perhaps changes it again: mostly while it climbs."""
    if rng.random() >= 1 / 8:
        return []
    name, number, at, acts = rng.choice(names), rng.randint(81, 99), rng.uniform(30, 150), []
    for turn in range(rng.randint(2, 4)):
        acts.append(Act(at, Deed.CONFIGURE, name, 0 if turn % 2 else number))
        at += rng.uniform(1, 60)
    return [act for act in acts if act.at < 235]


def handed_over(rng: random.Random, names: list[str]) -> list[Act]:
    """In one run of twelve somebody has us only advise on a service for a while, whatever is under way or waits."""
    if rng.random() >= 1 / 12:
        return []
    name, at = rng.choice(names), rng.uniform(20, 180)
    back = at + rng.uniform(1, 50)
    return [Act(at, Deed.RETUNE, name, rng.randint(1, 80), "advise"), Act(back, Deed.RETUNE, name, rng.randint(1, 80))]


def remade(rng: random.Random, names: list[str]) -> list[Act]:
    """In one run of ten a catalog has services made in another manner, whatever is under way."""
    if rng.random() >= 0.1:
        return []
    count = rng.randint(1, 3)
    return [Act(rng.uniform(20, 225), Deed.REMAKE, rng.choice(names), rng.randint(1, 99), rng.choice(MANNERS)) for _ in range(count)]


def brought_back(rng: random.Random, names: list[str]) -> list[Act]:
    """In one run of ten somebody brings an older state of targets back, whatever is under way."""
    if rng.random() >= 0.1:
        return []
    return [Act(rng.uniform(20, 225), Deed.BRING_BACK, rng.choice(names)) for _ in range(rng.randint(1, 2))]


def afterwards(rng: random.Random, names: list[str]) -> list[Act]:
    """One run of eight is long: once most is over, services that call each other are released together, which climb wave by wave for
    minutes, and things go wrong while they bake and their old versions drain."""
    if len(names) < 2 or rng.random() >= 1 / 8:
        return []
    members = rng.sample(names, rng.randint(2, len(names)))
    acts = [Act(rng.random(), Deed.RELEASE, name, 200, "good", other=f"r{len(members)}") for name in members]
    acts += [Act(rng.uniform(0, 300), deed, "", rng.randint(0, 9), flag=rng.random() < 0.3) for deed in (Deed.PARKING_FAILS, Deed.TOO_LATE)]
    for _ in range(rng.choice((0, 0, 1, 2))):
        acts += [replace(_override(rng, names), at=rng.uniform(120, 460))]
        acts += [replace(act, at=act.at + 200) for act in _mishap(rng, names, rng.choice((*_CROWD_MISHAPS, *_LATER_MISHAPS)))]
    return [replace(act, at=act.at + CHAOS_SECONDS) for act in acts]


def in_hands(rng: random.Random) -> list[Act]:
    """In one run of six each, hands are where they are least welcome: on what is about to fail, on a partial weight, on the way back."""
    return [
        Act(rng.uniform(30, 170), deed, "", rng.randint(0, 90), flag=rng.random() < 0.5)
        for deed in (Deed.EDIT_AND_FAIL, Deed.DRIFT_ON_LEASE, Deed.EDIT_GOING_BACK)
        if rng.random() < 1 / 6
    ]


def past_the_route(rng: random.Random, names: list[str]) -> list[Act]:
    """In one run of six somebody calls a service past the route, to its end or for a while: what has no weight is called all the same."""
    if rng.random() >= 1 / 6:
        return []
    return [Act(rng.uniform(30, 180), Deed.BYPASS, rng.choice(names), rng.randint(20, 200), flag=rng.random() < 0.5)]


def later_mishaps(rng: random.Random, names: list[str]) -> list[Act]:
    return [act for deed in _LATER_MISHAPS if rng.random() < 0.15 for act in _mishap(rng, names, deed)]


def _mishap(rng: random.Random, names: list[str], deed: Deed | None = None) -> list[Act]:
    deed = deed or rng.choice([d for d in Deed if d not in (*_NO_MISHAPS, *_LATER_MISHAPS)])
    at, name = rng.uniform(5, 180), rng.choice(names)
    act = Act(at, deed, name, rng.randint(1, 80), other=rng.choice(names), flag=rng.random() < 0.3)
    end = _ENDS.get(deed)
    return [act] if end is None else [act, Act(at + rng.uniform(5, 120), end, name if end is Deed.MEND else "")]


def adoptions(rng: random.Random, names: list[str], acts: list[Act]) -> tuple[dict[str, int], list[Act]]:
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


def elsewhere_of(rng: random.Random, names: list[str]) -> Plan:
    """In a third of the systems a neighbour that another tool moves: by shares, back and forth, at once."""
    if rng.random() < 0.67:
        return Plan(0, (), (), ())
    neighbour = rng.choice(names)
    edge = (neighbour, ELSEWHERE, EdgeKind.CALL) if rng.random() < 0.5 else (ELSEWHERE, neighbour, EdgeKind.CALL)
    advised = service(ELSEWHERE, replace(SWIFT, mode=Mode.ADVISE, on_no_data=rng.choice(list(Unsure))))
    acts = [Act(rng.uniform(0, 5), Deed.ELSEWHERE, ELSEWHERE, 1, flag=True)]
    for number in range(2, rng.randint(3, 5)):
        at, flavour = rng.uniform(20, 120), rng.choice(("good", "good", "faulty"))
        for share in sorted(rng.sample((2, 5, 10, 30, 60, 100), rng.randint(1, 4))):
            acts.append(Act(at, Deed.ELSEWHERE, ELSEWHERE, number, flavour, other=str(share)))
            at += rng.uniform(5, 50)
        if rng.random() < 0.4:
            acts.append(Act(at, Deed.ELSEWHERE, ELSEWHERE, number, flavour, other="0"))
    return Plan(0, (advised,), (edge,), tuple(act for act in acts if act.at < 230))
