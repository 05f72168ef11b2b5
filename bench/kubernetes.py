"""What the Kubernetes actuator costs: ``python -m bench.kubernetes [TARGETS]``.

A real API server with so many targets (500) of three versions each: two with one Pod, one parked. First a minute at
rest, every target looked at every 10 s as its reconcile loop does: requests a second, and CPU. Then single changes of
weight: from the command to the weight in force, as ``observe`` says.
"""

import asyncio
import random
import statistics
import sys
import time

import msgspec

from ctrlplane_stream.actuators.kubernetes.actuator import Kubernetes
from ctrlplane_stream.actuators.kubernetes.api import HttpTransport, Reply, Request
from ctrlplane_stream.actuators.kubernetes.names import slug
from ctrlplane_stream.actuators.kubernetes.objects import Kind
from ctrlplane_stream.actuators.kubernetes.placement import Place
from ctrlplane_stream.actuators.kubernetes.watching import NamespaceCopy
from ctrlplane_stream.local.control_plane.lab import Lab, open_lab
from ctrlplane_stream.local.control_plane.scene import command, route, routed_place, settled, version
from ctrlplane_stream.model.identity import Target
from ctrlplane_stream.model.world import Capacity

_AT_ONCE = 8
_REST_SECONDS = 60.0
_LOOK_SECONDS = 10.0
_CHANGES = 200


class _Counting(HttpTransport):
    count = 0

    async def send(self, request: Request) -> Reply:
        self.count += 1
        return await super().send(request)


async def _measure(lab: Lab, namespace: str, targets: list[Target]) -> None:
    transport = _Counting(lab.product_access)
    async with lab.product(transport) as cluster:
        copy = NamespaceCopy(cluster, namespace, frozenset({Kind.HTTP_ROUTE}))
        copy.start()
        places = {target: _place(namespace, target) for target in targets}
        actuator = Kubernetes(places.get, lambda _: cluster, views=lambda _: copy if copy.current else None)
        began = time.monotonic()
        await _side_by_side(actuator, targets)
        print(f"{len(targets)} targets x 3 versions made in {time.monotonic() - began:.0f} s with {transport.count} requests")
        await _at_rest(actuator, transport, targets)
        await _changes(actuator, targets)
        await copy.stop()


def _place(namespace: str, target: Target) -> Place:
    return msgspec.structs.replace(routed_place(namespace, target.service), full=1)


async def _side_by_side(actuator: Kubernetes, targets: list[Target]) -> None:
    places = asyncio.Semaphore(_AT_ONCE)

    async def one(target: Target) -> None:
        async with places:
            versions = version(target.service, 1, 100), version(target.service, 2, 0), version(target.service, 3, 0, Capacity.PARKED)
            await actuator.apply(*command(target, 1, *versions))
            await settled(actuator, target, {"#1": 100, "#2": 0, "#3": 0}, 300.0)

    await asyncio.gather(*(one(target) for target in targets))


async def _at_rest(actuator: Kubernetes, transport: _Counting, targets: list[Target]) -> None:
    await asyncio.sleep(5.0)
    requests, cpu, began, looks = transport.count, time.process_time(), time.monotonic(), 0
    while time.monotonic() - began < _REST_SECONDS:
        for target in targets:
            await actuator.observe(target)
            looks += 1
            await asyncio.sleep(_LOOK_SECONDS / len(targets))
    took = time.monotonic() - began
    used = time.process_time() - cpu
    asked, share = (transport.count - requests) / took, 100 * used / took
    print(f"at rest: {asked:.2f} requests a second over {took:.0f} s, {looks} looks, {share:.1f}% of a core")


async def _changes(actuator: Kubernetes, targets: list[Target]) -> None:
    chance, times = random.Random(1), []
    for number in range(_CHANGES):
        target, weight = chance.choice(targets), chance.randrange(1, 99)
        began = time.monotonic()
        await actuator.apply(*command(target, 10 + number, *_shift(target, weight)))
        await settled(actuator, target, {"#1": 100 - weight, "#2": weight, "#3": 0})
        times.append(time.monotonic() - began)
    ranked = sorted(times)
    middle, late = 1000 * statistics.median(ranked), 1000 * ranked[int(0.99 * len(ranked))]
    of = f"at the 99th percentile of {len(ranked)}, {1000 * ranked[-1]:.0f} ms at most"
    print(f"one change of weight: {middle:.0f} ms in the middle, {late:.0f} ms {of}")


def _shift(target: Target, weight: int):
    one, two = version(target.service, 1, 100 - weight), version(target.service, 2, weight)
    return one, two, version(target.service, 3, 0, Capacity.PARKED)


def main() -> None:
    """Measure and print."""
    targets = [Target("bench", f"shop/s{number}") for number in range(int(sys.argv[1]) if len(sys.argv) > 1 else 500)]
    with open_lab() as lab:
        namespace = lab.namespace()
        lab.apply([route(slug(target.service), ["main"]) for target in targets], namespace)
        asyncio.run(_measure(lab, namespace, targets))


if __name__ == "__main__":
    main()
