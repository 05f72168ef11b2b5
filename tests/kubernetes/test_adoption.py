"""A Deployment that ran before us becomes a version on a real API server, and its Pods are never touched while they serve."""

import asyncio
from contextlib import asynccontextmanager, suppress

import msgspec
import pytest

from ctrlplane_stream.actuators.kubernetes.api import Conflict
from ctrlplane_stream.actuators.kubernetes.hands import Hands
from ctrlplane_stream.actuators.kubernetes.objects import Kind
from ctrlplane_stream.actuators.kubernetes.place import Place
from ctrlplane_stream.actuators.kubernetes.sight import read_sight
from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.local.control_plane.scene import (
    adopting,
    command,
    kubernetes,
    route,
    routed_place,
    running,
    settled,
    template,
    version,
)
from ctrlplane_stream.local.control_plane.sweep.faults import Killed
from ctrlplane_stream.model.commands import Verb
from ctrlplane_stream.model.facts import CatalogApplied, OutcomeStatus, OverrideRequested, OverrideVerb
from ctrlplane_stream.model.world import Capacity
from ctrlplane_stream.simulation.loop import catalog, service
from tests.kubernetes import playing
from tests.kubernetes.dying import Dying
from tests.kubernetes.playing import TARGET
from tests.kubernetes.test_whole_loop import CART, ENVIRONMENT, FRONT, POLICY, Eyes, Loop, pushed

IMAGE, DIGEST = "registry.example/well", f"sha256:{1:064x}"


class Owned:
    """What is there of the user's own Deployment."""

    def __init__(self, admin, namespace: str) -> None:
        self._admin = admin
        self._namespace = namespace

    async def deployment(self):
        """The Deployment."""
        found = await self._admin.get(Kind.DEPLOYMENT, self._namespace, "cart")
        assert found is not None
        return found

    async def standing(self) -> set[str]:
        """The UIDs of its ReplicaSets and of their Pods."""
        uid = (await self.deployment())["metadata"]["uid"]
        sets = [each for each in (await self._admin.select(Kind.REPLICA_SET, self._namespace))[0] if _is_of(each, {uid})]
        uids = {each["metadata"]["uid"] for each in sets}
        pods = [each for each in (await self._admin.select(Kind.POD, self._namespace))[0] if _is_of(each, uids)]
        return uids | {each["metadata"]["uid"] for each in pods}

    async def runs(self, replicas: int = 2) -> set[str]:
        """``standing``, once so many Pods are ready."""
        for _ in range(600):
            if (await self.deployment()).get("status", {}).get("readyReplicas", 0) == replicas:
                return await self.standing()
            await asyncio.sleep(0.05)
        raise AssertionError("the user's own Deployment never ran")

    async def served(self, service: str) -> int:
        """How many ready Pods a Service leads to."""
        found = await self._admin.read(f"/apis/discovery.k8s.io/v1/namespaces/{self._namespace}/endpointslices")
        own = [each for each in found["items"] if (each["metadata"].get("labels") or {}).get("kubernetes.io/service-name") == service]
        return sum(end["conditions"].get("ready", False) for each in own for end in each["endpoints"] or [])

    async def scale(self, replicas: int) -> None:
        """What its owner may do: other replicas."""
        while True:
            with suppress(Conflict):
                change = [{"op": "replace", "path": "/spec/replicas", "value": replicas}]
                await self._admin.patch(Kind.DEPLOYMENT, self._namespace, "cart", change)
                return

    async def unmarked(self, actuator) -> None:
        """Look until nothing of ours is on it: the API server's cache may not have had the labels yet."""
        for _ in range(600):
            if await self.marks() == []:
                return
            await actuator.observe(TARGET)
            await asyncio.sleep(0.05)
        raise AssertionError(f"it has {await self.marks()}")

    async def delete(self) -> None:
        """Take it away, as its owner would."""
        for _ in range(100):
            metadata = (await self.deployment())["metadata"]
            try:
                await self._admin.delete(Kind.DEPLOYMENT, self._namespace, "cart", metadata["uid"], metadata["resourceVersion"])
            except Conflict:  # Its controller wrote its status in between.
                continue
            return
        raise AssertionError("the Deployment keeps changing")

    async def replace(self) -> None:
        """Put it anew as it was before us, as ``kubectl replace`` does: without our labels."""
        while True:
            with suppress(Conflict):
                there = await self.deployment()
                await self._admin.replace(
                    Kind.DEPLOYMENT,
                    self._namespace,
                    {**there, "metadata": {**there["metadata"], **running()["metadata"], "annotations": {}}},
                )
                return

    async def forget(self) -> None:
        """Take our memory away, as somebody may with kubectl."""
        metadata = (await self._admin.get(Kind.CONFIG_MAP, self._namespace, "ctrlplane-shop-cart"))["metadata"]
        await self._admin.delete(Kind.CONFIG_MAP, self._namespace, metadata["name"], metadata["uid"], metadata["resourceVersion"])

    async def names(self) -> list[str]:
        """The names of all Deployments there are."""
        return sorted(each["metadata"]["name"] for each in (await self._admin.select(Kind.DEPLOYMENT, self._namespace))[0])

    async def marks(self) -> list[str]:
        """Our labels and annotations on it."""
        metadata = (await self.deployment())["metadata"]
        names = [*(metadata.get("labels") or {}), *(metadata.get("annotations") or {})]
        return sorted(name for name in names if name.startswith("ctrlplane-stream.dev/"))


