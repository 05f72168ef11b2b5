"""What came of an act: whether its promise was kept, and the figures that show it, in words and as JSON."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import msgspec

from ctrlplane_stream.decision.assigning import step_count
from ctrlplane_stream.decision.entities import Rollout, Unit, VersionSet
from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.local.demo.audience import Audience
from ctrlplane_stream.local.demo.machine import MachineReport, in_words, overload
from ctrlplane_stream.local.load_report import Request
from ctrlplane_stream.local.shop.topology import SERVICES, service_named
from ctrlplane_stream.model.identity import ServiceKind

SLOW_MILLISECONDS = 250.0
"""A request that takes longer than this harms whoever waits; a healthy one takes a few dozen milliseconds."""


class DecisionLine(msgspec.Struct, frozen=True):
    """One reason, and the record of `decisions` that it stands in."""

    partition: int
    offset: int
    at_ms: int
    text: str


class RolloutReport(msgspec.Struct, frozen=True):
    """One rollout of an act. The seconds run from the first harmed request that touched a candidate to weight 0 confirmed."""

    id: str
    phase: str
    changed: dict[str, str]
    guards: tuple[str, ...]
    watched: tuple[str, ...]
    not_watched: tuple[str, ...]
    exposed_requests: int | None
    """This and all further counts of requests: None where the load generator cannot count what this rollout did to users."""
    harmed_requests: int | None
    failed_requests: int | None
    """Of the harmed ones; the others took longer than SLOW_MILLISECONDS."""
    other_requests: int | None
    """Of the same time and to the same entries, that touched no candidate of it: a busy machine is slow to them too."""
    other_harmed_requests: int | None
    about_requests: str
    """Why they are not counted, or what they do not show; empty where they speak for themselves."""
    seconds: float | None
    seconds_first_bad_to_revert: float | None
    unproven_steps: tuple[int, ...]
    """Steps passed on less than proof, each once and counted from 1, as words count them, wave after wave; the bake is the last."""
    proven_steps: int
    """Gates that were passed on proof, the bake's among them; counted where it completed, else 0."""
    decisions: tuple[DecisionLine, ...]


class ActReport(msgspec.Struct, frozen=True):
    """An act: what it promised, whether that was kept, and why not where it was not."""

    name: str
    promise: str
    kept: bool
    failures: tuple[str, ...]
    seconds: float
    rollouts: tuple[RolloutReport, ...] = ()
    figures: dict[str, Any] = {}
    machine: MachineReport | None = None
    """The machine meanwhile."""


class DemoReport(msgspec.Struct, frozen=True):
    """The whole demo. ``date`` is the UTC day, ``build`` what decided."""

    build: str
    date: str
    kept: bool
    setup_seconds: float
    acts_seconds: float
    policy_differences: dict[str, Any]
    acts: tuple[ActReport, ...]
    machine: MachineReport | None = None
    """The machine from when everything was started until the last act was over."""


def report_rollout(audience: Audience, rollout: Rollout, requests: Sequence[Request], services: Collection[str]) -> RolloutReport:
    """The figures of one rollout, from the topics and from the load generator's own count of harm."""
    exposed = exposed_to(rollout, requests)
    harmed = harmed_of(exposed)
    others = _others_than(exposed, rollout, requests)
    uncounted = _not_counted(rollout)

    def count(found: Sequence[Request]) -> int | None:
        return len(found) if uncounted is None else None

    chosen = audience.version_set(rollout.id)
    watched = _watched(chosen)
    return RolloutReport(
        id=rollout.id,
        phase=rollout.phase,
        changed={u.service: _change(rollout, u) for u in rollout.units},
        guards=_guards(chosen),
        watched=tuple(sorted(watched & set(services))),
        not_watched=tuple(sorted(set(services) - watched)),
        exposed_requests=count(exposed),
        harmed_requests=count(harmed),
        failed_requests=count([r for r in harmed if not r.ok]),
        other_requests=count(others),
        other_harmed_requests=count(harmed_of(others)),
        about_requests=uncounted or _not_shown(rollout),
        seconds=(rollout.ended_ms - rollout.began_ms) / 1000 if rollout.ended_ms else None,
        seconds_first_bad_to_revert=seconds_to_revert(rollout, harmed) if uncounted is None else None,
        unproven_steps=tuple(sorted({step + 1 for step in rollout.unproven})),
        proven_steps=step_count(rollout) - len(frozenset(rollout.unproven)) if rollout.phase is Phase.COMPLETED else 0,
        decisions=tuple(DecisionLine(s.partition, s.offset, s.decided.at_ms, text) for s, text in audience.about(rollout.id)),
    )


def _not_counted(rollout: Rollout) -> str | None:
    """Why no request can be said to have touched a candidate of it, or None. A 0 would say that users were spared, who never met it."""
    if not any(unit.weighted for unit in rollout.units):
        return "it never had any weight, so that no request could touch it"
    services = [service_named(unit.service) for unit in rollout.units]
    if all(s is not None and s.kind is ServiceKind.CONSUMER for s in services):
        return "no user waits for it: it works on the messages of a topic, and is judged by their spans"
    return None


def _not_shown(rollout: Rollout) -> str:
    """What the harm of users does not show of it: the failures of a service that every caller does without."""
    calls = [c for s in SERVICES for c in s.calls if c.service in {unit.service for unit in rollout.units}]
    if not calls or not all(call.optional for call in calls):
        return ""
    return "whoever calls it answers without it where it fails, so that its failures harm no user; they show in its own spans"


