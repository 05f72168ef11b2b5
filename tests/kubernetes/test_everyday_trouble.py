"""What happens on clusters every week, in the middle of a release: rights that go, drained nodes, policies that deny, an end of all."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import aiohttp
import msgspec

from ctrlplane_stream.actuators.kubernetes.objects import Kind
from ctrlplane_stream.actuators.kubernetes.transport import HttpTransport, Request
from ctrlplane_stream.actuators.port import WorldUnreachable
from ctrlplane_stream.actuators.reconcile import Reconciler
from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.local.control_plane.scene import command, kubernetes, route, routed_place, settled, version
from ctrlplane_stream.model.facts import OutcomeReported, OutcomeStatus
from ctrlplane_stream.model.identity import Target
from tests.kubernetes.engine_on_cluster import ENVIRONMENT
from tests.kubernetes.test_failing_versions import phase, serving, weighed

ROLLOUT = f"{ENVIRONMENT}/cart/2"
TARGET = Target("staging", "shop/cart")
RBAC = "/apis/rbac.authorization.k8s.io/v1/namespaces"
POLICIES = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
BINDINGS = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings"


async def asked(transport, method, path, body=None):
    """What the API server says to an administrator."""
    reply = await transport.send(Request(method, path, {}, body))
    assert reply.status < 300, reply
    return msgspec.json.decode(reply.body)


def test_rights_that_are_taken_away_stop_a_rollout_and_given_back_let_it_go_on(lab):
    async def run() -> None:
        async with serving(lab, "cart") as (engine, namespace, _):
            admin = HttpTransport(lab.admin_access)
            engine.push("cart", 2)
            await engine.until(lambda: weighed(engine, "#2") > 0, "the candidate has weight")
            path = f"{RBAC}/{namespace}/rolebindings"
            (binding,) = (await asked(admin, "GET", path))["items"]
            name = binding["metadata"]["name"]
            await asked(admin, "DELETE", f"{path}/{name}")
            await engine.until(lambda: any("cannot" in said and "forbidden" in said for said in engine.said(ROLLOUT)), "it is said")
            assert phase(engine, ROLLOUT) is Phase.SHIFTING
            again = {key: binding[key] for key in ("apiVersion", "kind", "roleRef", "subjects") if key in binding}
            again |= {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": name}}
            await asked(admin, "POST", path, again)
            await engine.until(lambda: engine.ended(2), "it goes on")
            assert phase(engine, ROLLOUT) is Phase.COMPLETED
            await admin.close()

    asyncio.run(run())


async def ready_pods(cluster, namespace) -> set[str]:
    """The names of the Pods that are ready and stay, as the cluster itself has them."""
    pods, _ = await cluster.select(Kind.POD, namespace)
    staying = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
    found = {pod["metadata"]["name"]: pod["status"].get("conditions") or [] for pod in staying}
    return {name for name, all_of in found.items() if any((each["type"], each["status"]) == ("Ready", "True") for each in all_of)}


def test_nodes_that_are_drained_one_after_the_other_take_no_release_back(lab):
    """Every Pod of both versions is evicted once, and others take their places: one of two is gone at a time, and none has failed."""

    async def run() -> None:
        async with serving(lab, "cart") as (engine, namespace, cluster):
            admin = HttpTransport(lab.admin_access)
            engine.push("cart", 2)
            await engine.until(lambda: weighed(engine, "#2") > 0, "the candidate has weight")
            before, _ = await cluster.select(Kind.POD, namespace)
            assert len(before) == 4
            for pod in before:
                name = pod["metadata"]["name"]
                eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": namespace}}
                await asked(admin, "POST", f"/api/v1/namespaces/{namespace}/pods/{name}/eviction", eviction)
                while name in (there := await ready_pods(cluster, namespace)) or len(there) < 4:
                    await engine.window()
            await engine.until(lambda: engine.ended(2), "it goes on")
            assert phase(engine, ROLLOUT) is Phase.COMPLETED
            await admin.close()

    asyncio.run(run())


def freeze(namespace: str):
    """A policy by which the API server's admission denies every change of a route there, and what puts it into force."""
    rules = [{"apiGroups": ["gateway.networking.k8s.io"], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["httproutes"]}]
    here = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
    meta, validations = {"name": f"freeze-{namespace}"}, [{"expression": "false", "message": "change freeze until Monday"}]
    policy = {"kind": "ValidatingAdmissionPolicy", "metadata": meta}
    policy["spec"] = {"matchConstraints": {"resourceRules": rules}, "validations": validations}
    binding = {"kind": "ValidatingAdmissionPolicyBinding", "metadata": meta}
    binding["spec"] = {"policyName": meta["name"], "validationActions": ["Deny"], "matchResources": here}
    return [{"apiVersion": "admissionregistration.k8s.io/v1", **each} for each in (policy, binding)]