def _is_of(manifest, uids: set[str]) -> bool:
    return any(owner["uid"] in uids for owner in manifest["metadata"].get("ownerReferences") or [])


def rollout(loop: Loop, number: int):
    """The rollout of the cart's n-th version."""
    found = loop.driver.rollout(f"{ENVIRONMENT}/cart/{number}")
    return found.phase if found is not None else None


@asynccontextmanager
async def looping(lab):
    """The whole loop over a namespace where cart and front run already: loop, eyes, what is there of the user's own cart."""
    namespace = await asyncio.to_thread(lab.namespace)
    await asyncio.to_thread(lab.apply, [running(), running(name="front"), route("cart", ["main"]), route("front", ["main"])], namespace)
    async with lab.product() as cluster, lab.admin() as admin:
        eyes, owned = Eyes(admin, namespace), Owned(admin, namespace)

        async def told() -> dict[str, dict[str, int]]:
            found = (await eyes.weights()).items()
            return {name: {DIGEST if label == "#1" else label: share for label, share in shares.items()} for name, shares in found}

        places = [(target, adopting(routed_place(namespace, target.service), target.service)) for target in (CART, FRONT)]
        actuator = kubernetes(cluster, *places, clock=lambda: loop.driver.now_ms / 1000)
        loop = Loop(actuator, told, lambda: eyes.standing(2))
        entries = [service(name, POLICY, actuator="kubernetes", images=(IMAGE,)) for name in ("cart", "front")]
        loop.give(CatalogApplied(catalog(*entries), "h1", "tests"))
        try:
            yield loop, eyes, owned
        finally:
            for task in loop.tasks:
                task.cancel()
            await asyncio.gather(*loop.tasks, return_exceptions=True)


