"""Carries one step out, guarded by what it was decided on: where that changed meanwhile it is ``Conflict``, and nothing is written.

The guards are the fence against writers that were overtaken. A writer read the object *before* the memory. Had the
memory been replaced in between or since, the one who replaced it stamps the object with the new revision before it
reports success; the overtaken writer's ``test`` of the old stamp then fails.
"""

import msgspec

from ctrlplane_stream.actuators.kubernetes.adoption import adopted_service, is_rolled_out
from ctrlplane_stream.actuators.kubernetes.api import Cluster, Conflict
from ctrlplane_stream.actuators.kubernetes.manifests import (
    companions,
    owned_by,
    owner_annotations,
    owner_labels,
    owns,
    selector,
    service,
    service_port,
    workload,
)
from ctrlplane_stream.actuators.kubernetes.memory import Memory, memory_manifest
from ctrlplane_stream.actuators.kubernetes.objects import (
    ADOPTED_AT,
    AUTOSCALED,
    DIGEST,
    FLOOR,
    LABEL,
    MANAGED_BY,
    MANAGER,
    OWNS,
    REPLICAS,
    REVISION,
    RUNS,
    SERVICE,
    STAMP,
    TARGET,
    VERSION,
    Kind,
    Manifest,
    annotation,
    label,
    name_of,
    revision_of,
)
from ctrlplane_stream.actuators.kubernetes.runs import Told, under_way
from ctrlplane_stream.actuators.kubernetes.selectors import chooses
from ctrlplane_stream.actuators.kubernetes.sight import Sight
from ctrlplane_stream.actuators.kubernetes.sources import is_unknown, unknown
from ctrlplane_stream.actuators.kubernetes.steps import (
    Complete,
    Count,
    End,
    Floor,
    Make,
    Remember,
    Remove,
    Return,
    Scale,
    Steer,
    Step,
    Succeed,
)
from ctrlplane_stream.actuators.kubernetes.transport import ApiRefused
from ctrlplane_stream.actuators.kubernetes.weights import (
    Recorded,
    backend_name,
    carried,
    record_key,
    recorded,
    recorded_replicas,
    rule_index,
)
from ctrlplane_stream.actuators.kubernetes.weights import replicas as replicas_of
from ctrlplane_stream.model.world import WantedVersion

_ADOPTED_WITH = (TARGET, LABEL, DIGEST, AUTOSCALED, REPLICAS, ADOPTED_AT, STAMP)
"""The annotations that an adopted Deployment has of us."""


