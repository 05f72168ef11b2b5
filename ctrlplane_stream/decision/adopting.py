"""Who asks for an adoption, of what, and when that is refused: ``adopt`` as an operator says it.

It begins at once and waits for nobody: no traffic moves, so nothing that is frozen, queued or climbing nearby is disturbed.
"""

from msgspec.structs import replace

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.admission import rollout_id
from ctrlplane_stream.decision.assigning import judged_on
from ctrlplane_stream.decision.composing import compose
from ctrlplane_stream.decision.draft import Draft
from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.decision.said import REFUSED, Answered
from ctrlplane_stream.decision.taking_over import take_over
from ctrlplane_stream.decision.versioning import known_label, number
from ctrlplane_stream.decision.wanted import foreign_image
from ctrlplane_stream.model.catalog import ServiceInEnvironment
from ctrlplane_stream.model.facts import OverrideRequested, Provenance, ReleaseOrder, ServiceSeen
from ctrlplane_stream.model.identity import UNKNOWN_VERSION, Artifact
from ctrlplane_stream.model.world import Capacity


def adopt(draft: Draft, fact: OverrideRequested) -> Answered:
    """Begin to take over what runs; whether that was begun, and the sentence that says how or why not."""
    if fact.service is None or fact.image is None or fact.digest is None:
        return False, REFUSED + "adopt needs a service, and image and digest of what runs there"
    service, artifact = draft.service(fact.service), Artifact(fact.service, fact.image, fact.digest)
    if service is None:
        return False, f"{REFUSED}the catalog has no service {fact.service} in {draft.environment}; add it and say adopt again"
    if (wrong := _unfit(draft, service, artifact)) is not None:
        return False, REFUSED + wrong
    label, _ = number(draft, service, artifact, Provenance(actor=fact.who))
    _tell_apart(draft, service.service, label, fact)
    id_ = _begin(draft, service.service, label, fact)
    return True, f"{artifact}, which runs there, is taken over as {fact.service} {label}, unjudged: {id_}"


def _unfit(draft: Draft, service: ServiceInEnvironment, artifact: Artifact) -> str | None:
    """Why this cannot be adopted here, or None."""
    name, target = service.service, draft.target(service.service)
    if (foreign := foreign_image(service, artifact)) is not None:
        return foreign
    if draft.is_advised(service.service):
        return f"{name} is only advised on (mode advise): another tool moves it"
    if (busy := next((r for r in draft.rollouts() if any(u.service == name for u in r.units)), None)) is not None:
        return f"{busy.id} is under way ({busy.phase}); abort it first"
    there = [v.label for v in target.live if v.capacity is not Capacity.PARKED]
    if target.stable is not None or there:
        return f"{name} has {target.stable or ', '.join(there)} here already; only what we do not know of yet can be adopted"
    label = known_label(draft, service, artifact)
    if label is not None and target.wanted(label) is not None:
        return f"{artifact} is {name} {label}, which was made here and is parked; control retry rolls it out"
    return None


def _tell_apart(draft: Draft, service: str, label: str, fact: OverrideRequested) -> None:
    """Remember by which label its telemetry tells it: as said, else its digest, unless telemetry has shown one other label only."""
    version, traffic = draft.version(service, label), draft.find(f"traffic/{service}", ServiceSeen)
    seen = tuple(each for each in (traffic.versions if traffic is not None else ()) if each != UNKNOWN_VERSION)
    told = fact.version or (seen[0] if len(seen) == 1 else fact.digest)
    if version is not None and told != label:
        draft.put(f"version/{service}/{label}", replace(version, told_as=told))


def _begin(draft: Draft, service: str, label: str, fact: OverrideRequested) -> str:
    id_ = rollout_id(draft, service, label)
    why = f"taken over as it runs, since {fact.who} says so: {fact.why}. No traffic moves, no instance restarts, and nobody judges it"
    version_set = compose(draft, id_, {service: label}, None, ReleaseOrder.CALLEES_FIRST)
    explanation = (f"{service} {label} is {why}",)
    version_set = replace(version_set, guards=(), left_out=(), left_out_more=0, explanation=explanation)
    previous, clock = draft.rollout(id_), draft.clock
    rollout = e.Rollout(
        id=id_,
        environment=draft.environment,
        phase=Phase.ADOPTING,
        units=(e.Unit(service, label, None, 0),),
        steps=version_set.policy.steps[-1:],
        attempt=previous.attempt + 1 if previous is not None else 1,
        cause="adoption",
        began_ms=clock.now_ms,
        queued_steady=clock.steady,
        phase_since_steady=clock.steady,
        overrides=(fact.id,),
        timeline=(e.Passage(Phase.ADOPTING, 0, 0, clock.now_ms),),
    )
    draft.put(f"set/{id_}", version_set)
    draft.put_rollout(judged_on(previous, rollout))
    draft.list_under_way(id_)
    draft.because("adopting", f"{id_}: {version_set.explanation[0]}", id_)
    draft.moved.append(id_)
    take_over(draft, rollout, f"{fact.who} has what runs there adopted: {fact.why}")
    return id_