def test_what_ran_before_us_is_adopted_returned_to_after_a_bad_release_and_given_back_after_a_good_one(lab):
    """Its ReplicaSet and its Pods are the same all through, until a good version has all the traffic; then it is at 0, and its owner's.

    Three rollouts in a row, since it is what each leaves to the next that matters: most of a minute on a busy machine.
    """

    async def run() -> None:
        async with looping(lab) as (loop, eyes, owned):
            before, spec = await owned.runs(), (await owned.deployment())["spec"]
            for name in ("front", "cart"):
                loop.give(OverrideRequested(name, OverrideVerb.ADOPT, "ada", "it runs", service=name, image=IMAGE, digest=DIGEST))
            await loop.until(lambda: all(r.phase is Phase.COMPLETED for r in loop.driver.rollouts), "what runs is adopted")
            assert await eyes.weights() == {"cart": {"#1": 100}, "front": {"#1": 100}}
            assert (await owned.standing(), (await owned.deployment())["spec"]) == (before, spec)
            for _ in range(60):  # What is adopted serves for a while before anything is compared with it.
                await loop.second()
            loop.traffic.faulty = {"#2"}
            loop.give(pushed("cart", 2))
            await loop.until(lambda: rollout(loop, 2) is Phase.REVERTED, "the faulty release is reverted")
            assert " of the stable version" in loop.driver.rollout(f"{ENVIRONMENT}/cart/2").stopped_because, loop.driver.transcript()
            assert {label: weight for label, weight in (await eyes.weights())["cart"].items() if weight} == {"#1": 100}
            assert (await owned.standing(), (await owned.deployment())["spec"]) == (before, spec)
            loop.give(pushed("cart", 3))
            await loop.until(lambda: rollout(loop, 3) is Phase.COMPLETED, "the good release is promoted")
            assert (await owned.deployment())["spec"]["replicas"] == 0
            assert await owned.marks() != []
            await loop.until(lambda: loop.driver.target("cart").wanted("#1") is None, "its retention passes")
            for _ in range(100):
                if await owned.marks() == []:
                    break
                await loop.second()
            left = await owned.deployment()
            assert await owned.marks() == []
            assert (left["spec"]["replicas"], left["metadata"]["labels"]) == (0, {"app.kubernetes.io/managed-by": "Helm"})

    asyncio.run(run())


def play(lab, place, doing):
    """Run ``doing(actuator, owned)`` with the product's rights for the actuator."""
    return playing.play(lab, place, lambda actuator, admin: doing(actuator, Owned(admin, place.namespace)))


def adopt(sequence: int, number: int = 1):
    """The command to adopt the n-th image."""
    return command(TARGET, sequence, version("shop/cart", number, 100), verb=Verb.ADOPT, stable=f"#{number}")


async def adopted(actuator, owned: Owned, pods: int = 2) -> set[str]:
    """Once it runs and is taken over: what stood there before."""
    before = await owned.runs(pods)
    await actuator.apply(*adopt(1))
    await settled(actuator, TARGET, {"#1": 100})
    return before


@pytest.mark.parametrize(
    ("there", "named", "number", "why"),
    [
        (True, True, 2, "runs registry.example/well@"),
        (False, True, 1, "there is no Deployment cart to adopt"),
        (True, False, 1, "names nothing of staging:shop/cart to adopt"),
    ],
)
def test_what_cannot_be_adopted_is_refused_in_words_and_left_alone_when_that_is_given_up(lab, there, named, number, why):
    """Another digest, none at all, or none that is named: the Deployment has nothing of ours before and after."""
    namespace = lab.namespace()
    lab.apply([route("shop-cart", ["main"]), *([running()] if there else [])], namespace)
    place = routed_place(namespace, "shop/cart")

    async def doing(actuator, owned):
        outcome = await actuator.apply(*adopt(1, number))
        assert outcome.status is OutcomeStatus.REFUSED
        assert why in outcome.reason
        assert (await actuator.apply(*command(TARGET, 2, verb=Verb.LEAVE, stable=None))).status is OutcomeStatus.APPLIED
        if there:
            assert await owned.marks() == []
            assert (await owned.deployment())["spec"]["replicas"] == 2

    play(lab, adopting(place) if named else place, doing)


def test_what_was_labelled_and_not_yet_remembered_is_given_back_and_not_deleted(lab):
    """Whoever adopted was killed in between; what comes next, here that it is given up, finds a Deployment with our labels."""
    namespace = lab.namespace()
    lab.apply([route("shop-cart", ["main"]), running()], namespace)
    place = adopting(routed_place(namespace, "shop/cart"))

    async def doing(actuator, owned):
        before = await owned.runs()
        async with lab.product() as cluster:
            sight = await read_sight(cluster, TARGET, place)
            await Hands(cluster).adopt(sight, version("shop/cart", 1, 100), await owned.deployment())
        assert await owned.marks() != []
        assert (await actuator.apply(*command(TARGET, 2, verb=Verb.LEAVE, stable=None))).status is OutcomeStatus.APPLIED
        await owned.unmarked(actuator)
        assert await owned.standing() == before

    play(lab, place, doing)