def _change(rollout: Rollout, unit: Unit) -> str:
    if rollout.phase is Phase.REVERTED:
        return f"stays at {unit.stable or 'nothing'} ({unit.candidate} went back)"
    return f"{unit.stable or 'nothing'} -> {unit.candidate}"


def exposed_to(rollout: Rollout, requests: Iterable[Request]) -> list[Request]:
    """The requests of its time that touched a candidate of the rollout, or may have."""
    return [r for r in requests if _during(rollout, r) and any(r.possibly_exposed(u.service, u.candidate) for u in rollout.units)]


def _others_than(exposed: Collection[Request], rollout: Rollout, requests: Iterable[Request]) -> list[Request]:
    """The other requests of its time, to the entries by which the exposed ones came."""
    entries, known = {r.entry for r in exposed}, set(exposed)
    return [r for r in requests if r.entry in entries and r not in known and _during(rollout, r)]


def harmed_of(exposed: Iterable[Request]) -> list[Request]:
    """Those that failed or took too long."""
    return [r for r in exposed if r.harmed(SLOW_MILLISECONDS)]


def _during(rollout: Rollout, request: Request) -> bool:
    ended = rollout.ended_ms or request.at * 1000
    return rollout.began_ms <= request.at * 1000 <= ended


def _watched(chosen: VersionSet | None) -> frozenset[str]:
    return frozenset(g.guard.service for g in chosen.guards if g.guard.service) if chosen else frozenset()


def _guards(chosen: VersionSet | None) -> tuple[str, ...]:
    return tuple(f"{g.guard.service or 'entry points'} ({g.guard.role}): {g.why}" for g in chosen.guards) if chosen else ()


def seconds_to_revert(rollout: Rollout, harmed: list[Request]) -> float | None:
    """Seconds from the first harmed request to the confirmed weight 0; None where nothing was reverted or nobody harmed."""
    phases = [p.phase for p in rollout.timeline]
    if Phase.ABORTING not in phases or not harmed:
        return None
    after = [p for p in rollout.timeline[phases.index(Phase.ABORTING) :] if p.phase in (Phase.DRAINING, Phase.REVERTED)]
    return max(0.0, after[0].at_ms / 1000 - min(r.at for r in harmed)) if after else None


def words(report: DemoReport) -> str:
    """The report as a person reads it."""
    lines = [
        f"{report.date}, build {report.build}.",
        f"Set-up took {report.setup_seconds:.0f} s, the acts {report.acts_seconds:.0f} s.",
        *_machine_words(report),
        "",
    ]
    for act in report.acts:
        lines.append(f"{'kept  ' if act.kept else 'BROKEN'}  {act.name} ({act.seconds:.0f} s): {act.promise}")
        lines += [f"          {failure}" for failure in act.failures]
        lines += [f"          {said}" for said in [overload(act.machine)] if said is not None and act.failures]
        lines += [f"          {line}" for key, value in act.figures.items() for line in _figure_words(key, value)]
        for rollout in act.rollouts:
            lines += [f"          {line}" for line in _rollout_words(rollout)]
    lines += ["", "Every promise was kept." if report.kept else "Not every promise was kept."]
    return "\n".join(lines)


def _machine_words(report: DemoReport) -> list[str]:
    """How busy the machine was, and whether that is what took so long."""
    if report.machine is None:
        return []
    said = f"The machine meanwhile: {in_words(report.machine)}."
    if report.machine.overloaded:
        said += " It had more to do than it could: times and latencies here say more of that than of the engine."
    return [said]


def _figure_words(key: str, value: Any) -> list[str]:
    """A figure under its name; one of several lines is indented under it."""
    name = key.replace("_", " ")
    return [f"{name}:", *(f"  {line}" for line in value)] if isinstance(value, list) else [f"{name}: {value}"]


def _rollout_words(rollout: RolloutReport) -> list[str]:
    changed = ", ".join(f"{service} {change}" for service, change in rollout.changed.items())
    of_all = f"{len(rollout.watched)} of {len(rollout.watched) + len(rollout.not_watched)} services"
    spared = f", not {', '.join(rollout.not_watched)}" if rollout.not_watched else ""
    first = f"{rollout.id} {rollout.phase}: {changed}; watched {of_all}{spared}"
    harm = _harm_words(rollout)
    if rollout.seconds_first_bad_to_revert is not None:
        harm += f"; {rollout.seconds_first_bad_to_revert:.1f} s from the first harmed request to weight 0"
    if rollout.phase == Phase.COMPLETED:
        harm += f"; {_proof_words(rollout)}"
    last = [f"last word (offset {d.offset}): {d.text}" for d in rollout.decisions[-1:]]
    return [first, harm, *last]


def _harm_words(rollout: RolloutReport) -> str:
    if rollout.harmed_requests is None or rollout.failed_requests is None:
        return f"requests that touched it: not counted, since {rollout.about_requests}"
    slow = rollout.harmed_requests - rollout.failed_requests
    return (
        f"requests that touched it: {rollout.exposed_requests}, harmed: {rollout.harmed_requests} ({rollout.failed_requests} failed, "
        f"{slow} took over {SLOW_MILLISECONDS:g} ms{f'; {rollout.about_requests}' if rollout.about_requests else ''}); others meanwhile: "
        f"{rollout.other_requests}, harmed: {rollout.other_harmed_requests}"
    )


def _proof_words(rollout: RolloutReport) -> str:
    """How many gates were passed on proof and how many on a soak, and why so many of those."""
    soaked = len(rollout.unproven_steps)
    said = f"gates passed (steps and bake): {rollout.proven_steps} proven, {soaked} soaked"
    if not soaked:
        return said
    return f"{said} (no harm seen, none disproved either: seconds of a little traffic prove no margin; `gates plan` says what does)"