class Hands:
    """The steps over one cluster. All raise Conflict, ApiRefused and WorldUnreachable."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def carry_out(self, step: Step, sight: Sight) -> None:
        """Write what the step says, if everything is still as the sight had it."""
        match step:
            case Remember(memory):
                await self.remember(memory, sight.revision)
            case Make(version, standby):
                await self._make(sight, version, standby)
            case Complete(version):
                owner = sight.serving(version.label)
                assert owner is not None
                await self._complete(sight, version, owner)
            case Scale(name, replicas):
                await self._scale(sight, sight.workloads[name], replicas)
            case Count(name, runs):
                await self._count(sight, sight.workloads[name], runs)
            case Floor(name, replicas):
                await self._floor(sight, sight.autoscalers[name], replicas)
            case Steer(weights):
                await self._steer(sight, weights)
            case Remove() | End():
                await self._remove(sight, step)
            case Succeed() | Return():
                await self._give_back(sight, step)

    async def remember(self, memory: Memory, revision: str | None) -> str:
        """Replace the memory at that revision (None: there is none yet); its new one."""
        manifest = memory_manifest(memory, revision)
        write = self._cluster.create if revision is None else self._cluster.replace
        return revision_of(await write(Kind.CONFIG_MAP, memory.place.namespace, manifest))

    async def try_out(self, sight: Sight, version: WantedVersion) -> None:
        """Let the API server look at all that a version would be made of, and make nothing."""
        place = sight.place_of(version.label)
        made = [(place.workload, workload(place, sight.target, version)), *companions(place, sight.target, version)]
        for kind, manifest in made:
            await self._try_out(sight, kind, manifest)

    async def _try_out(self, sight: Sight, kind: Kind, manifest: Manifest) -> None:
        try:
            tried = await self._cluster.apply(kind, sight.place.namespace, manifest, dry_run=True)
        except (ApiRefused, Conflict):
            await self._not_foreign(kind, sight, name_of(manifest))  # Where that is why, it says so better.
            raise
        if tried["metadata"].get("resourceVersion"):  # One of that name is there already.
            await self._not_foreign(kind, sight, name_of(manifest))

    async def adopt(self, sight: Sight, version: WantedVersion, found: Manifest) -> None:
        """Put our labels on a running Deployment; its Pods are not touched. The guard is its whole revision.

        The Service that it is to have is tried out before.
        """
        if sight.place.route is not None:
            match = dict(found["spec"]["selector"].get("matchLabels") or {})
            await self._try_out(sight, Kind.SERVICE, service(sight.place_of(version.label), version.label, match))
        ours_too = {key: value for key, value in owner_labels(sight.place, version.label).items() if key != MANAGED_BY}
        labels = {**(found["metadata"].get("labels") or {}), **ours_too}
        ours = {
            **owner_annotations(sight.target, version),
            AUTOSCALED: "true",
            REPLICAS: str(found["spec"].get("replicas", 1)),
            ADOPTED_AT: annotation(found, REVISION) or "",
        }
        operations: list[Manifest] = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": revision_of(found)},
            {"op": "add", "path": "/metadata/labels", "value": labels},
            {"op": "add", "path": "/metadata/annotations", "value": {**(found["metadata"].get("annotations") or {}), **ours}},
        ]
        await self._cluster.patch(Kind.DEPLOYMENT, sight.place.namespace, name_of(found), operations)

    async def _make(self, sight: Sight, version: WantedVersion, standby: bool) -> None:
        if is_unknown(sight.memory, version):
            raise ApiRefused(unknown(sight.place, version))
        hidden = sight.memory.hidden if sight.memory is not None else ()
        manifest = workload(sight.place_of(version.label), sight.target, version, standby=standby, hidden=hidden)
        owned = [] if standby else await self._companions(sight, version, manifest)
        if owns(owned):
            manifest["metadata"]["annotations"][OWNS] = owns(owned)
        there = await self._not_foreign(sight.place.workload, sight, name_of(manifest))
        if there is not None and label(there, SERVICE) is None:
            await self._label_again(sight, there, manifest)
            return
        made = await self._cluster.apply(sight.place.workload, sight.place.namespace, manifest)
        await self._make_owned(sight, made, owned)

    async def _label_again(self, sight: Sight, there: Manifest, made: Manifest) -> None:
        """Put the labels back that somebody took off what we made, and nothing else: what runs of it serves on."""
        labels = {**(there["metadata"].get("labels") or {}), **made["metadata"]["labels"]}
        operations: list[Manifest] = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": revision_of(there)},
            {"op": "add", "path": "/metadata/labels", "value": labels},
        ]
        await self._cluster.patch(sight.place.workload, sight.place.namespace, name_of(there), operations)

    async def _complete(self, sight: Sight, version: WantedVersion, owner: Manifest) -> None:
        if is_rolled_out(owner):
            await self._adopt_again(sight, version, owner)
            return
        if is_unknown(sight.memory, version) and annotation(owner, STAMP) is not None:
            return  # It was whole before it was first stamped; only the memory of what it was made from is lost.
        adopted = sight.memory is not None and version.label in sight.memory.adopted
        if adopted:
            await self._make_owned(sight, owner, await adopted_service(self._cluster, sight, version, owner))
            return
        if is_unknown(sight.memory, version):
            raise ApiRefused(unknown(sight.place, version))
        owned = await self._companions(sight, version, owner)
        await self._make_owned(sight, owner, owned)
        if owns(owned) != (annotation(owner, OWNS) or ""):  # Whoever made it did not find the same budgets of others there.
            said = {"op": "add", "path": _at(OWNS), "value": owns(owned)}
            await self._cluster.patch(sight.place.workload, sight.place.namespace, name_of(owner), [*_guard(owner, OWNS), said])

    async def _adopt_again(self, sight: Sight, version: WantedVersion, owner: Manifest) -> None:
        """Have the Service of an adopted version choose the Pods that its owner has it run by now. Noted last, so that it is done again by
        whoever finds it half done."""
        for kind, manifest in await adopted_service(self._cluster, sight, version, owner):
            await self._not_foreign(kind, sight, name_of(manifest))
            await self._cluster.apply(kind, sight.place.namespace, owned_by(owner, sight.place.workload, manifest))
        noted: list[Manifest] = [
            {"op": "test", "path": _at(REVISION), "value": annotation(owner, REVISION)},
            {"op": "add", "path": _at(ADOPTED_AT), "value": annotation(owner, REVISION)},
        ]
        await self._cluster.patch(Kind.DEPLOYMENT, sight.place.namespace, name_of(owner), noted)

    async def _companions(self, sight: Sight, version: WantedVersion, owner: Manifest) -> list[tuple[Kind, Manifest]]:
        """What the version's Deployment or CronJob is to own here."""
        made = companions(sight.place_of(version.label), sight.target, version)
        if any(kind is Kind.DISRUPTION_BUDGET for kind, _ in made) and await self._has_budget(sight, owner):
            return [(kind, each) for kind, each in made if kind is not Kind.DISRUPTION_BUDGET]
        return made

    async def _make_owned(self, sight: Sight, owner: Manifest, owned: list[tuple[Kind, Manifest]]) -> None:
        """Make what is not there, and own again what lost its owner. What is owned stays as it is, for whoever edited it was told of."""
        replaced = sight.memory.replaced if sight.memory is not None else {}
        for kind, manifest in owned:
            there = await self._not_foreign(kind, sight, name_of(manifest))
            if kind is Kind.SERVICE and there is not None and annotation(manifest, LABEL) in replaced:
                continue  # it chooses what was adopted, which serves until what is made here is ready
            if there is None or not _is_owned(there, owner):
                await self._cluster.apply(kind, sight.place.namespace, owned_by(owner, sight.place.workload, manifest))

    async def _has_budget(self, sight: Sight, owner: Manifest) -> bool:
        """Whether a disruption budget of somebody else's holds for the Pods already: a second one would forbid every eviction."""
        budgets, _ = await self._cluster.select(Kind.DISRUPTION_BUDGET, sight.place.namespace)
        labels = owner["spec"]["template"]["metadata"]["labels"]
        return any(label(each, SERVICE) is None and chooses(each["spec"].get("selector"), labels) for each in budgets)

    async def _scale(self, sight: Sight, of: Manifest, replicas: int | None) -> None:
        """Without ``replicas`` those that are there are recorded as ours where they are others: somebody who may set them did, or they were
        told and gone over, and what that one makes of them next is another edit."""
        operations = _guard(of, STAMP)
        operations.append({"op": "add", "path": _at(STAMP), "value": sight.revision})
        is_job, spec = sight.place.workload is Kind.CRON_JOB, of["spec"]
        path, there = ("/spec/suspend", spec.get("suspend", False)) if is_job else ("/spec/replicas", spec.get("replicas", 1))
        if replicas is not None:
            if is_job and replicas:
                await self._runs_alone(sight, of)
            operations.append({"op": "add", "path": path, "value": replicas == 0 if is_job else replicas})
        set_by_us = replicas_of(of) if replicas is None else replicas
        if replicas is not None or recorded_replicas(of) not in (None, set_by_us):
            operations.insert(0, {"op": "test", "path": path, "value": there})
            operations.append({"op": "add", "path": _at(REPLICAS), "value": str(set_by_us)})
        await self._cluster.patch(sight.place.workload, sight.place.namespace, name_of(of), operations)

    async def _runs_alone(self, sight: Sight, cron_job: Manifest) -> None:
        """Conflict where a run of another version is under way after all: the list in sight may be older than the moment at which the
        others were suspended, and this one is not."""
        newest, _ = await self._cluster.select(Kind.JOB, sight.place.namespace, selector(sight.place))
        others = set(under_way(msgspec.structs.replace(sight, runs=newest))) - {label(cron_job, VERSION)}
        if others:
            raise Conflict(f"{name_of(cron_job)} cannot begin yet: a run of {', '.join(sorted(others))} is under way")

    async def _count(self, sight: Sight, cron_job: Manifest, runs: Told) -> None:
        """The guard is what was counted before, so that no run counts twice."""
        written = {"op": "add", "path": _at(RUNS), "value": msgspec.json.encode(runs).decode()}
        await self._cluster.patch(Kind.CRON_JOB, sight.place.namespace, name_of(cron_job), [*_guard(cron_job, RUNS), written])

    async def _floor(self, sight: Sight, autoscaler: Manifest, replicas: int) -> None:
        operations: list[Manifest] = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": revision_of(autoscaler)},
            {"op": "add", "path": "/spec/minReplicas", "value": replicas},
            {"op": "add", "path": _at(FLOOR), "value": str(replicas)},
        ]
        await self._cluster.patch(Kind.AUTOSCALER, sight.place.namespace, name_of(autoscaler), operations)

    async def _steer(self, sight: Sight, weights: dict[str, int]) -> None:
        rule, route = sight.place.route, sight.route
        assert rule is not None
        if route is None or (index := rule_index(route, rule.rule)) is None:
            raise ApiRefused(f"{rule.kind} {rule.name} has no rule named {rule.rule}: add it, or correct the placement file")
        key = record_key(sight.place.slug)
        ports = dict.fromkeys(weights, service_port(sight.place))
        ports |= {name: service_port(sight.place_of(of)) for of in sight.labels() if (name := backend_name(sight, of)) in weights}
        last = recorded(route, sight.place.slug)
        more = last.more if last is not None else carried(route, rule.rule)
        references = [{"name": name, "port": ports[name], "weight": weight, **more} for name, weight in weights.items()]
        record = msgspec.json.encode(Recorded(weights, sight.revision or "", ports=ports, more=more)).decode()
        place = f"/spec/rules/{index}"
        before = route["spec"]["rules"][index].get("backendRefs")
        operations = [
            *_guard(route, key),
            {"op": "test", "path": f"{place}/name", "value": rule.rule},
            {"op": "test", "path": f"{place}/backendRefs", "value": before},
            {"op": "add", "path": f"{place}/backendRefs", "value": references},
            {"op": "add", "path": _at(key), "value": record},
        ]
        await self._cluster.patch(rule.api, sight.place.namespace, rule.name, operations)

    async def _remove(self, sight: Sight, step: Remove | End) -> None:
        """The guard is the whole revision: what changed in any way is looked at again first."""
        kind = sight.place.workload if isinstance(step, Remove) else Kind.JOB
        gone = sight.workloads[step.deployment] if isinstance(step, Remove) else next(job for job in sight.runs if name_of(job) == step.job)
        metadata = gone["metadata"]
        await self._cluster.delete(kind, sight.place.namespace, metadata["name"], metadata["uid"], metadata["resourceVersion"])

    async def _give_back(self, sight: Sight, step: Succeed | Return) -> None:
        """The Service first, so that its requests always have somewhere to go. What it has chosen until then is known by its name, for its
        owner may have taken our labels off it."""
        if isinstance(step, Return):
            await self._return(sight, sight.workloads[step.deployment])
            return
        owner = sight.serving(step.label)
        version = next((each for each in sight.listed if each.label == step.label), None)
        made = companions(sight.place_of(step.label), sight.target, version) if version is not None else []
        for kind, manifest in made:
            if owner is not None and kind is Kind.SERVICE:
                await self._not_foreign(kind, sight, name_of(manifest))
                await self._cluster.apply(kind, sight.place.namespace, owned_by(owner, sight.place.workload, manifest))
        former = await self._cluster.get(Kind.DEPLOYMENT, sight.place.namespace, step.deployment)
        if former is not None:
            await self._return(sight, former, replicas=0)

    async def _return(self, sight: Sight, deployment: Manifest, replicas: int | None = None) -> None:
        """The guard is the whole revision, as where it was adopted. ``replicas``: with so many."""
        metadata = deployment["metadata"]
        ours = (*owner_labels(sight.place, ""), *_ADOPTED_WITH)
        paths = {f"/metadata/{kind}/": (metadata.get(kind) or {}) for kind in ("labels", "annotations")}
        operations: list[Manifest] = [{"op": "test", "path": "/metadata/resourceVersion", "value": revision_of(deployment)}]
        for path, there in paths.items():
            operations += [{"op": "remove", "path": path + _escaped(key)} for key in ours if key in there and key != MANAGED_BY]
        if replicas is not None:
            operations.append({"op": "add", "path": "/spec/replicas", "value": replicas})
        await self._cluster.patch(Kind.DEPLOYMENT, sight.place.namespace, metadata["name"], operations)

    async def _not_foreign(self, kind: Kind, sight: Sight, name: str) -> Manifest | None:
        """The object of that name, if there is one. ApiRefused where it is not ours: nothing else is ever touched."""
        there = await self._cluster.get(kind, sight.place.namespace, name)
        if there is None:
            return None
        if label(there, SERVICE) != sight.place.slug and not _is_of_our_hand(there):
            raise ApiRefused(f"{kind.manifest_kind} {name} exists and is not ours: rename it, or give the service another `name`")
        if there["metadata"].get("deletionTimestamp"):
            raise Conflict(f"{kind.manifest_kind} {name} is still being deleted")
        return there


