"""What a rule's backends were before its first version: what they had goes over to the versions, and no share is dropped unsaid."""

import asyncio
import re

import msgspec
import pytest
import yaml

from ctrlplane_stream.actuators.kubernetes.api import Conflict
from ctrlplane_stream.actuators.kubernetes.objects import Kind
from ctrlplane_stream.commands.checkup_kubernetes import check_kubernetes
from ctrlplane_stream.local.control_plane.scene import (
    adopting,
    command,
    route,
    routed_place,
    running,
    settled,
    template,
    version,
)
from ctrlplane_stream.model.commands import Verb
from ctrlplane_stream.model.facts import OutcomeStatus
from ctrlplane_stream.settings import Settings
from tests.kubernetes.playing import TARGET, play

SERVICE = "shop/cart"
FILTERS = [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"add": [{"name": "x-tenant", "value": "a"}]}}]
MINE = {"name": "mine", "port": 80, "weight": 9, "filters": FILTERS}
ASLEEP = {"name": "asleep", "port": 80, "weight": 0}
CANARY = {"name": "canary-of-mine", "port": 8080, "weight": 1}


def before(*references, kind: str = "HTTPRoute"):
    """The route as its owner has it."""
    made = route("shop-cart", ["main"])
    made["spec"]["rules"][0]["backendRefs"] = list(references)
    return made | {"kind": kind}


async def backends(admin, namespace, kind=Kind.HTTP_ROUTE):
    (rule,) = (await admin.get(kind, namespace, "shop-cart"))["spec"]["rules"]
    return {each["name"]: (each["weight"], each.get("filters")) for each in rule["backendRefs"]}


async def kubectl(admin, namespace, value) -> None:
    """What a person makes of the rule's backends, whatever else writes at the moment."""
    while True:
        try:
            await admin.patch(
                Kind.HTTP_ROUTE, namespace, "shop-cart", [{"op": "replace", "path": "/spec/rules/0/backendRefs", "value": value}]
            )
        except Conflict:
            await asyncio.sleep(0.01)
        else:
            return


async def told(actuator) -> str:
    """Look until an edit is told."""
    async with asyncio.timeout(30.0):
        while (seen := await actuator.observe(TARGET)).edited is None:
            await asyncio.sleep(0.02)
    return seen.edited


@pytest.mark.parametrize("verb", [Verb.SHIFT, Verb.ADOPT])
@pytest.mark.parametrize("kind", [Kind.HTTP_ROUTE, Kind.GRPC_ROUTE])
def test_the_filters_of_the_backend_before_us_go_over_to_every_version(lab, verb, kind):
    """What was done to each request of the rule is done to it whichever version answers, on the way back too; taken away, it is an edit."""
    namespace = lab.namespace()
    lab.apply([before(MINE, ASLEEP, kind=kind.manifest_kind), running()], namespace)
    place = routed_place(namespace, SERVICE)
    place = adopting(msgspec.structs.replace(place, route=msgspec.structs.replace(place.route, kind=kind.manifest_kind)))

    async def doing(actuator, admin):
        assert (await actuator.apply(*command(TARGET, 1, version(SERVICE, 1, 100), verb=verb))).status is OutcomeStatus.APPLIED
        await settled(actuator, TARGET, {"#1": 100})
        assert await backends(admin, namespace, kind) == {"shop-cart-v1": (100, FILTERS)}
        for sequence, stable in ((2, 50), (3, 100)):
            await actuator.apply(*command(TARGET, sequence, version(SERVICE, 1, stable), version(SERVICE, 2, 100 - stable)))
            seen = await settled(actuator, TARGET, {"#1": stable, "#2": 100 - stable})
            assert seen.edited is None
            there = {"shop-cart-v1": (stable, FILTERS), "shop-cart-v2": (100 - stable, FILTERS)}
            assert await backends(admin, namespace, kind) == there

    play(lab, place, doing)


