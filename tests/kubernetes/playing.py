"""An actuator with the product's rights, and an admin beside it who looks and meddles."""

import asyncio

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