def test_a_policy_that_denies_the_route_is_told_with_its_words_and_an_abort_is_done_once_it_does_not(lab):
    namespace = lab.namespace()
    lab.apply([route("shop-cart", ["main"])], namespace)
    policy, binding = freeze(namespace)

    def pair(stable: int):
        return version("shop/cart", 1, stable), version("shop/cart", 2, 100 - stable)

    async def run() -> None:
        async with lab.product() as cluster:
            admin, actuator = HttpTransport(lab.admin_access), kubernetes(cluster, (TARGET, routed_place(namespace, "shop/cart")))
            for sequence, stable in ((1, 100), (2, 75)):
                await actuator.apply(*command(TARGET, sequence, *pair(stable)))
                await settled(actuator, TARGET, {"#1": stable, "#2": 100 - stable})
            await asked(admin, "POST", POLICIES, policy)
            await asked(admin, "POST", BINDINGS, binding)
            await denied(actuator)
            await asked(admin, "DELETE", f"{BINDINGS}/{binding['metadata']['name']}")
            await asked(admin, "DELETE", f"{POLICIES}/{policy['metadata']['name']}")
            await allowed(actuator)
            await settled(actuator, TARGET, {"#1": 100, "#2": 0})
            await admin.close()

    async def denied(actuator) -> None:
        """The server hears of a policy a moment later; until then steps are taken, one after the other."""
        deadline, sequence, said = time.monotonic() + 30.0, 3, ""
        while "change freeze until Monday" not in said:
            assert time.monotonic() < deadline, said
            try:
                said = (await actuator.apply(*command(TARGET, sequence, *pair(75 - sequence % 2)))).reason
            except WorldUnreachable as error:
                said = str(error)
            sequence += 1
            await asyncio.sleep(0.05)

    async def allowed(actuator) -> None:
        """The abort as the reconcile loop tries it: until it is taken."""
        deadline, said = time.monotonic() + 30.0, ""
        while True:
            assert time.monotonic() < deadline, said
            try:
                outcome = await actuator.apply(*command(TARGET, 100_000, *pair(100)))
            except WorldUnreachable as error:
                said = str(error)
                await asyncio.sleep(0.05)
                continue
            assert outcome.status is OutcomeStatus.APPLIED, outcome
            return

    asyncio.run(run())


class Eager(HttpTransport):
    """Asks on where the API server is away, so that it is the first that a new one answers; and counts what that forbids."""

    def __init__(self, access) -> None:
        super().__init__(access)
        self.told_at, self.forbidden = 0.0, 0

    async def send(self, request):
        """See ``Transport``: of losses one in 20 s is told."""
        while True:
            try:
                reply = await super().send(request)
            except (aiohttp.ClientError, OSError):
                if time.monotonic() - self.told_at > 20.0:
                    self.told_at = time.monotonic()
                    raise
                await asyncio.sleep(0.002)
                continue
            self.forbidden += reply.status == 403
            return reply