async def dies_of(lab, place: Place, writes: int, doing) -> bool:
    """Whether somebody who does that died of so many writes, by turns heard of and not."""
    async with lab.product(Dying(lab.product_access, writes, hears=writes % 2 == 0)) as cluster:
        try:
            await doing(kubernetes(cluster, (TARGET, place)))
        except Killed:
            return True
    return False


def killed_at_each(once) -> int:
    """Play ``once(writes)`` with one write more each time until nobody dies of them; how many there are."""

    async def run() -> int:
        writes = 0
        while await once(writes):
            writes += 1
        return writes

    return asyncio.run(run())


def test_an_adoption_killed_at_any_write_is_given_up_without_a_trace_unless_it_was_adopted_by_then(lab):
    """After each number of writes, by turns heard of and not. That it is finished when it is said again, the fault sweep shows."""

    async def adopts(actuator) -> None:
        await actuator.apply(*adopt(1))
        await settled(actuator, TARGET, {"#1": 100})

    async def once(writes: int) -> bool:
        namespace = await asyncio.to_thread(lab.namespace)
        await asyncio.to_thread(lab.apply, [route("shop-cart", ["main"]), running()], namespace)
        place = adopting(routed_place(namespace, "shop/cart"))
        async with lab.product() as cluster, lab.admin() as admin:
            owned, actuator = Owned(admin, namespace), kubernetes(cluster, (TARGET, place))
            before = await owned.runs()
            dead = await dies_of(lab, place, writes, adopts)
            outcome = await actuator.apply(*command(TARGET, 2, verb=Verb.LEAVE, stable=None))
            if outcome.status is OutcomeStatus.APPLIED:
                await owned.unmarked(actuator)
            else:
                await settled(actuator, TARGET, {"#1": 100})
            assert await owned.standing() == before, writes
        return dead

    assert killed_at_each(once) > 4


def test_giving_up_takes_nothing_from_what_was_adopted_by_then(lab):
    namespace = lab.namespace()
    lab.apply([route("shop-cart", ["main"]), running()], namespace)

    async def doing(actuator, owned):
        before = await adopted(actuator, owned)
        outcome = await actuator.apply(*command(TARGET, 2, verb=Verb.LEAVE, stable=None))
        assert outcome.status is OutcomeStatus.REFUSED
        assert (outcome.observed.version("#1").weight, await owned.standing()) == (100, before)

    play(lab, adopting(routed_place(namespace, "shop/cart")), doing)


