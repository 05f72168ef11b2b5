"""The checks of ``doctor`` for what lives on Kubernetes: may we do what we must, is there a way for weights, who puts them back?"""

from pathlib import Path

from ctrlplane_stream.actuators.kubernetes.api import Cluster
from ctrlplane_stream.actuators.kubernetes.chosen import besides, exposed, pod_labels, rival, unserved
from ctrlplane_stream.actuators.kubernetes.composition import Connect, connect
from ctrlplane_stream.actuators.kubernetes.intake import named_twice, no_gateway_api, shared_out
from ctrlplane_stream.actuators.kubernetes.manifests import selector
from ctrlplane_stream.actuators.kubernetes.objects import Kind, Manifest, name_of
from ctrlplane_stream.actuators.kubernetes.place import Place
from ctrlplane_stream.actuators.kubernetes.placement import PlacementError, Placements, read_placements
from ctrlplane_stream.actuators.kubernetes.rights import lacking, needed
from ctrlplane_stream.actuators.kubernetes.template import workload_of
from ctrlplane_stream.actuators.kubernetes.transport import ApiRefused
from ctrlplane_stream.actuators.kubernetes.weights import carried, is_named_twice, recorded, rule_index
from ctrlplane_stream.actuators.port import WorldUnreachable
from ctrlplane_stream.commands.checkup_routes import check_route
from ctrlplane_stream.commands.checkup_syncs import check_syncs
from ctrlplane_stream.commands.findings import Finding, note, ok, wrong
from ctrlplane_stream.model.identity import Target
from ctrlplane_stream.settings import Settings

Places = list[tuple[Target, Place]]


async def check_kubernetes(settings: Settings, connect: Connect = connect) -> list[Finding]:
    """Findings for each namespace, for each target's way for weights and what syncs it, and for each route that is one. Changes nothing."""
    try:
        placements = read_placements(Path(settings.kubernetes_placement))
    except PlacementError as error:
        return [wrong("kubernetes", str(error), "correct the placement file")]
    found: list[Finding] = []
    for context, namespace in placements.namespaces():
        places = [each for each in placements.all() if (each[1].context, each[1].namespace) == (context, namespace)]
        check = f"kubernetes {context or 'current context'}/{namespace}"
        try:
            async with connect(context) as cluster:
                found += await _check_rights(cluster, check, namespace, placements)
                found += await _check_ways(cluster, check, places)
                found += await check_syncs(cluster, check, places)
        except (WorldUnreachable, ApiRefused) as error:
            found.append(wrong(check, str(error), "see that it runs, and that the kubeconfig or the Pod's account is good"))
    return found


async def _check_rights(cluster: Cluster, check: str, namespace: str, placements: Placements) -> list[Finding]:
    rules, whole = await cluster.own_rules(namespace)
    missing = ", ".join(map(str, lacking(rules, needed(placements))))
    if not missing:
        return [ok(check, "we may do everything that we must")]
    remedy = "apply deploy/namespaced in that namespace, or run `ctrlplane-stream install`"
    if not whole:
        return [note(check, f"the cluster does not tell of every right, and names none to {missing}", remedy)]
    return [wrong(check, f"we may not {missing}", remedy)]


async def _check_ways(cluster: Cluster, check: str, places: Places) -> list[Finding]:
    """Gateway API is wrong to miss; a route or Service may be missing because the catalog has no such service there."""
    found: list[Finding] = []
    kinds = {place.route.api: place.route for _, place in places if place.route is not None}
    absent = {kind for kind in kinds if not await cluster.serves(kind)}
    found += [wrong(check, *no_gateway_api(kinds[kind]).split(": ", 1)) for kind in sorted(absent, key=str)]
    for target, place in places:
        if place.route is None or place.route.api not in absent:
            found += await _check_way(cluster, target, place)
    routes = {(place.route.kind, place.namespace, place.route.name): place.route.api for _, place in places if place.route is not None}
    for (kind, namespace, name), api in sorted(routes.items(), key=lambda each: each[0]):
        route = await cluster.get(api, namespace, name) if api not in absent else None
        found += check_route(kind, route) if route is not None else []
    return found


async def _check_way(cluster: Cluster, target: Target, place: Place) -> list[Finding]:
    check, remedy = f"kubernetes {target}", "make it, or correct the placement file: until then commands for this target are refused"
    if place.route is not None:
        route = await cluster.get(place.route.api, place.namespace, place.route.name)
        what = f"{place.route.kind} {place.namespace}/{place.route.name}"
        if route is not None and is_named_twice(route, place.route.rule):
            return [wrong(check, *named_twice(place, place.route).split(": "))]
        if route is None or rule_index(route, place.route.rule) is None:
            return [note(check, f"there is no rule named {place.route.rule} in {what}", remedy)]
        shared, base = shared_out(place, place.route, route), workload_of(place.template)
        if shared is not None:
            return [wrong(check, *shared.split(": "))]
        said = await rival(cluster, place, pod_labels(base)) if base is not None and place.workload is Kind.DEPLOYMENT else None
        going = "" if recorded(route, place.slug) is not None else _going_over(carried(route, place.route.rule))
        return [wrong(check, *said.split(": ")) if said else ok(check, f"weights by the rule {place.route.rule} of {what}{going}")]
    if place.service is None:
        return [ok(check, "weights by shares of Pods, as a consumer")]
    there = await cluster.get(Kind.SERVICE, place.namespace, place.service)
    if there is None:
        return [note(check, f"there is no Service {place.service} in {place.namespace}", remedy)]
    base = workload_of(place.template)
    own = {name_of(each) for each in (await cluster.select(Kind.DEPLOYMENT, place.namespace, selector(place)))[0]}
    said = unserved(there, pod_labels(base), "the template's Pods") if base is not None else None
    said = said or await besides(cluster, place, there, own or {place.adopt or ""}) or await exposed(cluster, place, there)
    return [wrong(check, *said.split(": ")) if said else ok(check, f"weights by shares of Pods behind Service {place.service}")]


def _going_over(more: Manifest) -> str:
    """What the backend before us has that every version's will have, in words."""
    return f"; the {', '.join(sorted(more))} of its backend go over to every version's" if more else ""