def test_an_abort_that_meets_an_api_server_just_back_is_carried_out(lab):
    """Killed and started anew it answers before it has read who may do what, and forbids everything: that is no last word."""
    namespace = lab.namespace()
    lab.apply([route("shop-cart", ["main"])], namespace)
    placed = (TARGET, routed_place(namespace, "shop/cart"))

    def pair(stable: int):
        return version("shop/cart", 1, stable), version("shop/cart", 2, 100 - stable)

    async def shifted(sequence: int) -> None:
        async with lab.product() as cluster:
            actuator = kubernetes(cluster, placed)
            await actuator.apply(*command(TARGET, sequence, *pair(75)))
            await settled(actuator, TARGET, {"#1": 75, "#2": 25})

    async def aborted(eager: Eager, sequence: int) -> OutcomeReported:
        outcome = asyncio.get_running_loop().create_future()

        async def report(fact) -> None:
            if isinstance(fact, OutcomeReported):
                outcome.set_result(fact)

        async with lab.product(eager) as cluster:
            actuator = kubernetes(cluster, placed)
            loop = Reconciler(TARGET, actuator, report)
            loop.submit(*command(TARGET, sequence, *pair(100)))
            keeping = asyncio.create_task(loop.run())
            try:
                async with asyncio.timeout(120.0):
                    return await outcome
            finally:
                keeping.cancel()
                await asyncio.gather(keeping, return_exceptions=True)

    def forbidden_while_aborting(sequence: int) -> int:
        """How often the server forbade something to an abort that is told while it is away."""
        eager = Eager(lab.product_access)
        asyncio.run(shifted(sequence))
        lab.plane.kill_api_server()
        with ThreadPoolExecutor(1) as pool:
            aborting = pool.submit(lambda: asyncio.run(aborted(eager, sequence + 1)))
            lab.plane.start_api_server()
            outcome = aborting.result()
        assert outcome.status is OutcomeStatus.APPLIED, outcome
        assert {each.label: each.weight for each in outcome.observed.versions} == {"#1": 100, "#2": 0}
        return eager.forbidden

    # For how long a server forbids is its own matter: a moment, which may pass unseen.
    assert any(forbidden_while_aborting(10 * attempt) for attempt in range(1, 6)), "no server forbade anything: nothing was tried"


def test_a_namespace_that_ends_and_is_made_anew_begins_anew(lab):
    """While it ends nothing new can be made in it, and that is said; in the next of the same name the next command begins."""
    namespace = lab.namespace()
    lab.apply([route("shop-cart", ["main"])], namespace)

    async def run() -> None:
        async with lab.product() as cluster:
            admin, actuator = HttpTransport(lab.admin_access), kubernetes(cluster, (TARGET, routed_place(namespace, "shop/cart")))
            await actuator.apply(*command(TARGET, 1, version("shop/cart", 1, 100)))
            await settled(actuator, TARGET, {"#1": 100})
            await asked(admin, "DELETE", f"/api/v1/namespaces/{namespace}")
            outcome = await actuator.apply(*command(TARGET, 2, version("shop/cart", 1, 100), version("shop/cart", 2, 0)))
            seen = outcome.observed.version("#2") if outcome.observed is not None else None
            assert "is being terminated" in outcome.reason or "forbidden" in outcome.reason, (outcome, seen)
            deadline = time.monotonic() + 60.0
            while (await admin.send(Request("GET", f"/api/v1/namespaces/{namespace}"))).status != 404:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.1)
            await asyncio.to_thread(lambda: lab.namespace(again=namespace))
            await asyncio.to_thread(lab.apply, [route("shop-cart", ["main"])], namespace)
            await actuator.apply(*command(TARGET, 3, version("shop/cart", 1, 100)))
            await settled(actuator, TARGET, {"#1": 100})
            await admin.close()

    asyncio.run(run())