def test_an_owner_who_rolls_out_over_what_was_adopted_is_heard(lab):
    """It is an edit by hand: its Service chooses the Pods that were adopted and not those that follow."""
    namespace = lab.namespace()
    lab.apply([route("shop-cart", ["main"]), running()], namespace)

    async def doing(actuator, owned):
        await adopted(actuator, owned)
        changed = running()
        changed["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "COLOUR", "value": "blue"}]
        await asyncio.to_thread(lab.apply, [changed], namespace)
        for _ in range(600):
            seen = await actuator.observe(TARGET)
            if seen.edited is not None:
                break
            await asyncio.sleep(0.05)
        assert "Deployment cart runs revision 2 instead of 1, which was adopted" in str(seen.edited)

    play(lab, adopting(routed_place(namespace, "shop/cart")), doing)


@pytest.mark.parametrize(("number", "names"), [(1, ["cart", "shop-cart-v2"]), (3, ["cart", "shop-cart-v1", "shop-cart-v2"])])
def test_who_goes_over_a_rollout_of_its_owners_has_the_traffic_reach_pods_of_that_artifact(lab, number, names):
    """The same artifact with other settings serves as it runs by now; of another one the version is made anew, as one of ours."""
    namespace = lab.namespace()
    lab.apply([route("shop-cart", ["main"]), running()], namespace)

    async def doing(actuator, owned):
        await adopted(actuator, owned)
        await actuator.apply(*command(TARGET, 2, version("shop/cart", 1, 50), version("shop/cart", 2, 50)))
        await settled(actuator, TARGET, {"#1": 50, "#2": 50})
        changed = running()
        changed["spec"]["template"]["spec"]["containers"][0] |= {
            "image": str(version("cart", number, 0).artifact),
            "env": [{"name": "COLOUR", "value": "blue"}],
        }
        await asyncio.to_thread(lab.apply, [changed], namespace)
        async with asyncio.timeout(30.0):
            while (edited := (await actuator.observe(TARGET)).edited) is None:
                await asyncio.sleep(0.05)
        await owned.runs()
        await actuator.apply(*command(TARGET, 3, version("shop/cart", 1, 100), version("shop/cart", 2, 0), over_edit=edited))
        assert (await settled(actuator, TARGET, {"#1": 100, "#2": 0})).edited is None
        async with asyncio.timeout(30.0):
            while await owned.served("shop-cart-v1") != 2:
                await actuator.observe(TARGET)
                await asyncio.sleep(0.05)
        assert await owned.names() == names

    play(lab, adopting(routed_place(namespace, "shop/cart")), doing)


def test_whoever_goes_over_a_rollout_of_its_owners_that_does_not_come_up_keeps_the_pods_that_serve(lab):
    """They are chosen until what follows them is ready, so that an abort takes no traffic to nobody; then those that follow."""
    namespace = lab.namespace()
    lab.apply([route("shop-cart", ["main"]), running()], namespace)

    async def doing(actuator, owned):
        await adopted(actuator, owned)
        await actuator.apply(*command(TARGET, 2, version("shop/cart", 1, 50), version("shop/cart", 2, 50)))
        await settled(actuator, TARGET, {"#1": 50, "#2": 50})
        changed = running()
        containers = changed["spec"]["template"]["spec"]["containers"]
        containers.append({"name": "beside", "image": f"registry.example/missing@{DIGEST}"})
        edited = await rolled_out(changed, actuator)
        await actuator.apply(*command(TARGET, 3, version("shop/cart", 1, 100), version("shop/cart", 2, 0), over_edit=edited))
        assert (await settled(actuator, TARGET, {"#1": 100, "#2": 0})).edited is None
        for _ in range(40):
            await actuator.observe(TARGET)
            assert await owned.served("shop-cart-v1") >= 1
            await asyncio.sleep(0.05)
        containers[1]["image"] = f"registry.example/well@{DIGEST}"
        edited = await rolled_out(changed, actuator)
        await actuator.apply(*command(TARGET, 4, version("shop/cart", 1, 100), version("shop/cart", 2, 0), over_edit=edited))
        async with asyncio.timeout(30.0):
            while await owned.served("shop-cart-v1") != 2:
                await actuator.observe(TARGET)
                await asyncio.sleep(0.05)
        assert (await actuator.observe(TARGET)).edited is None

    async def rolled_out(changed, actuator):
        await asyncio.to_thread(lab.apply, [changed], namespace)
        async with asyncio.timeout(30.0):
            while (edited := (await actuator.observe(TARGET)).edited) is None:
                await asyncio.sleep(0.05)
        return edited

    play(lab, adopting(routed_place(namespace, "shop/cart")), doing)


async def edited(actuator) -> str:
    """How a target was edited by hand, once it is told so."""
    async with asyncio.timeout(30.0):
        while (said := (await actuator.observe(TARGET)).edited) is None:
            await asyncio.sleep(0.05)
    return said


async def seen(actuator, what) -> None:
    """Look at the target until something is so."""
    async with asyncio.timeout(30.0):
        while not await what():
            await actuator.observe(TARGET)
            await asyncio.sleep(0.05)


def rolled_out_digest(number: int, behaviour: str):
    """The user's own Deployment, which is to run another artifact."""
    changed = running()
    changed["spec"]["template"]["spec"]["containers"][0]["image"] = str(version("cart", number, 0, behaviour=behaviour).artifact)
    return changed


@pytest.mark.parametrize("way", ["rolls out what cannot be pulled", "replaces it"])
def test_what_was_adopted_serves_until_the_version_made_anew_in_its_place_is_ready_and_is_left_without_pods(lab, way):
    """Its Service chooses its Pods until then, so that an abort over its owner's doing takes no traffic to nobody, and waits for none."""
    namespace = lab.namespace()
    lab.apply([route("shop-cart", ["main"]), running()], namespace)

    async def doing(actuator, owned):
        await adopted(actuator, owned)
        await actuator.apply(*command(TARGET, 2, version("shop/cart", 1, 50), version("shop/cart", 2, 50)))
        await settled(actuator, TARGET, {"#1": 50, "#2": 50})
        lab.kubelet.set_ready("shop-cart-v1", ready=False)
        try:
            if way == "replaces it":
                await owned.replace()
            else:
                await asyncio.to_thread(lab.apply, [rolled_out_digest(5, "missing")], namespace)
            said = await edited(actuator)
            await actuator.apply(*command(TARGET, 3, version("shop/cart", 1, 100), version("shop/cart", 2, 0), over_edit=said))
            for _ in range(40):
                there = await actuator.observe(TARGET)
                assert await owned.served("shop-cart-v1") >= 1
                await asyncio.sleep(0.05)
            assert {each.label: (each.weight, each.ready) for each in there.versions} == {"#1": (100, 0), "#2": (0, 2)}
            assert await owned.names() == ["cart", "shop-cart-v1", "shop-cart-v2"]
        finally:
            lab.kubelet.set_ready("shop-cart-v1", ready=True)
        await settled(actuator, TARGET, {"#1": 100, "#2": 0})
        await seen(actuator, lambda: _is(owned.served("shop-cart-v1"), 2))
        await seen(actuator, lambda: _is(owned.marks(), []))
        assert (await owned.deployment())["spec"]["replicas"] == 0
        await asyncio.to_thread(lab.apply, [rolled_out_digest(6, "well")], namespace)
        await actuator.apply(*command(TARGET, 4, version("shop/cart", 1, 75), version("shop/cart", 2, 25)))
        assert (await settled(actuator, TARGET, {"#1": 75, "#2": 25})).edited is None

    play(lab, adopting(routed_place(namespace, "shop/cart")), doing)


def test_a_worker_killed_at_any_write_of_that_leaves_requests_somewhere_to_go_and_the_rest_to_the_next_worker(lab):
    """After each number of writes, by turns heard of and not."""

    async def goes_over(actuator, order) -> None:
        await actuator.apply(*order)
        await settled(actuator, TARGET, {"#1": 100, "#2": 0})
        for _ in range(5):
            await actuator.observe(TARGET)

    async def once(writes: int) -> bool:
        namespace = await asyncio.to_thread(lab.namespace)
        await asyncio.to_thread(lab.apply, [route("shop-cart", ["main"]), running()], namespace)
        place = adopting(routed_place(namespace, "shop/cart"))
        async with lab.product() as cluster, lab.admin() as admin:
            owned, actuator = Owned(admin, namespace), kubernetes(cluster, (TARGET, place))
            await adopted(actuator, owned)
            await actuator.apply(*command(TARGET, 2, version("shop/cart", 1, 50), version("shop/cart", 2, 50)))
            await settled(actuator, TARGET, {"#1": 50, "#2": 50})
            await owned.replace()
            order = command(TARGET, 3, version("shop/cart", 1, 100), version("shop/cart", 2, 0), over_edit=await edited(actuator))
            dead = await dies_of(lab, place, writes, lambda dying: goes_over(dying, order))
            for _ in range(10):  # a Pod that was taken away leaves its Service a moment later
                assert await owned.served("shop-cart-v1") >= 1, writes
                await asyncio.sleep(0.1)
            if (await actuator.apply(*order)).status is OutcomeStatus.REFUSED:
                raise AssertionError(f"refused after {writes} writes")
            await settled(actuator, TARGET, {"#1": 100, "#2": 0})
            await seen(actuator, lambda: _is(owned.marks(), []))
            await seen(actuator, lambda: _is(owned.served("shop-cart-v1"), 2))
            assert ((await owned.deployment())["spec"]["replicas"], (await actuator.observe(TARGET)).edited) == (0, None)
        return dead

    assert killed_at_each(once) > 6


async def _is(found, what) -> bool:
    return await found == what


@pytest.mark.parametrize("way", ["rolls out another artifact", "replaces it"])
def test_behind_one_service_what_was_adopted_is_left_without_pods_once_the_version_made_anew_is_ready(lab, way):
    """Otherwise its Pods would take their share of the requests for ever, counted by nobody."""
    namespace = lab.namespace()
    ports = [{"port": 80, "targetPort": 8080}]
    shared = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "cart"}, "spec": {"selector": {"app": "cart"}, "ports": ports}}
    lab.apply([shared, running(4)], namespace)
    made = template(4)
    made[0]["spec"]["template"]["metadata"]["labels"] |= {"app": "cart"}
    place = Place(namespace, "shop-cart", made, full=4, service="cart", adopt="cart")

    async def doing(actuator, owned):
        await adopted(actuator, owned, 4)
        await actuator.apply(*command(TARGET, 2, version("shop/cart", 1, 50), version("shop/cart", 2, 50)))
        await settled(actuator, TARGET, {"#1": 50, "#2": 50})
        if way == "replaces it":
            await owned.replace()
        else:
            changed = rolled_out_digest(5, "well")
            del changed["spec"]["replicas"]
            await asyncio.to_thread(lab.apply, [changed], namespace)
        said = await edited(actuator)
        await actuator.apply(*command(TARGET, 3, version("shop/cart", 1, 100), version("shop/cart", 2, 0), over_edit=said))
        assert (await settled(actuator, TARGET, {"#1": 100, "#2": 0})).edited is None
        await seen(actuator, lambda: _is(owned.marks(), []))
        await seen(actuator, lambda: _is(owned.served("cart"), 4))
        assert (await owned.deployment())["spec"]["replicas"] == 0

    play(lab, place, doing)


