"""A shop's target on the cluster: template, route, commands, and the actuator over a transport of the test's choice."""

import asyncio
import time
from collections.abc import Callable, Sequence

import msgspec

from ctrlplane_stream.actuators.kubernetes.actuator import Kubernetes
from ctrlplane_stream.actuators.kubernetes.api import Cluster
from ctrlplane_stream.actuators.kubernetes.names import slug
from ctrlplane_stream.actuators.kubernetes.objects import Manifest
from ctrlplane_stream.actuators.kubernetes.place import Place, Route
from ctrlplane_stream.actuators.port import Actuator
from ctrlplane_stream.model.commands import Command, Verb
from ctrlplane_stream.model.identity import Artifact, ServiceKind, Target
from ctrlplane_stream.model.world import Capacity, Cursor, TargetObserved, TargetWanted, WantedVersion

RARELY = "0 0 29 2 *"
"""A schedule that comes round on leap days alone: by one of every night tests of that hour had a run that nobody asked for."""


def template(replicas: int = 2) -> tuple[Manifest, ...]:
    """A Deployment as users write it."""
    containers = [{"name": "cart", "image": "replaced", "ports": [{"containerPort": 8080}], "env": [{"name": "COLOUR", "value": "red"}]}]
    spec = {
        "replicas": replicas,
        "selector": {"matchLabels": {"app": "cart"}},
        "template": {"metadata": {"labels": {"app": "cart"}}, "spec": {"containers": containers, "terminationGracePeriodSeconds": 0}},
    }
    return ({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "cart", "labels": {"team": "shop"}}, "spec": spec},)


def job_template() -> tuple[Manifest, ...]:
    """A CronJob as users write it; its schedule does not come round while anybody looks."""
    containers = [{"name": "report", "image": "replaced"}]
    pods = {"metadata": {"labels": {"app": "report"}}, "spec": {"containers": containers, "restartPolicy": "Never"}}
    spec = {"schedule": RARELY, "jobTemplate": {"spec": {"backoffLimit": 0, "template": pods}}}
    return ({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "report", "labels": {"team": "shop"}}, "spec": spec},)


def run_of(cron_job: Manifest, name: str) -> Manifest:
    """The Job that a CronJob's schedule makes, or ``kubectl create job --from`` it."""
    template, metadata = cron_job["spec"]["jobTemplate"], cron_job["metadata"]
    owner = {"apiVersion": "batch/v1", "kind": "CronJob", "name": metadata["name"], "uid": metadata["uid"], "controller": True}
    made = {**template["metadata"], "name": name, "namespace": metadata["namespace"], "ownerReferences": [owner]}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": made, "spec": template["spec"]}


def running(replicas: int = 2, name: str = "cart") -> Manifest:
    """The Deployment of a user who knows nothing of us, which runs the first artifact."""
    (deployment,) = template(replicas)
    deployment["metadata"] = {"name": name, "labels": {"app.kubernetes.io/managed-by": "Helm"}}
    deployment["spec"]["selector"]["matchLabels"] = deployment["spec"]["template"]["metadata"]["labels"] = {"app": name}
    deployment["spec"]["template"]["spec"]["containers"][0]["image"] = str(artifact(name, 1))
    return deployment


def adopting(place: Place, name: str = "cart") -> Place:
    """The place, with the Deployment named that is to be adopted."""
    return msgspec.structs.replace(place, adopt=name)


def route(name: str, rules: Sequence[str]) -> Manifest:
    """An HTTPRoute with a header filter in each rule, which must survive us."""
    filters = [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x-kept", "value": "yes"}]}}]
    made = [{"name": rule, "filters": filters, "backendRefs": [{"name": "before", "port": 80}]} for rule in rules]
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name},
        "spec": {"parentRefs": [{"name": "gateway"}], "rules": made},
    }


def routed_place(namespace: str, service: str, *, replicas: int = 2, route_name: str | None = None) -> Place:
    """A place whose weights go by a route named like the service."""
    name = slug(service)
    return Place(namespace, name, template(replicas), full=replicas, route=Route(route_name or name, "main"), port=80)


def kubernetes(cluster: Cluster, *places: tuple[Target, Place], clock: Callable[[], float] = time.time) -> Kubernetes:
    """The actuator for these targets over one cluster."""
    known = dict(places)
    return Kubernetes(known.get, lambda _: cluster, clock=clock)


def artifact(service: str, number: int, behaviour: str = "well") -> Artifact:
    """An artifact whose image behaves so under the fake kubelet."""
    return Artifact(service, f"registry.example/{behaviour}", f"sha256:{number:064x}")


def version(service: str, number: int, weight: int, capacity: Capacity = Capacity.FULL, behaviour: str = "well") -> WantedVersion:
    """Version ``#number`` with that weight."""
    return WantedVersion(f"#{number}", artifact(service, number, behaviour), {"colour": f"c{number}"}, capacity, weight)


def command(
    target: Target,
    sequence: int,
    *versions: WantedVersion,
    verb: Verb = Verb.SHIFT,
    stable: str | None = "#1",
    lease: float | None = None,
    kind: ServiceKind = ServiceKind.ROUTED,
    over_edit: str | None = None,
    in_place: bool = False,
    surplus_percent: int = 0,
) -> tuple[Command, Cursor]:
    """A command and its cursor, in epoch 1; on a lease of a minute where a weight is partial and none is named."""
    partial = any(0 < each.weight < 100 for each in versions)
    seconds = lease if lease is not None or not partial else 60.0
    wanted = TargetWanted(target, kind, versions, stable, seconds, in_place=in_place, surplus_percent=surplus_percent)
    return Command(f"c{sequence}", verb, target, sequence, wanted, "the test", over_edit=over_edit), Cursor(1, sequence)


async def settled(
    actuator: Actuator, target: Target, weights: dict[str, int], seconds: float = 30.0, every: float = 0.02
) -> TargetObserved:
    """Look until the weights are these, and all instances that are to run are ready. AssertionError after ``seconds``."""
    deadline = time.monotonic() + seconds
    while True:
        seen = await actuator.observe(target)
        whole = all(each.ready == each.instances and (each.instances > 0 or each.weight == 0) for each in seen.versions)
        if whole and {each.label: each.weight for each in seen.versions} == weights:
            return seen
        assert time.monotonic() < deadline, f"never saw {weights}; last seen: {seen}"
        await asyncio.sleep(every)
