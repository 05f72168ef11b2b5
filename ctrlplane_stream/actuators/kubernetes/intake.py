"""What is looked at before a command is taken, so that what cannot be carried out is refused and not half begun."""

import msgspec

from ctrlplane_stream.actuators.kubernetes.adoption import misfit
from ctrlplane_stream.actuators.kubernetes.api import Cluster
from ctrlplane_stream.actuators.kubernetes.autoscaling import grown
from ctrlplane_stream.actuators.kubernetes.chosen import besides, pod_labels, rival, unserved
from ctrlplane_stream.actuators.kubernetes.hands import Hands
from ctrlplane_stream.actuators.kubernetes.manifests import workload
from ctrlplane_stream.actuators.kubernetes.memory import Memory
from ctrlplane_stream.actuators.kubernetes.objects import Kind, Manifest
from ctrlplane_stream.actuators.kubernetes.place import Place, Route
from ctrlplane_stream.actuators.kubernetes.sight import Sight
from ctrlplane_stream.actuators.kubernetes.sources import fitted, is_unknown, place_of, unknown, with_source, without_files
from ctrlplane_stream.actuators.kubernetes.template import workload_of
from ctrlplane_stream.actuators.kubernetes.weights import is_named_twice, recorded, rule_index, serving, was_steered
from ctrlplane_stream.actuators.ledger import Refusal
from ctrlplane_stream.actuators.wanted import is_abort, retreats
from ctrlplane_stream.model.commands import Command, Verb
from ctrlplane_stream.model.identity import ServiceKind
from ctrlplane_stream.model.world import Capacity, WantedVersion


class Prepared(msgspec.Struct, frozen=True):
    """The memory with the place as it is to be, and with what was adopted; its ledger is still the old one."""

    memory: Memory


async def prepare(cluster: Cluster, hands: Hands, sight: Sight, memory: Memory, command: Command, place: Place) -> Prepared | Refusal:
    """The memory that the command's ledger goes into, or why the command cannot be carried out here.

    Versions that are to be made are tried out on the API server (dry run), whose refusal is ApiRefused. A Deployment that is
    adopted gets our labels here: harmless where the command is then not taken. A command that makes nothing needs no template,
    and what no version of ours is there for needs no way: an abort must get through where a release did not.
    """
    there = [version for version in command.wanted.versions if _is_there(sight, memory, version)]
    making = [version for version in command.wanted.versions if version not in there and _is_to_be_made(command, version)]
    if not making and memory.place.template:
        place = msgspec.structs.replace(place, template=memory.place.template, named=memory.place.named)
    memory = _with_sources(memory, place, [*there, *making])
    running = _running(memory, command, place)
    refusal = (_untemplated(command, place) if making else None) or (
        _kind(memory, command, place) or await _ways(cluster, sight, command, place, running) if there or making else None
    )
    if refusal is not None:
        return refusal
    sized = await _sized(cluster, memory, command, place)
    shared = await cluster.get(Kind.SERVICE, place.namespace, place.service) if place.service is not None else None
    passed_by = await _passed_by(cluster, sight, memory, command, shared) if place.route is None else None
    if passed_by is not None:
        return Refusal(passed_by)
    memory = msgspec.structs.replace(memory, place=grown(sight, sized, running), hidden=_hidden(shared))
    kept = fitted(memory, (version.label for version in command.wanted.versions))
    if isinstance(kept, Memory):
        return await _prepared(cluster, hands, sight, kept, command, making, shared)
    return Refusal(kept) if making else Prepared(without_files(memory))


async def _prepared(
    cluster: Cluster, hands: Hands, sight: Sight, memory: Memory, command: Command, making: list[WantedVersion], shared: Manifest | None
) -> Prepared | Refusal:
    """The memory once all that is to be made was tried out, and what is to be adopted was."""
    for version in making:
        if is_unknown(memory, version):
            return Refusal(unknown(memory.place, version))
        if command.verb is Verb.ADOPT and version.label == command.wanted.stable:
            adopted = await _adopt(cluster, hands, sight, memory, version, shared)
            if isinstance(adopted, Refusal):
                return adopted
            memory = adopted
        else:
            wrong = await _unchosen(cluster, sight, place_of(memory, memory.place, version.label), version, shared)
            if wrong is not None:
                return Refusal(wrong)
            await hands.try_out(msgspec.structs.replace(sight, place=memory.place, memory=memory), version)
    return Prepared(memory)


def _is_there(sight: Sight, memory: Memory, version: WantedVersion) -> bool:
    return version.label in memory.made or version.label in memory.adopted or sight.serving(version.label) is not None


