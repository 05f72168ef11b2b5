"""Where a run of the script ends: all by which it is compared with the undisturbed one; no times, uids or revisions."""

import asyncio

import msgspec

from ctrlplane_stream.actuators.kubernetes.api import Cluster
from ctrlplane_stream.actuators.kubernetes.manifests import selector
from ctrlplane_stream.actuators.kubernetes.memory import Memory, read_memory
from ctrlplane_stream.actuators.kubernetes.names import memory_name
from ctrlplane_stream.actuators.kubernetes.objects import PREFIX, REVISION, SERVICE, STAMP, Kind, Manifest, annotation, label, name_of
from ctrlplane_stream.actuators.kubernetes.place import Place
from ctrlplane_stream.actuators.kubernetes.runs import told
from ctrlplane_stream.actuators.kubernetes.weights import backends
from ctrlplane_stream.model.identity import Target

_COLLECTED_SECONDS = 60.0


async def ending(cluster: Cluster, place: Place, target: Target) -> Manifest:
    """Objects, weights, cursor. Waits until what deleted versions owned was collected. Raises TimeoutError."""
    namespace, chosen = place.namespace, selector(place)
    async with asyncio.timeout(_COLLECTED_SECONDS):
        while True:
            standing, _ = await cluster.select(place.workload, namespace)
            services, _ = await cluster.select(Kind.SERVICE, namespace, chosen)
            config_maps, _ = await cluster.select(Kind.CONFIG_MAP, namespace, chosen)
            runs, _ = await cluster.select(Kind.JOB, namespace, chosen)
            if not any(_is_orphan(each, standing) for each in (*services, *config_maps, *runs)):
                break
            await asyncio.sleep(0.1)
    memory = read_memory(next(each for each in config_maps if name_of(each) == memory_name(place.slug)), target)
    workloads = [each for each in standing if label(each, SERVICE) == place.slug]
    return {
        "config maps": sorted(name_of(each) for each in config_maps),
        "stamps": len({annotation(each, STAMP) for each in workloads}),
        **_of_memory(memory),
        **(_of_jobs(workloads, runs) if place.workload is Kind.CRON_JOB else _of_deployments(workloads, services)),
        "its owner's": [_left_to_its_owner(each) for each in standing if name_of(each) == place.adopt],
        **(await _of_route(cluster, place) if place.route is not None else {"weights": memory.ledger.weights}),
    }


def _of_memory(memory: Memory) -> Manifest:
    ledger = memory.ledger
    return {
        "cursor": msgspec.to_builtins(ledger.cursor),
        "goal": ledger.goal,
        "pauses": [ledger.edited, ledger.broken_glass, ledger.lease_expired, memory.accepted],
    }


def _of_deployments(deployments: list[Manifest], services: tuple[Manifest, ...]) -> Manifest:
    return {
        "deployments": {name_of(each): [each["spec"]["replicas"], each["spec"]["template"]] for each in deployments},
        "services": {name_of(each): each["spec"]["selector"] for each in services},
    }


def _of_jobs(cron_jobs: list[Manifest], runs: tuple[Manifest, ...]) -> Manifest:
    """What was counted among it: a run that was lost, or counted twice, is seen by that."""
    counted = {name_of(each): told(each) for each in cron_jobs}
    return {
        "cron jobs": {name_of(each): each["spec"] for each in cron_jobs},
        "counted": {name: [of.ended_well, len(of.counted), of.failure] for name, of in counted.items()},
        "runs": sorted(name_of(each) for each in runs),
    }


async def _of_route(cluster: Cluster, place: Place) -> Manifest:
    assert place.route is not None
    route = await cluster.get(Kind.HTTP_ROUTE, place.namespace, place.route.name)
    assert route is not None
    rule = {key: value for key, value in route["spec"]["rules"][0].items() if key != "backendRefs"}
    return {"weights": backends(route, place.route.rule), "rule": rule}


def _left_to_its_owner(adopted: Manifest) -> Manifest:
    """What there is of a Deployment that ran before us: nothing of it may be another but its replicas, and what we wrote on it."""
    metadata = adopted["metadata"]
    ours = sorted(key for kind in ("labels", "annotations") for key in metadata.get(kind) or {} if key.startswith(PREFIX))
    return {"ours": ours, "revision": annotation(adopted, REVISION), "spec": adopted["spec"]}


def _is_orphan(manifest: Manifest, workloads: tuple[Manifest, ...]) -> bool:
    there = {each["metadata"]["uid"] for each in workloads}
    return any(owner["uid"] not in there for owner in manifest["metadata"].get("ownerReferences") or [])
