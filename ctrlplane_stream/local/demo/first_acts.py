"""The acts of the short demo: learn, release well, release badly, see the difference a gate makes, leave others alone."""

import asyncio

from ctrlplane_stream.decision.entities import Rollout
from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.local.demo.act import Act, Findings
from ctrlplane_stream.local.demo.report import exposed_to, harmed_of, seconds_to_revert
from ctrlplane_stream.local.demo.screen import graph_lines
from ctrlplane_stream.local.demo.stage import Stage
from ctrlplane_stream.local.shop.images import Behaviour
from ctrlplane_stream.local.shop.topology import SERVICES, Publish
from ctrlplane_stream.model.commands import Command
from ctrlplane_stream.model.facts import OverrideVerb
from ctrlplane_stream.model.identity import EdgeKind

MIDDLE = "shop/pricing"
"""In the middle of the chain of four: a frontend, a cart and a checkout above it, an inventory below."""

_UNGATED_SECONDS = 4.0
"""How long the ungated version has all of the traffic before somebody notices; shorter than the demo's bake."""


def expected_edges() -> frozenset[tuple[str, str, EdgeKind]]:
    """The edges between services that the shop's own table promises."""
    calls = {(s.name, c.service, EdgeKind.CALL) for s in SERVICES for c in s.calls}
    actions = ((s, a) for s in SERVICES for o in s.operations for stage in o.stages for a in stage)
    topics = {(s.name, a.topic) for s, a in actions if isinstance(a, Publish)}
    messages = {(name, c.name, EdgeKind.MESSAGE) for name, topic in topics for c in SERVICES if c.consumes == topic}
    return frozenset(calls | messages)


async def learn(stage: Stage, findings: Findings) -> None:
    """The engine's graph has every edge of the shop's table, and none between services that the table lacks."""
    wanted, services = expected_edges(), {s.name for s in SERVICES}

    def known() -> frozenset[tuple[str, str, EdgeKind]]:
        edges = (seen.edge for seen in stage.audience.edges())
        return frozenset((e.caller, e.callee, e.kind) for e in edges if e.caller in services and e.callee in services)

    await stage.audience.until(lambda: wanted <= known(), 60, f"{len(wanted)} edges between services")
    findings.expect(not known() - wanted, f"no edge that the shop does not have: {sorted(known() - wanted)}")
    findings.figures["edges_between_services"] = len(known())
    findings.figures["edges_to_databases_and_others"] = len(stage.audience.edges()) - len(known())
    findings.figures["graph_with_calls_a_second"] = graph_lines(stage.audience.edges())


async def good_release(stage: Stage, findings: Findings) -> None:
    """A healthy version climbs, bakes, and is what a later revert goes back to."""
    rollout = await stage.release(MIDDLE, Behaviour.HEALTHY)
    findings.about(rollout)
    ended = await stage.ended(rollout.id, 150)
    findings.expect(ended.phase is Phase.COMPLETED, f"{rollout.id} completed, but it is {ended.phase}: {ended.stopped_because}")
    good = stage.audience.target(MIDDLE).last_known_good
    findings.expect(good is not None and good.label == rollout.units[0].candidate, f"{rollout.units[0].candidate} is last known good")


async def bad_release(stage: Stage, findings: Findings) -> None:
    """A version with errors is found at a small weight and reverted to the last known good one."""
    before = stage.audience.target(MIDDLE).stable
    rollout = await stage.release(MIDDLE, Behaviour.ERRORS)
    findings.about(rollout)
    ended = await stage.ended(rollout.id, 90)
    expect_reverted(stage, findings, ended, MIDDLE, before)
    findings.expect("failed requests" in (ended.stopped_because or ""), f"the reason names the errors, but it is: {ended.stopped_because}")
    findings.expect(max(_weights_given(stage, ended), default=0) < 100, "the bad version never had all of the traffic")


async def same_fault_ungated(stage: Stage, findings: Findings) -> None:
    """The same image again, its gates forced open by an operator: what the gates are worth, in requests harmed."""
    gated = stage.last_rollout
    rollout = await stage.release(MIDDLE, Behaviour.ERRORS)
    findings.about(rollout)
    await stage.override(OverrideVerb.FORCE, "to show what an ungated release does", rollout=rollout.id)
    await stage.audience.until(lambda: _at_full_weight(stage, rollout), 30, f"{rollout.id} forced to weight 100")
    await asyncio.sleep(_UNGATED_SECONDS)
    await stage.override(OverrideVerb.ABORT, "somebody noticed", rollout=rollout.id)
    ended = await stage.ended(rollout.id, 60)
    findings.expect(ended.phase is Phase.REVERTED, f"the operator's abort ended on stable, but it is {ended.phase}")
    if gated is not None:
        _compare(stage, findings, stage.audience.rollout(gated.id) or gated, ended)


