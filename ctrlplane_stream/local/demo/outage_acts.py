"""What operators say, and what happens when parts of the engine are gone."""

import asyncio

from ctrlplane_stream.decision.entities import Rollout
from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.local.demo.act import Act, Findings
from ctrlplane_stream.local.demo.setting import demo_policy
from ctrlplane_stream.local.demo.stage import Stage
from ctrlplane_stream.local.shop.images import Behaviour
from ctrlplane_stream.model.facts import OverrideVerb

_SERVICE = "shop/catalog"


async def operator(stage: Stage, findings: Findings) -> None:
    """Pause holds, resume goes on, force passes a gate, abort ends on stable: each within moments of being said."""
    before = stage.audience.target(_SERVICE).stable
    rollout = await _climbing(stage, findings)
    await stage.override(OverrideVerb.PAUSE, "wait for the phone call", rollout=rollout.id)
    await stage.audience.until(lambda: _now(stage, rollout).held, 10, "the rollout held by the pause")
    step = _now(stage, rollout).step
    await asyncio.sleep(6.0)
    findings.expect(_now(stage, rollout).step == step, "a paused rollout does not step")
    await stage.override(OverrideVerb.RESUME, "the call is over", rollout=rollout.id)
    await stage.audience.until(lambda: not _now(stage, rollout).held, 10, "the rollout resumed")
    await stage.override(OverrideVerb.FORCE, "we know this one", rollout=rollout.id)
    await stage.audience.until(lambda: _now(stage, rollout).step > step, 20, "a step forward by force")
    await stage.override(OverrideVerb.ABORT, "changed our minds", rollout=rollout.id)
    ended = await stage.ended(rollout.id, 60)
    findings.expect(ended.phase is Phase.REVERTED, f"the abort ended on stable, but it is {ended.phase}")
    findings.expect(stage.audience.target(_SERVICE).stable == before, f"{_SERVICE} is on {before} again")


async def worker_killed(stage: Stage, findings: Findings) -> None:
    """SIGKILL for every process of the worker in the middle of a rollout; another worker takes it up where it was."""
    rollout = await _climbing(stage, findings)
    stage.kill_worker()
    await asyncio.sleep(2.0)
    await stage.start_worker()
    ended = await stage.ended(rollout.id, 200)
    findings.expect(ended.phase is Phase.COMPLETED, f"it completed after all, but it is {ended.phase}: {ended.stopped_because}")
    ids = [o.id for s in stage.audience.decisions for o in s.decided.outputs if hasattr(o, "id")]
    findings.expect(len(ids) == len(frozenset(ids)), "no command was decided twice")


async def longer_than_the_lease(stage: Stage, findings: Findings) -> None:
    """Engine and broker are gone for longer than the lease: the target goes to stable by itself."""
    rollout = await _climbing(stage, findings)
    unit = rollout.units[0]
    stage.kill_worker()
    if stage.owns_broker:
        stage.stop_broker()
    else:
        findings.figures["the_broker"] = "is yours and stayed up; the engine alone was away"
    patience = demo_policy().lease_seconds + 25.0
    await stage.world_shows(_SERVICE, {unit.stable or "": 100}, patience, "stable alone, after the lease and with nobody to say so")
    if stage.owns_broker:
        await stage.start_broker()
    await stage.start_worker()
    ended = await stage.ended(rollout.id, 120)
    findings.expect(ended.phase is Phase.REVERTED, f"the engine found it on stable and agreed, but it is {ended.phase}")


async def telemetry_stops(stage: Stage, findings: Findings) -> None:
    """Nothing arrives any more: the rollout holds, says why, and goes on when telemetry is back."""
    rollout = await _climbing(stage, findings)
    stage.stop_intake()
    await stage.audience.until(
        lambda: _now(stage, rollout).held or _now(stage, rollout).retreats > 0, 40, "the rollout held without telemetry"
    )
    held = _now(stage, rollout)
    findings.figures["held_because"] = held.holds[-1].text if held.holds else "went back to weight 0"
    findings.expect(held.phase is not Phase.COMPLETED, "nothing completes blind")
    await stage.start_intake()
    ended = await stage.ended(rollout.id, 200)
    findings.expect(
        ended.phase is Phase.COMPLETED, f"it completed when it could see again, but it is {ended.phase}: {ended.stopped_because}"
    )


async def _climbing(stage: Stage, findings: Findings) -> Rollout:
    """A healthy release that is being watched at a partial weight."""
    rollout = await stage.release(_SERVICE, Behaviour.HEALTHY)
    findings.about(rollout)
    await stage.audience.until(lambda: _now(stage, rollout).phase is Phase.VERIFYING, 40, f"{rollout.id} at its first weight")
    return rollout


def _now(stage: Stage, rollout: Rollout) -> Rollout:
    return stage.audience.rollout(rollout.id) or rollout


OUTAGE_ACTS = (
    Act("operator", "an operator pauses, resumes, forces and aborts through `control`", operator),
    Act("worker killed", "the worker is killed in the middle of a rollout, which goes on", worker_killed),
    Act("lease", "engine and broker are away for longer than the lease, and the target ends on stable", longer_than_the_lease),
    Act("blind", "the telemetry pipeline stops, and the rollout holds and says so", telemetry_stops),
)
