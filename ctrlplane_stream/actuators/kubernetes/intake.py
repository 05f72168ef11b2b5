"""What is looked at before a command is taken, so that what cannot be carried out is refused and not half begun."""

import msgspec

from ctrlplane_stream.actuators.kubernetes.adoption import misfit
from ctrlplane_stream.actuators.kubernetes.api import Cluster
from ctrlplane_stream.actuators.kubernetes.autoscaling import grown
from ctrlplane_stream.actuators.kubernetes.hands import Hands
from ctrlplane_stream.actuators.kubernetes.memory import Memory
from ctrlplane_stream.actuators.kubernetes.objects import Kind
from ctrlplane_stream.actuators.kubernetes.placement import Place, Route
from ctrlplane_stream.actuators.kubernetes.sight import Sight
from ctrlplane_stream.actuators.kubernetes.template import workload_of
from ctrlplane_stream.actuators.kubernetes.weights import rule_index
from ctrlplane_stream.actuators.ledger import Refusal
from ctrlplane_stream.model.commands import Command, Verb
from ctrlplane_stream.model.identity import ServiceKind
from ctrlplane_stream.model.world import WantedVersion


class Prepared(msgspec.Struct, frozen=True):
    """The memory with the place as it is to be, and with what was adopted; its ledger is still the old one."""

    memory: Memory


async def prepare(cluster: Cluster, hands: Hands, sight: Sight, memory: Memory, command: Command, place: Place) -> Prepared | Refusal:
    """The memory that the command's ledger goes into, or why the command cannot be carried out here.

    Versions that are new are tried out on the API server (dry run), whose refusal is ApiRefused. A Deployment that is
    adopted gets our labels here: harmless where the command is then not taken.
    """
    refusal = _kind(memory, command, place) or await _ways(cluster, sight, command, place)
    if refusal is not None:
        return refusal
    sized = await _sized(cluster, memory, place)
    memory = msgspec.structs.replace(memory, place=grown(sight, sized), hidden=await _hidden(cluster, place))
    for version in command.wanted.versions:
        if version.label in memory.made or version.label in memory.adopted or sight.serving(version.label) is not None:
            continue
        if command.verb is Verb.ADOPT and version.label == command.wanted.stable:
            adopted = await _adopt(cluster, hands, sight, memory, version)
            if isinstance(adopted, Refusal):
                return adopted
            memory = adopted
        else:
            await hands.try_out(msgspec.structs.replace(sight, place=memory.place), version)
    return Prepared(memory)


def _kind(memory: Memory, command: Command, place: Place) -> Refusal | None:
    kind, before = command.wanted.kind, memory.ledger.wanted
    if kind is ServiceKind.JOB and command.verb is Verb.ADOPT:
        return Refusal("a job is not adopted: suspend the CronJob that runs it now, abort this, and push the artifact")
    if (kind is ServiceKind.JOB) != (place.workload is Kind.CRON_JOB) and workload_of(place.template) is not None:
        return Refusal(
            f"{command.target} is {kind} in the catalog, and its template has a {place.workload.manifest_kind}: a job needs a CronJob"
        )
    if before is not None and before.kind is not kind:
        return Refusal(f"{command.target} is {before.kind} here and cannot become {kind}: remove its objects and its memory first")
    return None


async def _ways(cluster: Cluster, sight: Sight, command: Command, place: Place) -> Refusal | None:
    """Whether there is a way for weights, and a template for what is new."""
    if not command.wanted.versions:
        return None  # Nothing of ours is to be there, so nothing needs a way.
    if command.verb is Verb.ADOPT and place.adopt is None:
        return Refusal(f"the placement file names nothing of {command.target} to adopt: say `adopt: DEPLOYMENT` there")
    if workload_of(place.template) is None and command.verb is not Verb.ADOPT:
        return Refusal(f"no template for {command.target}: name one in the placement file")
    by_pods = place.route is None or command.wanted.kind is ServiceKind.CONSUMER or command.wanted.in_place
    if place.autoscaler is not None and by_pods:
        return Refusal(f"{command.target} takes weight by its share of Pods, which an autoscaler would move: take it out of the template")
    if command.wanted.kind in (ServiceKind.CONSUMER, ServiceKind.JOB):
        return None
    if place.route is None:
        if place.service is None:
            return Refusal(f"no way to give {command.target} weight: name a route or a service in the placement file")
        there = await cluster.get(Kind.SERVICE, place.namespace, place.service)
        return (
            None
            if there is not None
            else Refusal(f"there is no Service {place.service} in {place.namespace}: make it, or correct the placement file")
        )
    known = sight.place.route == place.route and sight.place.namespace == place.namespace
    route = sight.route if known else await cluster.get(place.route.api, place.namespace, place.route.name)
    if route is None and not await cluster.serves(place.route.api):
        return Refusal(no_gateway_api(place.route))
    if route is None or rule_index(route, place.route.rule) is None:
        return Refusal(
            f"there is no rule named {place.route.rule} in {place.route.kind} {place.namespace}/{place.route.name}: "
            "add it, or correct the placement file"
        )
    return None


def no_gateway_api(route: Route) -> str:
    """What to say of a cluster that has no such kind of route."""
    return (
        f"this cluster has no {route.kind} ({route.api.api_version}): install the Gateway API's definitions and a gateway, "
        "or name a `service` instead of the `route` in the placement file, for weights by shares of Pods"
    )


async def _sized(cluster: Cluster, memory: Memory, place: Place) -> Place:
    """The place with ``full`` filled in: as the file says, else as the adopted Deployment or the template has it."""
    if place.full is not None or place.workload is Kind.CRON_JOB:
        return msgspec.structs.replace(place, full=1) if place.workload is Kind.CRON_JOB else place
    if memory.place.full is not None and memory.made and place.autoscaler is None:
        return msgspec.structs.replace(place, full=memory.place.full)
    found = await cluster.get(Kind.DEPLOYMENT, place.namespace, place.adopt) if place.adopt is not None else None
    base = found or workload_of(place.template)
    return msgspec.structs.replace(place, full=max(1, int(base["spec"].get("replicas", 1))) if base is not None else 1)


async def _hidden(cluster: Cluster, place: Place) -> tuple[str, ...]:
    """The labels by which the shared Service chooses its Pods, in the order of their names."""
    if place.service is None:
        return ()
    there = await cluster.get(Kind.SERVICE, place.namespace, place.service)
    return tuple(sorted((there or {"spec": {}})["spec"].get("selector") or {}))


async def _adopt(cluster: Cluster, hands: Hands, sight: Sight, memory: Memory, version: WantedVersion) -> Memory | Refusal:
    name = str(memory.place.adopt)
    found = await cluster.get(Kind.DEPLOYMENT, memory.place.namespace, name)
    wrong = misfit(found, name, version)
    if wrong is not None or found is None:
        return Refusal(wrong or f"there is no Deployment {name} to adopt")
    await hands.adopt(msgspec.structs.replace(sight, place=memory.place), version, found)
    return msgspec.structs.replace(memory, adopted={**memory.adopted, version.label: name})