def _is_to_be_made(command: Command, version: WantedVersion) -> bool:
    """Whether a version that is not there is to be: not to be parked, and of an abort what takes the traffic back alone."""
    return version.capacity is not Capacity.PARKED and (version.weight > 0 or not is_abort(command))


def _with_sources(memory: Memory, place: Place, versions: list[WantedVersion]) -> Memory:
    """The memory with the source of each version that has one, as far as it is known."""
    for version in versions:
        memory = with_source(memory, place, version)
    return memory


def _running(memory: Memory, command: Command, place: Place) -> list[Place]:
    """The place as each version is made there that is to run; as it is where none is."""
    labels = [version.label for version in command.wanted.versions if version.capacity is not Capacity.PARKED]
    return [place_of(memory, place, label) for label in labels] or [place]


async def _unchosen(cluster: Cluster, sight: Sight, place: Place, version: WantedVersion, shared: Manifest | None) -> str | None:
    """Why the Pods that a new version would have are not chosen as they must be, or None."""
    if place.workload is Kind.CRON_JOB:
        return None
    labels = pod_labels(workload(place, sight.target, version))
    return unserved(shared, labels, "the template's Pods") or await rival(cluster, place, labels)


async def _passed_by(cluster: Cluster, sight: Sight, memory: Memory, command: Command, shared: Manifest | None) -> str | None:
    """Why Pods would not get just the weight that the command gives them, since their Service chooses others by now, or others besides; or
    None. What moves all back moves Pods alone."""
    if is_abort(command) or command.wanted.kind is not ServiceKind.ROUTED:
        return None
    weighty = [(each.label, sight.serving(each.label)) for each in command.wanted.versions if each.weight]
    said = [unserved(shared, pod_labels(there), f"the Pods of {label}") for label, there in weighty if there is not None]
    beside = None if retreats(command.wanted) else await besides(cluster, sight.place, shared, memory.adopted.values())
    return next(filter(None, said), beside)


def _untemplated(command: Command, place: Place) -> Refusal | None:
    if workload_of(place.template) is not None or command.verb is Verb.ADOPT:
        return None
    return Refusal(f"no template for {command.target}: name one in the placement file")


def _kind(memory: Memory, command: Command, place: Place) -> Refusal | None:
    kind, before = command.wanted.kind, memory.ledger.wanted
    if kind is ServiceKind.JOB and command.verb is Verb.ADOPT:
        return Refusal("a job is not adopted: suspend the CronJob that runs it now, abort this, and push the artifact")
    if (kind is ServiceKind.JOB) != (place.workload is Kind.CRON_JOB) and workload_of(place.template) is not None:
        return Refusal(
            f"{command.target} is {kind} in the catalog, and its template has a {place.workload.manifest_kind}: a job needs a CronJob"
        )
    for version in command.wanted.versions:
        made = place_of(memory, place, version.label).workload
        if made is not place.workload:
            text = f"the template of {version.label} has a {made.manifest_kind}, and the placement's a {place.workload.manifest_kind}"
            return Refusal(f"{text}: {command.target} has one kind for ever, so give what is of the other a service of its own")
    if before is not None and before.kind is not kind:
        return Refusal(f"{command.target} is {before.kind} here and cannot become {kind}: remove its objects and its memory first")
    return None


async def _ways(cluster: Cluster, sight: Sight, command: Command, place: Place, running: list[Place]) -> Refusal | None:
    """Whether there is a way for weights."""
    if command.verb is Verb.ADOPT and place.adopt is None:
        return Refusal(f"the placement file names nothing of {command.target} to adopt: say `adopt: DEPLOYMENT` there")
    by_pods = place.route is None or command.wanted.kind is ServiceKind.CONSUMER or command.wanted.in_place
    if by_pods and any(each.autoscaler is not None for each in running):
        return Refusal(f"{command.target} takes weight by its share of Pods, which an autoscaler would move: take it out of the template")
    back_by_pods = is_abort(command) and place.route is None and sight.place.route is None  # takes nothing but Pods
    if back_by_pods or command.wanted.kind in (ServiceKind.CONSUMER, ServiceKind.JOB):
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
    return await _steerable(cluster, sight, command, place, place.route)