def _compare(stage: Stage, findings: Findings, gated: Rollout, ungated: Rollout) -> None:
    """The two beside each other: the gate ended one by itself, the other went on until this script ended it."""
    requests = stage.requests()
    with_gate, without = (harmed_of(exposed_to(rollout, requests)) for rollout in (gated, ungated))
    took, lasted = seconds_to_revert(gated, with_gate), seconds_to_revert(ungated, without)
    findings.figures |= {
        "requests_harmed_with_the_gate": len(with_gate),
        "seconds_from_first_harm_to_weight_0_with_the_gate": None if took is None else round(took, 1),
        "requests_harmed_without_it": len(without),
        "seconds_from_first_harm_to_weight_0_without_it": None if lasted is None else round(lasted, 1),
        "what_ended_it_without_the_gate": f"this script, which plays somebody who notices {_UNGATED_SECONDS:g} s after it had all traffic: "
        "nothing else would have",
        "requests_harmed_a_minute_with_the_gate": round(60 * len(with_gate) / took) if took else None,
        "requests_harmed_a_minute_without_it": round(60 * len(without) / lasted) if lasted else None,
    }
    findings.expect(len(with_gate) < len(without), "the gate spared requests")


async def second_group_untouched(stage: Stage, findings: Findings) -> None:
    """Since set-up no command went to the blog, no guard of any set is there, and its readers noticed nothing."""
    commands = [o for s in stage.since_setup() for o in s.decided.outputs if isinstance(o, Command)]
    blog = [c.target.service for c in commands if c.target.service.startswith("blog/")]
    findings.expect(not blog, f"no command to the blog, but there were {len(blog)}")
    for rollout in stage.audience.rollouts():
        chosen = stage.audience.version_set(rollout.id)
        mine = rollout.began_ms >= stage.setup_ended_ms and chosen is not None
        guards = [g.guard.service for g in chosen.guards if g.guard.service.startswith("blog/")] if mine and chosen else []
        findings.expect(not guards, f"{rollout.id} watches nobody in the blog, but it watches {guards}")
    readers = [r for r in stage.requests() if r.entry == "blog/web" and r.at * 1000 >= stage.setup_ended_ms]
    failed = [r for r in readers if not r.ok]
    findings.expect(bool(readers) and not failed, f"every reader of the blog was served, but {len(failed)} of {len(readers)} were not")
    findings.figures["commands_to_the_first_group"] = len(commands) - len(blog)
    findings.figures["commands_to_the_second_group"] = len(blog)
    findings.figures["readers_of_the_second_group_served"] = len(readers) - len(failed)


def expect_reverted(stage: Stage, findings: Findings, rollout: Rollout, service: str, stable: str | None) -> None:
    """The rollout is reverted and the service stands where it stood: all of its weight on ``stable``."""
    findings.expect(rollout.phase is Phase.REVERTED, f"{rollout.id} was reverted, but it is {rollout.phase}")
    target = stage.audience.target(service)
    weights = {v.label: v.weight for v in target.live if v.weight}
    findings.expect(target.stable == stable and weights == {stable: 100}, f"{service} is on {stable} alone, but it is on {weights}")


def _at_full_weight(stage: Stage, rollout: Rollout) -> bool:
    unit = rollout.units[0]
    seen = stage.audience.target(unit.service).seen(unit.candidate)
    return seen is not None and seen.weight == 100


def _weights_given(stage: Stage, rollout: Rollout) -> list[int]:
    unit = rollout.units[0]
    outputs = (o for s in stage.audience.decisions for o in s.decided.outputs)
    return [o.wanted.weight(unit.candidate) for o in outputs if isinstance(o, Command) and o.rollout == rollout.id]


FIRST_ACTS = (
    Act("learn", "the engine learns the shop's graph from live traffic alone", learn),
    Act("good release", f"a healthy version of {MIDDLE} completes and becomes last known good", good_release),
    Act("bad release", f"a version of {MIDDLE} with errors is found and reverted", bad_release),
    Act("ungated", "the same fault with its gates forced open harms more requests", same_fault_ungated),
    Act("untouched", "the second group of services is never touched", second_group_untouched),
)
