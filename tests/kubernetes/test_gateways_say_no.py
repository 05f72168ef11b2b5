"""A gateway that does not do what the route says: its controller writes so into the route's status, and no weight is believed."""

import asyncio

import yaml

from ctrlplane_stream.actuators.kubernetes.composition import PlacedKubernetes
from ctrlplane_stream.actuators.kubernetes.objects import Kind
from ctrlplane_stream.actuators.kubernetes.transport import HttpTransport, Request
from ctrlplane_stream.commands.checkup_kubernetes import check_kubernetes
from ctrlplane_stream.local.control_plane.scene import command, kubernetes, route, routed_place, settled, template, version
from ctrlplane_stream.model.identity import Target
from ctrlplane_stream.settings import Settings

SERVICE = "shop/cart"
TARGET = Target("staging", SERVICE)
NO_LISTENER = "HTTPRoute shop-cart is not accepted by Gateway gateway: NoMatchingListenerHostname: no listener takes shop.example"


async def say(lab, namespace, **conditions: tuple[str, str, str]) -> None:
    """What a gateway's controller does: the conditions of its parent, at the generation that it has seen."""
    transport = HttpTransport(lab.admin_access)
    path = Kind.HTTP_ROUTE.path(namespace, "shop-cart")
    said = [
        {
            "type": kind,
            "status": status,
            "reason": reason,
            "message": message,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
            "observedGeneration": 1,
        }
        for kind, (status, reason, message) in conditions.items()
    ]
    parents = [{"parentRef": {"name": "gateway"}, "controllerName": "example.com/gateway", "conditions": said}]
    reply = await transport.send(Request("PATCH", path + "/status", {}, {"status": {"parents": parents}}, "application/merge-patch+json"))
    await transport.close()
    assert reply.status == 200, reply


async def shown(actuator, expected: str | None) -> None:
    """Wait until the actuator says this of the weights."""
    async with asyncio.timeout(30.0):
        while (await actuator.observe(TARGET)).not_in_force != expected:
            await asyncio.sleep(0.02)


def test_a_route_that_a_gateway_does_not_accept_is_told_with_its_words_until_it_does(lab):
    """By fresh reads and by a copy that watches alike; the weights are told as the object has them, and the cursor is taken."""
    namespace = lab.namespace()
    lab.apply([route("shop-cart", ["main"])], namespace)

    class Placed:
        """The places of a file, of which this one target is all."""

        def place(self, target):
            return routed_place(namespace, SERVICE)

        def kinds(self):
            return frozenset({Kind.HTTP_ROUTE})

    async def run() -> None:
        async with lab.product() as cluster:
            fresh, watching = (
                kubernetes(cluster, (TARGET, routed_place(namespace, SERVICE))),
                PlacedKubernetes(Placed(), lambda _: lab.product()),
            )
            await fresh.apply(*command(TARGET, 1, version(SERVICE, 1, 100)))
            await settled(fresh, TARGET, {"#1": 100})
            await shown(fresh, None)  # Nobody has looked at the route: that says nothing.
            await say(lab, namespace, Accepted=("False", "NoMatchingListenerHostname", "no listener takes shop.example"))
            for each in (fresh, watching):
                await shown(each, NO_LISTENER)
            seen = await fresh.observe(TARGET)
            assert ([version.weight for version in seen.versions], seen.edited) == ([100], None), seen
            await say(lab, namespace, Accepted=("True", "Accepted", ""), ResolvedRefs=("False", "BackendNotFound", "no Service before"))
            for each in (fresh, watching):
                await shown(
                    each, "HTTPRoute shop-cart has a backend that is not found by Gateway gateway: BackendNotFound: no Service before"
                )
            await say(lab, namespace, Accepted=("True", "Accepted", ""), ResolvedRefs=("True", "ResolvedRefs", ""))
            for each in (fresh, watching):
                await shown(each, None)
            await watching.close()

    asyncio.run(run())


def test_doctor_says_of_a_route_what_its_gateways_say_and_what_to_do(lab, tmp_path):
    """Once a route, however many targets go by it."""
    namespace = lab.namespace()
    lab.apply([route("shop-cart", ["main", "other"])], namespace)
    (tmp_path / "cart.yaml").write_text(yaml.safe_dump_all(template()))
    services = {
        f"shop/{name}": {"template": "cart.yaml", "port": 80, "route": {"name": "shop-cart", "rule": rule}}
        for name, rule in (("cart", "main"), ("orders", "other"))
    }
    path = tmp_path / "placement.yaml"
    path.write_text(yaml.safe_dump({"environments": {"staging": {"namespace": namespace}}, "services": services}))
    check = f"kubernetes HTTPRoute {namespace}/shop-cart"

    def doctor(**conditions: tuple[str, str, str]) -> list[str]:
        asyncio.run(say(lab, namespace, **conditions))
        found = asyncio.run(check_kubernetes(Settings(kubernetes_placement=str(path)), lambda _: lab.product()))
        return [finding.line() for finding in found if finding.check.startswith("kubernetes HTTPRoute")]

    until = "until then its weights are not in force, and rollouts by it hold"
    accepted, resolved = ("True", "Accepted", ""), ("True", "ResolvedRefs", "")
    assert doctor(Accepted=accepted, ResolvedRefs=resolved) == [f"ok     {check}: accepted by Gateway gateway"]
    (not_let_in,) = doctor(Accepted=("False", "NotAllowedByListeners", "not from here"), ResolvedRefs=resolved)
    assert not_let_in == (
        f"wrong  {check}: is not accepted by Gateway gateway: NotAllowedByListeners: not from here; "
        f"let the listener admit routes of this kind and namespace (its `allowedRoutes`): {until}"
    )
    (not_granted,) = doctor(Accepted=accepted, ResolvedRefs=("False", "RefNotPermitted", "no grant"))
    assert not_granted == (
        f"wrong  {check}: has a backend that is not found by Gateway gateway: RefNotPermitted: no grant; "
        f"make a ReferenceGrant where that Service is, or name one of the route's namespace: {until}"
    )
    both = doctor(Accepted=("False", "Example", "words of its own"), ResolvedRefs=("False", "BackendNotFound", "no Service before"))
    assert [line.partition("; ")[2] for line in both] == [
        f"see the Gateway's listeners and the route's `parentRefs`: {until}",
        f"make the Service that it misses, or take that out of the rule: {until}",
    ]