def test_what_was_adopted_and_taken_away_is_made_anew_by_whoever_goes_over_that(lab):
    """Its owner deletes the Deployment: told as an edit by hand, and over it the same version becomes one of ours."""
    namespace = lab.namespace()
    lab.apply([route("shop-cart", ["main"]), running()], namespace)

    async def doing(actuator, owned):
        await adopted(actuator, owned)
        await owned.delete()
        for _ in range(600):
            seen = await actuator.observe(TARGET)
            if seen.edited is not None:
                break
            await asyncio.sleep(0.05)
        assert "Deployment cart is gone or has lost our labels" in str(seen.edited)
        await actuator.apply(*command(TARGET, 2, version("shop/cart", 1, 100), over_edit=seen.edited))
        assert (await settled(actuator, TARGET, {"#1": 100})).edited is None
        assert await owned.names() == ["shop-cart-v1"]

    play(lab, adopting(routed_place(namespace, "shop/cart")), doing)


def test_what_was_adopted_is_known_by_itself_where_somebody_deleted_the_memory(lab):
    """The next command goes on with the Pods that serve; nothing is made beside them that their Service would then lead to."""
    namespace = lab.namespace()
    lab.apply([route("shop-cart", ["main"]), running()], namespace)

    async def doing(actuator, owned):
        before = await adopted(actuator, owned)
        await actuator.apply(*command(TARGET, 2, version("shop/cart", 1, 75), version("shop/cart", 2, 25)))
        await settled(actuator, TARGET, {"#1": 75, "#2": 25})
        await owned.forget()
        await actuator.apply(*command(TARGET, 3, version("shop/cart", 1, 50), version("shop/cart", 2, 50)))
        await settled(actuator, TARGET, {"#1": 50, "#2": 50})
        assert (await owned.names(), await owned.standing()) == (["cart", "shop-cart-v2"], before)

    play(lab, adopting(routed_place(namespace, "shop/cart")), doing)