def test_where_the_backend_before_us_was_does_not_go_over(lab):
    """It stood in another namespace, by a grant of that one's owner: the versions' Services do not."""
    namespace = lab.namespace()
    lab.apply([before(MINE | {"namespace": "legacy"})], namespace)

    async def doing(actuator, admin):
        await actuator.apply(*command(TARGET, 1, version(SERVICE, 1, 75), version(SERVICE, 2, 25)))
        assert (await settled(actuator, TARGET, {"#1": 75, "#2": 25})).edited is None
        (rule,) = (await admin.get(Kind.HTTP_ROUTE, namespace, "shop-cart"))["spec"]["rules"]
        ours = [{key: value for key, value in each.items() if key not in ("group", "kind", "weight")} for each in rule["backendRefs"]]
        assert ours == [{"name": f"shop-cart-v{number}", "port": 80, "filters": FILTERS} for number in (1, 2)]

    play(lab, routed_place(namespace, SERVICE), doing)


def test_a_filter_that_went_over_and_is_taken_away_or_changed_is_an_edit(lab):
    namespace = lab.namespace()
    lab.apply([before(MINE)], namespace)
    ours = {"name": "shop-cart-v1", "port": 80, "weight": 100}
    other = [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": ["x-tenant"]}}]

    async def doing(actuator, admin):
        await actuator.apply(*command(TARGET, 1, version(SERVICE, 1, 100)))
        await settled(actuator, TARGET, {"#1": 100})
        edits = (([ours], "has lost its filters"), ([ours | {"filters": other}], "has other filters"))
        for sequence, (edit, said) in enumerate(edits, 2):
            await kubectl(admin, namespace, edit)
            edited = await told(actuator)
            assert f"backend shop-cart-v1 of rule main {said}" in edited
            await actuator.apply(*command(TARGET, sequence, version(SERVICE, 1, 100), over_edit=edited))
            assert (await settled(actuator, TARGET, {"#1": 100})).edited is None
            assert await backends(admin, namespace) == {"shop-cart-v1": (100, FILTERS)}

    play(lab, routed_place(namespace, SERVICE), doing)


@pytest.mark.parametrize("verb", [Verb.PREPARE, Verb.SHIFT, Verb.ADOPT])
def test_a_rule_that_shares_its_requests_out_is_refused_before_anything_is_taken(lab, verb):
    """Somebody's tenth of the requests would go elsewhere, and nobody be told."""
    namespace = lab.namespace()
    lab.apply([before(MINE, CANARY), running()], namespace)

    async def doing(actuator, admin):
        there = await backends(admin, namespace)
        outcome = await actuator.apply(*command(TARGET, 1, version(SERVICE, 1, 100), verb=verb))
        assert outcome.status is OutcomeStatus.REFUSED
        assert "rule main of HTTPRoute" in outcome.reason
        assert "shares its requests out to mine and canary-of-mine" in outcome.reason
        assert (await actuator.observe(TARGET)).cursor is None
        assert "ctrlplane" not in str((await admin.get(Kind.DEPLOYMENT, namespace, "cart"))["metadata"]["labels"])
        assert await backends(admin, namespace) == there
        await kubectl(admin, namespace, [MINE])
        assert (await actuator.apply(*command(TARGET, 1, version(SERVICE, 1, 100), verb=verb))).status is OutcomeStatus.APPLIED

    play(lab, adopting(routed_place(namespace, SERVICE)), doing)


def test_doctor_says_what_goes_over_and_what_would_be_refused(lab, tmp_path):
    namespace = lab.namespace()
    (tmp_path / "cart.yaml").write_text(yaml.safe_dump_all(template()))
    path = tmp_path / "placement.yaml"
    services = {SERVICE: {"template": "cart.yaml", "port": 80, "route": {"name": "shop-cart", "rule": "main"}}}
    path.write_text(yaml.safe_dump({"environments": {"staging": {"namespace": namespace}}, "services": services}))

    def doctor(*references) -> str:
        lab.apply([before(*references)], namespace)
        found = asyncio.run(check_kubernetes(Settings(kubernetes_placement=str(path)), lambda _: lab.product()))
        return next(finding.line() for finding in found if finding.check == "kubernetes staging:shop/cart")

    assert re.search("^ok .*the filters of its backend go over to every version's", doctor(MINE, ASLEEP))
    assert re.search("^wrong .*shares its requests out to mine and canary-of-mine.*; leave weight to one", doctor(MINE, CANARY))
    assert re.search(r"^ok .*/shop-cart$", doctor(CANARY)), doctor(CANARY)
