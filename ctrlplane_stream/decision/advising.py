"""Rollouts that other tools make (policy ``mode: advise``): seen in the traffic, judged like ours, and nothing commanded.

Which version a request met is in its spans, so another tool's rollout shows itself: a version label that is not the settled one takes a
share of the arrivals. That makes a version set; whenever the share moves the judge is asked anew; and what we would do now
(*advance*, *wait*, *abort*) is kept as advice on the rollout, told to people when it becomes one of the outer two.

The rollout ends as the other tool ends it. A FAIL, a spent budget and an operator's abort stay the advice until the candidate is gone.
"""

import math

from msgspec.structs import replace

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision import gate, holds
from ctrlplane_stream.decision.admission import rollout_id
from ctrlplane_stream.decision.assigning import judged_on
from ctrlplane_stream.decision.composing import compose, with_reach
from ctrlplane_stream.decision.draft import Draft
from ctrlplane_stream.decision.notices import notify
from ctrlplane_stream.decision.phases import ENDED, Event, Phase
from ctrlplane_stream.decision.transitions import move
from ctrlplane_stream.model.facts import ArrivalsObserved, ReleaseOrder, ServiceSeen
from ctrlplane_stream.model.identity import UNKNOWN_VERSION
from ctrlplane_stream.model.policy import Step

NEWCOMER_SHARE = 0.01
"""Below this share of a window's arrivals another label is a stray."""
SEEN_WINDOWS = 2
"""So many windows in a row make a newcomer a candidate, and another share a step."""
GONE_WINDOWS = 3
"""After so many windows in a row without the candidate, while others took requests, it is gone."""
WHOLE_SHARE = 0.98
"""From this share on the candidate has all traffic."""
SHARE_SLACK = 0.05
"""A share that is off by no more than this, or by three standard errors, is the same step."""

Answer = tuple[Event, str] | str


def first_seen(draft: Draft, seen: ServiceSeen) -> None:
    """Take the only version that an advised service was ever seen with as the settled one."""
    labels = [label for label in seen.versions if label != UNKNOWN_VERSION]
    if draft.is_advised(seen.service) and len(labels) == 1 and not draft.has(f"advised/{seen.service}"):
        draft.put(f"advised/{seen.service}", e.AdvisedEntry(labels[0]))


def arrived_elsewhere(draft: Draft, fact: ArrivalsObserved) -> None:
    """Take note of what arrived at the versions of services that other tools move."""
    for service in sorted(fact.arrivals):
        if not draft.is_advised(service):
            continue
        counts = {label: count for label, count in sorted(fact.arrivals[service].items()) if label != UNKNOWN_VERSION and count > 0}
        rollout = _under_way(draft, service)
        if rollout is None:
            _look_for_newcomers(draft, service, counts)
        elif rollout.advice is not None:
            _note_share(draft, rollout, counts)


def _under_way(draft: Draft, service: str) -> e.Rollout | None:
    return next((r for r in draft.rollouts() if any(u.service == service for u in r.units)), None)


def _look_for_newcomers(draft: Draft, service: str, counts: dict[str, int]) -> None:
    total = sum(counts.values())
    if not total:
        return
    known = draft.find(f"advised/{service}", e.AdvisedEntry) or e.AdvisedEntry(max(counts, key=lambda label: (counts[label], label)))
    others = [label for label in counts if label != known.stable and counts[label] >= NEWCOMER_SHARE * total]
    newcomer = max(others, key=lambda label: (label == known.newcomer, counts[label], label), default=None)
    windows = known.windows + 1 if newcomer is not None and newcomer == known.newcomer else 1
    noted = e.AdvisedEntry(known.stable, newcomer, windows if newcomer is not None else 0)
    draft.put(f"advised/{service}", noted)
    if newcomer is not None and windows >= SEEN_WINDOWS and known.stable is not None:
        _begin(draft, service, newcomer, known.stable, counts)


def _begin(draft: Draft, service: str, candidate: str, stable: str, counts: dict[str, int]) -> None:
    """Make a version set of what another tool is rolling out, and have it judged at the share that it has."""
    id_ = rollout_id(draft, service, candidate)
    before = draft.rollout(id_)
    version_set = compose(draft, id_, {service: candidate}, None, ReleaseOrder.CALLEES_FIRST, {service: stable})
    clock, share = draft.clock, counts[candidate] / sum(counts.values())
    rollout = e.Rollout(
        id=id_,
        environment=draft.environment,
        phase=Phase.ADVISING,
        units=(e.Unit(service, candidate, stable, 0, weighted=True),),
        steps=version_set.policy.steps,
        attempt=before.attempt + 1 if before is not None else 1,
        cause="another tool",
        began_ms=clock.now_ms,
        queued_steady=clock.steady,
        phase_since_steady=clock.steady,
        weights={service: _percent(counts)},
        advice=e.Advice(e.Word.WAIT, "it was just seen", clock.now_ms, share, heard_steady=clock.steady),
    )
    rollout = judged_on(before, rollout)
    draft.put(f"set/{id_}", with_reach(draft, version_set, rollout.steps))
    draft.put_rollout(rollout)
    draft.list_under_way(id_)
    explained = "; ".join(version_set.explanation)
    draft.because("another-tool", f"another tool rolls out {service} {candidate} beside {stable}: {explained}", id_)
    _judge_anew(draft, rollout, share)


def _percent(counts: dict[str, int]) -> dict[str, int]:
    total = sum(counts.values())
    return {label: round(100 * count / total) for label, count in counts.items()}