async def _steerable(cluster: Cluster, sight: Sight, command: Command, place: Place, of: Route) -> Refusal | None:
    """Whether the rule is there, and is one. An abort is not kept from the one that we steered by a copy of it."""
    known = sight.place.route == of and sight.place.namespace == place.namespace
    route = sight.route if known else await cluster.get(of.api, place.namespace, of.name)
    if route is None and not await cluster.serves(of.api):
        return Refusal(no_gateway_api(of))
    if route is None or rule_index(route, of.rule) is None:
        return Refusal(no_rule(place, of, route))
    if is_named_twice(route, of.rule) and not is_abort(command):
        return Refusal(named_twice(place, of))
    ours = known and was_steered(sight)
    shared = None if ours or command.verb in (Verb.PARK, Verb.DELETE) else shared_out(place, of, route)
    return Refusal(shared) if shared is not None else None


def shared_out(place: Place, of: Route, route: Manifest) -> str | None:
    """Why a rule that was never steered cannot be: it has several backends with weight, of which we would not leave any; or None."""
    there = serving(route, of.rule)
    if recorded(route, place.slug) is not None or len(there) < 2:
        return None
    return (
        f"rule {of.rule} of {of.kind} {place.namespace}/{of.name} shares its requests out to {' and '.join(there)}, and version 1 would "
        "get all of them: leave weight to one of these alone, or give the others a rule of their own"
    )


def no_rule(place: Place, of: Route, route: Manifest | None) -> str:
    """What to say where nothing steers the target's traffic: not even the route is there (None), or not its rule."""
    what = f"{of.kind} {place.namespace}/{of.name}"
    if route is None:
        return f"there is no {what}: make it, with a rule named {of.rule}, or correct the placement file"
    return f"there is no rule named {of.rule} in {what}: add it, or correct the placement file"


def named_twice(place: Place, of: Route) -> str:
    """What to say of a route with two rules of the name of ours."""
    return (
        f"{of.kind} {place.namespace}/{of.name} has more than one rule named {of.rule}, of which only the first would be steered: "
        "give each a name of its own"
    )


def no_gateway_api(route: Route) -> str:
    """What to say of a cluster that has no such kind of route."""
    return (
        f"this cluster has no {route.kind} ({route.api.api_version}): install the Gateway API's definitions and a gateway, "
        "or name a `service` instead of the `route` in the placement file, for weights by shares of Pods"
    )


async def _sized(cluster: Cluster, memory: Memory, command: Command, place: Place) -> Place:
    """The place with ``full`` filled in: as the file says, else as the adopted Deployment or the template has it.

    Where versions that run are made from other templates: as the one that has most.
    """
    if place.full is not None or place.workload is Kind.CRON_JOB:
        return msgspec.structs.replace(place, full=1) if place.workload is Kind.CRON_JOB else place
    labels = [version.label for version in command.wanted.versions if version.capacity is not Capacity.PARKED]
    sizes = [_replicas(workload_of(place_of(memory, place, label).template)) for label in labels if label in memory.sources]
    if place.adopt is None and sizes and len(sizes) == len(labels):
        return msgspec.structs.replace(place, full=max(sizes))
    if memory.place.full is not None and memory.made and place.autoscaler is None:
        return msgspec.structs.replace(place, full=max(memory.place.full, *sizes, 1))
    found = await cluster.get(Kind.DEPLOYMENT, place.namespace, place.adopt) if place.adopt is not None else None
    return msgspec.structs.replace(place, full=max(_replicas(found or workload_of(place.template)), *sizes, 1))


def _replicas(base: Manifest | None) -> int:
    """The Pods of a Deployment, at least one."""
    return max(1, int(base["spec"].get("replicas", 1))) if base is not None else 1


def _hidden(shared: Manifest | None) -> tuple[str, ...]:
    """The labels by which the shared Service chooses its Pods, in the order of their names."""
    return tuple(sorted(shared["spec"].get("selector") or {})) if shared is not None else ()


async def _adopt(
    cluster: Cluster, hands: Hands, sight: Sight, memory: Memory, version: WantedVersion, shared: Manifest | None
) -> Memory | Refusal:
    name = str(memory.place.adopt)
    found = await cluster.get(Kind.DEPLOYMENT, memory.place.namespace, name)
    wrong = misfit(found, name, version)
    if wrong is None and found is not None:
        wrong = unserved(shared, pod_labels(found), f"the Pods of Deployment {name}")
    own = place_of(memory, memory.place, version.label)
    base = workload_of(own.template)
    if wrong is None and base is not None:
        wrong = await rival(cluster, own, pod_labels(base))
    if wrong is not None or found is None:
        return Refusal(wrong or f"there is no Deployment {name} to adopt")
    await hands.adopt(msgspec.structs.replace(sight, place=memory.place, memory=memory), version, found)
    return msgspec.structs.replace(memory, adopted={**memory.adopted, version.label: name})
