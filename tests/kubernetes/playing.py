"""An actuator with the product's rights, and an admin beside it who looks and meddles."""

import asyncio

from ctrlplane_stream.actuators.kubernetes.transport import HttpTransport, Request
from ctrlplane_stream.local.control_plane.scene import kubernetes
from ctrlplane_stream.model.identity import Target

TARGET = Target("staging", "shop/cart")


def play(lab, place, doing, target=TARGET):
    """Run ``doing(actuator, admin)`` with the product's rights for the actuator."""
    return play_workers(lab, lambda worker, admin: doing(worker(place), admin), target)


def play_workers(lab, doing, target=TARGET):
    """Run ``doing(worker, admin)``; ``worker(place)`` is one that was started with that placement, with the product's rights."""

    async def run():
        async with lab.product() as cluster, lab.admin() as admin:
            return await doing(lambda place: kubernetes(cluster, (target, place)), admin)

    return asyncio.run(run())


async def merge_spec(lab, path, change, manager):
    """Merge a change into an object's specification as somebody."""
    admin = HttpTransport(lab.admin_access)
    try:
        reply = await admin.send(Request("PATCH", path, {"fieldManager": manager}, {"spec": change}, "application/merge-patch+json"))
    finally:
        await admin.close()
    assert reply.status == 200, reply.body
