"""What the Kubernetes actuator costs: ``python -m bench.kubernetes [--targets N]``.

A real API server with so many targets (500) of three versions each: two with one Pod, one parked. Every target has its
reconcile loop with the pace of the product. First a time at rest: requests a second, and CPU. Watches end after 300 s and are
opened anew: a rest of more than that has them in it (``--rest-seconds 700``), a minute has not. Then single changes of weight,
from the command to the fact that says that the weight is in force.
"""

import argparse
import asyncio
import math
import random
import statistics
import time
from collections.abc import AsyncIterator

import msgspec

from ctrlplane_stream.actuators.kubernetes.actuator import Kubernetes
from ctrlplane_stream.actuators.kubernetes.names import slug
from ctrlplane_stream.actuators.kubernetes.objects import Kind
from ctrlplane_stream.actuators.kubernetes.place import Place
from ctrlplane_stream.actuators.kubernetes.transport import HttpTransport, Reply, Request
from ctrlplane_stream.actuators.kubernetes.watching import NamespaceCopy
from ctrlplane_stream.actuators.reconcile import Pace, Reconciler
from ctrlplane_stream.local.control_plane.lab import Lab, open_lab
from ctrlplane_stream.local.control_plane.scene import command, route, routed_place, settled, version
from ctrlplane_stream.model.commands import Command
from ctrlplane_stream.model.facts import OutcomeReported, WorldChanged
from ctrlplane_stream.model.identity import Target
from ctrlplane_stream.model.world import Capacity, Cursor, TargetObserved

_AT_ONCE = 8
_MOVED = 20
"""So many targets are being rolled out while changes are measured."""
_PATIENCE_SECONDS = 60.0


class _Counting(HttpTransport):
    """Counts requests, watches that are opened among them."""

    count = 0

    async def send(self, request: Request) -> Reply:
        self.count += 1
        return await super().send(request)

    async def lines(self, request: Request) -> AsyncIterator[bytes]:
        self.count += 1
        async for line in super().lines(request):
            yield line


class _Loops:
    """A reconcile loop for each target, and the last that each reported."""

    def __init__(self, actuator: Kubernetes) -> None:
        self._actuator = actuator
        self._loops: dict[Target, Reconciler] = {}
        self._seen: dict[Target, TargetObserved] = {}
        self._reported = asyncio.Condition()
        self.tasks: list[asyncio.Task[None]] = []

    def submit(self, order: Command, cursor: Cursor) -> None:
        """Make this the command of its target."""
        target = order.target
        if target not in self._loops:
            self._loops[target] = Reconciler(target, self._actuator, self._report)
            self.tasks.append(asyncio.create_task(self._loops[target].run()))
        self._loops[target].submit(order, cursor)

    async def reported(self, target: Target, weights: dict[str, int]) -> None:
        """Wait until a fact says that these weights are in force."""

        def holds() -> bool:
            seen = self._seen.get(target)
            return seen is not None and {each.label: each.weight for each in seen.versions} == weights

        async with asyncio.timeout(_PATIENCE_SECONDS), self._reported:
            await self._reported.wait_for(holds)

    async def close(self) -> None:
        """End the loops."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _report(self, fact: OutcomeReported | WorldChanged) -> None:
        if fact.observed is not None:
            async with self._reported:
                self._seen[fact.target] = fact.observed
                self._reported.notify_all()


async def _measure(lab: Lab, namespace: str, targets: list[Target], changes: int, rest_seconds: float) -> None:
    transport = _Counting(lab.product_access)
    async with lab.product(transport) as cluster:
        copy = NamespaceCopy(cluster, namespace, frozenset({Kind.HTTP_ROUTE}))
        copy.start()
        places = {target: _place(namespace, target) for target in targets}
        actuator = Kubernetes(places.get, lambda _: cluster, views=lambda _: copy if copy.current else None)
        began = time.monotonic()
        await _side_by_side(actuator, targets)
        print(f"{len(targets)} targets x 3 versions made in {time.monotonic() - began:.0f} s with {transport.count} requests", flush=True)
        loops = _Loops(actuator)
        await _start(loops, targets)
        await _at_rest(transport, rest_seconds)
        await _changes(loops, targets, changes)
        await loops.close()
        await copy.stop()


def _place(namespace: str, target: Target) -> Place:
    return msgspec.structs.replace(routed_place(namespace, target.service), full=1)


def _order(target: Target, sequence: int, weight: int) -> tuple[Command, Cursor]:
    one, two, three = (version(target.service, number, share) for number, share in ((1, 100 - weight), (2, weight), (3, 0)))
    return command(target, sequence, one, two, msgspec.structs.replace(three, capacity=Capacity.PARKED), lease=3600.0)


async def _side_by_side(actuator: Kubernetes, targets: list[Target]) -> None:
    places = asyncio.Semaphore(_AT_ONCE)

    async def one(target: Target) -> None:
        async with places:
            await actuator.apply(*_order(target, 1, 0))
            await settled(actuator, target, {"#1": 100, "#2": 0, "#3": 0}, 300.0, Pace().moving_seconds)

    await asyncio.gather(*(one(target) for target in targets))


async def _start(loops: _Loops, targets: list[Target]) -> None:
    for target in targets:
        loops.submit(*_order(target, 1, 0))
        await loops.reported(target, {"#1": 100, "#2": 0, "#3": 0})


async def _at_rest(transport: _Counting, seconds: float) -> None:
    await asyncio.sleep(5.0)
    requests, cpu, began = transport.count, time.process_time(), time.monotonic()
    await asyncio.sleep(seconds)
    took = time.monotonic() - began
    asked, share = (transport.count - requests) / took, 100 * (time.process_time() - cpu) / took
    print(f"at rest: {asked:.2f} requests a second over {took:.0f} s, {share:.1f}% of a core", flush=True)


async def _changes(loops: _Loops, targets: list[Target], changes: int) -> None:
    chance, times, cpu = random.Random(1), [], time.process_time()
    for number in range(changes):
        target, weight = chance.choice(targets[:_MOVED]), chance.randrange(1, 99)
        began = time.monotonic()
        loops.submit(*_order(target, 10 + number, weight))
        await loops.reported(target, {"#1": 100 - weight, "#2": weight, "#3": 0})
        times.append(time.monotonic() - began)
    ranked = sorted(times)
    middle, late = 1000 * statistics.median(ranked), 1000 * ranked[math.ceil(0.99 * len(ranked)) - 1]
    of = f"at the 99th percentile of {len(ranked)}, {1000 * ranked[-1]:.0f} ms at most"
    spent = 1000 * (time.process_time() - cpu) / changes
    print(f"one change of weight: {middle:.0f} ms in the middle, {late:.0f} ms {of}; {spent:.0f} ms of CPU each", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--targets", type=int, default=500, help="how many targets of three versions each")
    parser.add_argument("--changes", type=int, default=200, help="how many changes of weight")
    parser.add_argument("--rest-seconds", type=float, default=60.0, help="how long to look at a cluster where nothing changes")
    arguments = parser.parse_args()
    targets = [Target("bench", f"shop/s{number}") for number in range(arguments.targets)]
    with open_lab() as lab:
        namespace = lab.namespace()
        lab.apply([route(slug(target.service), ["main"]) for target in targets], namespace)
        asyncio.run(_measure(lab, namespace, targets, arguments.changes, arguments.rest_seconds))


if __name__ == "__main__":
    main()