def _is_of_our_hand(manifest: Manifest) -> bool:
    """Whether an object has no label of ours any more and was applied by us: somebody took them off. What is another service's has some."""
    entries = manifest["metadata"].get("managedFields") or []
    applied = any(each.get("manager") == MANAGER and each.get("operation") == "Apply" for each in entries)
    return applied and label(manifest, SERVICE) is None


def _is_owned(manifest: Manifest, owner: Manifest) -> bool:
    return any(each.get("uid") == owner["metadata"]["uid"] for each in manifest["metadata"].get("ownerReferences") or [])


def _at(key: str) -> str:
    """The JSON pointer of an annotation."""
    return "/metadata/annotations/" + _escaped(key)


def _escaped(key: str) -> str:
    """A key as one part of a JSON pointer."""
    return key.replace("~", "~0").replace("/", "~1")


def _guard(manifest: Manifest, key: str) -> list[Manifest]:
    """Tests that an annotation is as it was seen; where there are none at all, of the whole revision, and makes room for one."""
    if manifest["metadata"].get("annotations"):
        return [{"op": "test", "path": _at(key), "value": annotation(manifest, key)}]
    return [
        {"op": "test", "path": "/metadata/resourceVersion", "value": revision_of(manifest)},
        {"op": "add", "path": "/metadata/annotations", "value": {}},
    ]