def test_behind_one_service_an_adopted_version_gives_its_pods_up_as_the_next_takes_its_share(lab):
    """Without a gateway weight is a share of Pods: those that stay are the same ones, and it comes back to as many."""
    namespace = lab.namespace()
    ports = [{"port": 80, "targetPort": 8080}]
    shared = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "cart"}, "spec": {"selector": {"app": "cart"}, "ports": ports}}
    lab.apply([shared, running(4)], namespace)
    place = Place(namespace, "shop-cart", template(4), full=4, service="cart", adopt="cart")

    async def doing(actuator, owned):
        before = await adopted(actuator, owned, 4)
        assert await owned.standing() == before
        await actuator.apply(*command(TARGET, 2, version("shop/cart", 1, 100), version("shop/cart", 2, 0)))
        await settled(actuator, TARGET, {"#1": 100, "#2": 0})
        assert await owned.standing() == before
        await actuator.apply(*command(TARGET, 3, version("shop/cart", 1, 75), version("shop/cart", 2, 25)))
        await settled(actuator, TARGET, {"#1": 75, "#2": 25})
        assert (await owned.deployment())["spec"]["replicas"] == 3
        await actuator.apply(*command(TARGET, 4, version("shop/cart", 1, 100), version("shop/cart", 2, 0, Capacity.PARKED)))
        await settled(actuator, TARGET, {"#1": 100, "#2": 0})
        assert (await owned.deployment())["spec"]["replicas"] == 4
        await owned.scale(6)
        async with asyncio.timeout(30.0):
            while (edited := (await actuator.observe(TARGET)).edited) is None:
                await asyncio.sleep(0.02)
        assert "Deployment cart has 6 replicas instead of 4" in edited
        assert (await owned.deployment())["spec"]["replicas"] == 6

    play(lab, place, doing)