def _note_share(draft: Draft, rollout: e.Rollout, counts: dict[str, int]) -> None:
    """Keep what the candidate takes now; ask the judge anew where that is another step."""
    advice, total = rollout.advice, sum(counts.values())
    if advice is None or not total:
        return
    count = counts.get(rollout.units[0].candidate, 0)
    strayed = advice.strayed + 1 if _is_elsewhere(advice, count / total, total) else 0
    absent = advice.absent + 1 if not count else 0
    noted = replace(advice, strayed=strayed, absent=absent, heard_steady=draft.clock.steady)
    after = replace(rollout, advice=noted, weights={rollout.units[0].service: _percent(counts)})
    draft.put_rollout(after)
    if strayed >= SEEN_WINDOWS and count:
        _judge_anew(draft, after, count / total)


def _is_elsewhere(advice: e.Advice, share: float, total: int) -> bool:
    """Whether a window's share is not the judged one, but for chance."""
    if advice.baking or share >= WHOLE_SHARE:
        return advice.baking != (share >= WHOLE_SHARE)
    chance = 3 * math.sqrt(max(advice.share * (1 - advice.share), 0.01) / total)
    return abs(share - advice.share) > max(SHARE_SLACK, chance)


def _judge_anew(draft: Draft, rollout: e.Rollout, share: float) -> None:
    if rollout.advice is None:
        return
    whole = share >= WHOLE_SHARE
    moved = replace(
        rollout,
        step=len(rollout.steps) - 1 if whole else _step_of(rollout.steps, share),
        advice=replace(rollout.advice, share=round(share, 4), baking=whole, strayed=0),
    )
    unit = rollout.units[0]
    move(draft, moved, Event.SHARE_MOVED, f"{unit.service} {unit.candidate} was given {share:.0%} of the requests")


def _step_of(steps: tuple[Step, ...], share: float) -> int:
    """The step of the policy whose rules hold at this share: the first that gives as much or more."""
    return next((at for at, step in enumerate(steps) if step.weight >= round(100 * share)), len(steps) - 1)


def advise(draft: Draft, rollout: e.Rollout) -> Answer:
    """The rule of a rollout that another tool makes: what we would do, and whether that tool has ended it."""
    advice = rollout.advice
    if advice is None or rollout.phase in ENDED:
        return "nothing to advise"
    unit = rollout.units[0]
    if not draft.is_advised(unit.service):
        return Event.DISMISSED, f"the catalog does not ask for advice on {unit.service} any more"
    if advice.absent >= GONE_WINDOWS:
        return Event.GONE, f"{unit.service} {unit.candidate} takes no requests any more{_after_all(rollout, e.Word.ABORT)}"
    policy = draft.version_set(rollout.id).policy
    if draft.clock.steady - advice.heard_steady > policy.hold_deadline_seconds * 1000:
        return Event.DISMISSED, f"no request to {unit.service} was seen for {policy.hold_deadline_seconds:.0f} s"
    reading = gate.read(draft.clock, rollout, draft.version_set(rollout.id), draft.telemetry.window_seconds)
    seconds = (draft.clock.steady - (rollout.confirmed_steady or draft.clock.steady)) / 1000
    _say(draft, rollout, *_word(draft, rollout, reading))
    if advice.baking and reading.gate is gate.Gate.OPEN and rollout.stopped_because is None:
        return Event.KEPT, f"{unit.service} {unit.candidate} keeps all requests: {reading.text}"
    if advice.baking and seconds > policy.hold_deadline_seconds:
        return Event.KEPT, f"{unit.service} {unit.candidate} keeps all requests after {seconds:.0f} s, against the advice"
    return f"another tool gives {unit.candidate} {advice.share:.0%} of the requests; {reading.text}"


def _after_all(rollout: e.Rollout, word: e.Word) -> str:
    return ", as was advised" if rollout.advice is not None and rollout.advice.word is word else ""


def _word(draft: Draft, rollout: e.Rollout, reading: gate.Reading) -> tuple[e.Word, str]:
    if rollout.stopped_because is not None and not rollout.forced:
        return e.Word.ABORT, rollout.stopped_because
    if reading.gate is gate.Gate.FAILED:
        return e.Word.ABORT, reading.text
    if rollout.holds:
        return e.Word.WAIT, rollout.holds[0].text
    if reading.gate is not gate.Gate.OPEN:
        return e.Word.WAIT, reading.text
    policy = draft.version_set(rollout.id).policy
    services = tuple(u.service for u in rollout.units)
    closed = holds.freeze_on(draft, services) or holds.closed_by_maintenance(draft.clock.now_ms, policy)
    if closed is not None:
        return e.Word.WAIT, closed
    if holds.needs_approval(rollout, policy):
        return e.Word.WAIT, "this share passed and waits for somebody to promote it"
    return e.Word.ADVANCE, reading.text if reading.proven else f"unproven: {reading.text}"


def _say(draft: Draft, rollout: e.Rollout, word: e.Word, text: str) -> None:
    """Keep the advice, and tell people where it became another that they can act on."""
    advice = rollout.advice
    if advice is None or (advice.word, advice.text) == (word, text):
        return
    since = advice.since_ms if advice.word is word else draft.clock.now_ms
    after = replace(rollout, advice=replace(advice, word=word, text=text, since_ms=since))
    draft.put_rollout(after)
    if advice.word is word:
        return
    said = f"{rollout.id}: we would {word} at {advice.share:.0%}: {text}"
    draft.because(f"advice:{word}", said, rollout.id)
    if word is not e.Word.WAIT:
        notify(draft, after, f"advice-{word}", said, "")
