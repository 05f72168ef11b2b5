"""A gateway that does not do what the route says: its controller writes so into the route's status, and no weight is believed."""

import asyncio

from ctrlplane_stream.actuators.kubernetes.composition import PlacedKubernetes
from ctrlplane_stream.actuators.kubernetes.objects import Kind
from ctrlplane_stream.actuators.kubernetes.transport import HttpTransport, Request
from ctrlplane_stream.local.control_plane.scene import command, kubernetes, route, routed_place, settled, version
from ctrlplane_stream.model.identity import Target

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