def test_a_candidate_by_weight_has_pods_for_its_share_and_the_weight_waits_for_them(lab):
    """Of four Pods one for 5%, two for 50%; on the way back it keeps them until it is parked; stable keeps its own all along."""
    namespace = lab.namespace()
    lab.apply([route("shop-cart", ["main"])], namespace)

    def pair(weight: int, share: int, capacity: Capacity = Capacity.WEIGHTED):
        candidate = msgspec.structs.replace(version("shop/cart", 2, weight, capacity), share=share)
        return version("shop/cart", 1, 100 - weight), candidate

    async def doing(actuator, owned):
        await actuator.apply(*command(TARGET, 1, version("shop/cart", 1, 100)))
        await settled(actuator, TARGET, {"#1": 100})
        steps = ((0, 5, 1), (5, 5, 1), (50, 50, 2), (0, 50, 2))
        for sequence, (weight, share, pods) in enumerate(steps, 2):
            await actuator.apply(*command(TARGET, sequence, *pair(weight, share)))
            seen = await settled(actuator, TARGET, {"#1": 100 - weight, "#2": weight})
            assert (seen.version("#1").instances, seen.version("#2").instances) == (4, pods)
        lab.kubelet.set_ready("shop-cart-v2", ready=False)
        await actuator.apply(*command(TARGET, 7, *pair(100, 100)))
        for _ in range(20):
            seen = await actuator.observe(TARGET)
            assert seen.version("#2").weight == 0
            await asyncio.sleep(0.02)
        lab.kubelet.set_ready("shop-cart-v2", ready=True)
        await settled(actuator, TARGET, {"#1": 0, "#2": 100})

    play(lab, routed_place(namespace, "shop/cart", replicas=4), doing)
