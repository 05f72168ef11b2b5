"""Releases that go wrong in other ways than errors, releases that meet, and releases that are no image."""

import asyncio

from ctrlplane_stream.decision.entities import Rollout
from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.local.demo.act import Act, Findings
from ctrlplane_stream.local.demo.first_acts import expect_reverted
from ctrlplane_stream.local.demo.stage import Stage
from ctrlplane_stream.local.shop.images import Behaviour

_CALLER, _CALLEE, _ELSEWHERE = "shop/cart", "shop/pricing", "blog/posts"
_CONSUMER = "shop/fulfilment"


async def latency(stage: Stage, findings: Findings) -> None:
    """A version that answers 300 ms later is found by its latency."""
    await _reverts(stage, findings, "shop/catalog", Behaviour.LATENCY, "latency")


async def dies_without_telling(stage: Stage, findings: Findings) -> None:
    """A version whose process is gone in mid-request, spans and all, is found by its callers' lost calls or its crash loop."""
    await _reverts(stage, findings, "shop/inventory", Behaviour.DIES, None)


async def never_ready(stage: Stage, findings: Findings) -> None:
    """A version that never becomes ready is given no weight at all."""
    rollout = await _reverts(stage, findings, "shop/cart", Behaviour.NEVER_READY, None)
    given = [p for p in rollout.timeline if p.phase is Phase.SHIFTING]
    findings.expect(not given, "it never had any weight")


async def unrelated_in_parallel(stage: Stage, findings: Findings) -> None:
    """Two releases that share nothing are under way at the same time."""
    first = await stage.release(_CALLEE, Behaviour.HEALTHY)
    second = await stage.release(_ELSEWHERE, Behaviour.HEALTHY)
    await _both_end(stage, findings, first, second)
    a, b = (stage.audience.rollout(r.id) or r for r in (first, second))
    findings.expect(_first_shift(b) < (a.ended_ms or 0) and _first_shift(a) < (b.ended_ms or 0), "they moved at the same time")


async def connected_serialised(stage: Stage, findings: Findings) -> None:
    """Of two releases joined by an edge the second waits until the first is verified at 100."""
    first = await stage.release(_CALLEE, Behaviour.HEALTHY)
    second = await stage.release(_CALLER, Behaviour.HEALTHY)
    await _both_end(stage, findings, first, second)
    a, b = (stage.audience.rollout(r.id) or r for r in (first, second))
    verified = next((p.at_ms for p in a.timeline if p.phase is Phase.BAKING), a.ended_ms or 0)
    findings.expect(verified <= _first_shift(b), "the second took weight only after the first was verified at 100")


async def configuration_change(stage: Stage, findings: Findings) -> None:
    """A configuration that makes a service fail is a version like any other, and is reverted like any other."""
    service = "shop/recommendations"
    before = stage.audience.target(service)
    await stage.configure(service, {"ERROR_SHARE": "0.4"})
    label = f"#{before.newest + 1}"
    await stage.audience.until(lambda: stage.audience.moving(service, label) is not None, 20, f"a rollout of {service} {label}")
    rollout = stage.audience.moving(service, label)
    assert rollout is not None
    findings.about(rollout)
    ended = await stage.ended(rollout.id, 120)
    expect_reverted(stage, findings, ended, service, before.stable)
    findings.expect("failed requests" in (ended.stopped_because or ""), f"the reason names the errors, but it is: {ended.stopped_because}")
    findings.expect(rollout.cause == "configuration", f"its cause is the configuration, but it is {rollout.cause}")
    await stage.configure(service, {})


async def consumer(stage: Stage, findings: Findings) -> None:
    """The service behind the topic takes weight by its share of instances, and completes."""
    rollout = await stage.release(_CONSUMER, Behaviour.HEALTHY)
    findings.about(rollout)
    ended = await stage.ended(rollout.id, 180)
    findings.expect(ended.phase is Phase.COMPLETED, f"it completed, but it is {ended.phase}: {ended.stopped_because}")


async def _reverts(stage: Stage, findings: Findings, service: str, behaviour: Behaviour, said: str | None) -> Rollout:
    before = stage.audience.target(service).stable
    rollout = await stage.release(service, behaviour)
    findings.about(rollout)
    ended = await stage.ended(rollout.id, 120)
    expect_reverted(stage, findings, ended, service, before)
    if said is not None:
        findings.expect(said in (ended.stopped_because or ""), f"the reason names {said}, but it is: {ended.stopped_because}")
    return ended


async def _both_end(stage: Stage, findings: Findings, first: Rollout, second: Rollout) -> None:
    ended = await asyncio.gather(stage.ended(first.id, 200), stage.ended(second.id, 200))
    for rollout in ended:
        findings.about(rollout)
        findings.expect(rollout.phase is Phase.COMPLETED, f"{rollout.id} completed, but it is {rollout.phase}: {rollout.stopped_because}")


def _first_shift(rollout: Rollout) -> int:
    """When it first took weight, in milliseconds; the end of time where it never did."""
    return next((p.at_ms for p in rollout.timeline if p.phase is Phase.SHIFTING), 1 << 62)


RELEASE_ACTS = (
    Act("latency", "a release that is slow is found and reverted", latency),
    Act("dies", "a release that dies without telling is found and reverted", dies_without_telling),
    Act("never ready", "a release that never becomes ready gets no weight and is given up", never_ready),
    Act("unrelated", "two unrelated releases go side by side", unrelated_in_parallel),
    Act("connected", "two connected releases go one after the other", connected_serialised),
    Act("configuration", "a configuration change is a version, and a bad one is reverted", configuration_change),
    Act("consumer", "a consumer behind a topic is released by its share of instances", consumer),
)
