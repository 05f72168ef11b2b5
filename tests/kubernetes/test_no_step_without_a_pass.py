"""Invariant 5 as the world shows it: no candidate rises again without a PASS in between, whatever strikes what acts for the engine."""

import asyncio
from contextlib import AsyncExitStack

import msgspec

from ctrlplane_stream.actuators.kubernetes.objects import Kind
from ctrlplane_stream.actuators.kubernetes.transport import HttpTransport
from ctrlplane_stream.actuators.kubernetes.weights import backends
from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.local.control_plane.scene import kubernetes, route, routed_place
from ctrlplane_stream.local.control_plane.sweep.faults import FaultyTransport
from ctrlplane_stream.local.control_plane.sweep.history import History
from ctrlplane_stream.local.control_plane.sweep.plans import Fault, Plan
from ctrlplane_stream.local.control_plane.sweep.writes import Spot, Tally
from ctrlplane_stream.model.identity import Target
from tests.kubernetes.engine_on_cluster import ENVIRONMENT, POLICY, EngineOnCluster

CART = Target(ENVIRONMENT, "cart")
ROLLOUT = f"{ENVIRONMENT}/cart/2"
STEER, REMEMBER = "steer httproutes/cart", "remember in configmaps/ctrlplane-cart"
STEPS = [step.weight for step in POLICY.steps]
PLANS = [
    Plan(0, Fault.KILLED_BEFORE, Spot(STEER, 4)),
    Plan(1, Fault.KILLED_AFTER, Spot(STEER, 3)),
    Plan(2, Fault.LOST_ANSWER, Spot(REMEMBER, 5)),
    Plan(3, Fault.STALE_READS, at=100, length=3),
]


class Told(msgspec.Struct):
    """What happened, in the order in which it did: a PASS as None, a weight that the candidate was given as itself."""

    events: list[int | None] = []


def unproven(events: list[int | None]) -> list[int]:
    """Weights to which the candidate rose without a PASS since it rose before; its first step needs none."""
    found, weight, proven = [], 0, True
    for event in events:
        if event is None:
            proven = True
        elif event > weight:
            found += [] if proven else [event]
            weight, proven = event, False
        else:
            weight = event
    return found


def test_a_step_without_a_pass_would_be_found():
    assert unproven([10, None, 50, None, 100]) == []
    assert unproven([10, 50, None, 100]) == [50]
    assert unproven([10, None, 0, 10, 50]) == [50]


class Noting(HttpTransport):
    """Notes each weight that the candidate was given, where it was asked for."""

    def __init__(self, access, told: Told) -> None:
        super().__init__(access)
        self._told = told

    async def send(self, request):
        asked = len(self._told.events)
        reply = await super().send(request)
        for operation in request.body if isinstance(request.body, list) and reply.status < 300 else ():
            if operation["op"] == "add" and operation["path"].endswith("/backendRefs"):
                self._told.events[asked:asked] = [each["weight"] for each in operation["value"] if each["name"] == "cart-v2"]
        return reply


async def nothing_more(fault, request) -> None:
    """None of these plans concerns more than its request."""


class Recorded(EngineOnCluster):
    """Notes each PASS of the candidate's rollout when the engine hears it."""

    def __init__(self, told: Told, *arguments) -> None:
        super().__init__(*arguments)
        self._told = told

    def heard(self, rollout: str, step: int) -> None:
        self._told.events += [None] if rollout == ROLLOUT else []


async def played(lab, namespace: str, plan: Plan) -> tuple[list[int | None], list[str], list[int], bool]:
    """What was told, what an observer found broken, the weights of the candidate that he saw, and whether the fault struck."""
    told, tally, place = Told(), Tally(), routed_place(namespace, "cart")
    async with lab.admin() as admin, History(admin, place) as history, AsyncExitStack() as clients:

        def worker():
            cluster = lab.product(FaultyTransport(Noting(lab.product_access, told), plan, tally, nothing_more))
            clients.push_async_callback(cluster.close)
            return kubernetes(cluster, (CART, place))

        engine = Recorded(told, ("cart",), worker)
        try:
            engine.push("cart", 1)
            await engine.until(lambda: engine.ended(1), "the first version bakes")
            engine.push("cart", 2)
            await engine.until(lambda: engine.ended(2), "the second version is promoted")
        finally:
            await engine.close()
        assert [rollout.phase for rollout in engine.driver.rollouts] == [Phase.COMPLETED] * 2, engine.driver.transcript()
        await history.caught_up()
        moments = sorted(history.moments.values(), key=lambda moment: moment.revision)
        routes = [backends(each.object, "main") or {} for each in moments if each.kind is Kind.HTTP_ROUTE]
        shown = [each.get("cart-v2", 0) for each in routes if "cart-v2" in each]
        struck = plan.spot in tally.spots if plan.spot is not None else tally.requests > plan.at
        return told.events, history.violations(), shown, struck


def test_no_step_is_taken_without_a_pass_whatever_strikes_between_engine_and_world(lab):
    """Actuators killed before and after a step, answers lost, reads that lag: the observer sees the policy's steps, each once, in order."""
    namespaces = []
    for _ in PLANS:
        namespaces.append(lab.namespace())
        lab.apply([route("cart", ["main"])], namespaces[-1])

    async def run():
        return await asyncio.gather(*(played(lab, namespace, plan) for namespace, plan in zip(namespaces, PLANS, strict=True)))

    for plan, (events, violations, shown, struck) in zip(PLANS, asyncio.run(run()), strict=True):
        assert struck, plan
        assert violations == [], plan
        assert unproven(events) == [], (plan, events)
        assert list(dict.fromkeys(shown)) == [0, *STEPS], (plan, shown)
        assert shown == sorted(shown), (plan, shown)
