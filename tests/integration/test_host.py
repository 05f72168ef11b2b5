"""The host as a whole: a real process with real services, seen from outside as workers, callers and operators see it."""

import asyncio
import json
import os
import signal
import time
import urllib.error
import urllib.request
from pathlib import Path

import aiohttp
import msgspec
import pytest
from click.testing import CliRunner

from ctrlplane_stream.actuators.host_api import target_path
from ctrlplane_stream.actuators.port import WorldUnreachable
from ctrlplane_stream.actuators.process import ProcessHost
from ctrlplane_stream.actuators.reconcile import Pace, Reconciler
from ctrlplane_stream.cli import main
from ctrlplane_stream.local.processes import ChildFailed
from ctrlplane_stream.model.commands import Command, Verb
from ctrlplane_stream.model.facts import OutcomeReported, OutcomeStatus
from ctrlplane_stream.model.identity import Artifact, ServiceKind, Target
from ctrlplane_stream.model.world import Capacity, Cursor, TargetObserved, TargetWanted, WantedVersion
from tests.contract.actuators.host_child import HostChild, pids

CART = Target("demo", "shop/cart")
_PATIENCE_SECONDS = 30.0


class Operator:
    """Somebody who gives one command after the other and looks until they have happened."""

    def __init__(self, host: HostChild, actuator: ProcessHost) -> None:
        self.host = host
        self.actuator = actuator
        self.sequence = 0

    def next_command(
        self,
        target: Target,
        kind: ServiceKind = ServiceKind.ROUTED,
        lease: float = 60.0,
        parked: tuple[str, ...] = (),
        in_place: bool = False,
        surplus: int = 0,
        **weights: int,
    ) -> tuple[Command, Cursor]:
        """The next command in order, and its cursor."""
        versions = tuple(
            WantedVersion(
                f"#{name[1:]}",
                Artifact(target.service, "registry.example/tiny", f"sha256:a{int(name[1:]):063x}"),
                {"colour": f"colour of {name}"},
                Capacity.PARKED if name in parked else Capacity.FULL,
                weight,
            )
            for name, weight in weights.items()
        )
        partial = any(0 < weight < 100 for weight in weights.values())
        self.sequence += 1
        wanted = TargetWanted(target, kind, versions, "#1", lease if partial else None, in_place=in_place, surplus_percent=surplus)
        return Command(f"c{self.sequence}", Verb.SHIFT, target, self.sequence, wanted, "test"), Cursor(1, self.sequence)

    async def want(self, target: Target, **wish):
        """``want(CART, v1=75, v2=25)``."""
        return await self.actuator.apply(*self.next_command(target, **wish))

    async def see(self, target: Target, **states: str) -> TargetObserved:
        """Look until versions are ``ready/instances@weight``: ``see(CART, v1="1/1@100")``."""
        wanted = {f"#{name[1:]}": state for name, state in states.items()}
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            seen = await self.actuator.observe(target)
            if {v.label: f"{v.ready}/{v.instances}@{v.weight}" for v in seen.versions} == wanted:
                return seen
            assert time.monotonic() < deadline, f"wanted {wanted}, last saw {seen}"
            await asyncio.sleep(0.02)

    async def ask(self, target: Target = CART, trace: str | None = None, path: str = "/") -> dict:
        """What the service behind the router says of itself."""
        url = (await self.actuator.routes(target.environment))[target.service]
        headers = {} if trace is None else {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
        async with aiohttp.ClientSession() as session, session.get(url + path, headers=headers) as response:
            said = await response.json(content_type=None) if response.status == 200 else {"said": await response.text()}
            return {"status": response.status, **said}


@pytest.fixture
def host(tmp_path):
    child = HostChild(tmp_path)
    yield child
    child.stop()


def operate(host: HostChild, play) -> None:
    async def run():
        async with ProcessHost(host.url) as actuator:
            await play(Operator(host, actuator))

    asyncio.run(run())


def gone(pid: int) -> bool:
    """Whether the process has ended (a zombie that nobody waits for has)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


async def until(holds) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "did not come about"
        await asyncio.sleep(0.02)


def test_an_instance_is_told_who_it_is_and_where_the_others_are(host):
    async def play(operator):
        stock_url = await operator.actuator.reserve(Target("demo", "shop/stock"))
        await operator.actuator.reserve(Target("staging", "shop/stock"))
        await operator.want(CART, v1=100)
        await operator.see(CART, v1="1/1@100")
        told = await operator.ask()
        assert told["SERVICE"] == "shop/cart"
        assert told["CTRLPLANE_VERSION"] == "#1"
        assert told["CONFIG_COLOUR"] == "colour of v1"
        assert told["CTRLPLANE_STANDBY"] is None
        routes = json.loads(told["CTRLPLANE_ROUTES"])
        assert routes == await operator.actuator.routes("demo")
        assert routes["shop/stock"] == stock_url
        assert (
            "ctrlplane.version=%231,service.name=cart,service.namespace=shop,deployment.environment.name=demo"
            in told["OTEL_RESOURCE_ATTRIBUTES"]
        )

    operate(host, play)


def test_traces_are_sticky_and_a_raised_weight_only_adds(host):
    """Sixty traces asked at 20, at 20 again, at 60 and at 100: nobody who met the candidate ever meets stable again."""

    async def play(operator):
        await operator.want(CART, v1=100, v2=0)
        await operator.see(CART, v1="1/1@100", v2="1/1@0")
        met, traces = [], [f"{n * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128:032x}" for n in range(1, 61)]
        for weight in (20, 20, 60, 100):
            await operator.want(CART, v1=100 - weight, v2=weight)
            await operator.see(CART, v1=f"1/1@{100 - weight}", v2=f"1/1@{weight}")
            answers = await asyncio.gather(*(operator.ask(trace=trace) for trace in traces))
            assert [answer for answer in answers if answer["status"] != 200] == []
            met.append({n for n, answer in enumerate(answers) if answer["CTRLPLANE_VERSION"] == "#2"})
        assert met[0] == met[1]
        assert met[0] < met[2] < met[3] == set(range(60))

    operate(host, play)


def test_requests_in_flight_are_finished_before_a_version_stops(host):
    async def play(operator):
        await operator.want(CART, v1=100, v2=0)
        await operator.see(CART, v1="1/1@100", v2="1/1@0")
        await operator.want(CART, v1=0, v2=100)
        await operator.see(CART, v1="1/1@0", v2="1/1@100")
        [pid] = await pids(host.url, CART, "#2")
        slow = asyncio.create_task(operator.ask(path="/slow"))
        await asyncio.sleep(0.2)
        await operator.want(CART, v1=100, v2=0)
        await operator.want(CART, v1=100, v2=0, parked=("v2",))
        await operator.see(CART, v1="1/1@100", v2="0/0@0")
        assert not slow.done(), "the request must still be under way for this test to mean anything"
        answer = await slow
        assert (answer["status"], answer["CTRLPLANE_VERSION"], answer["pid"]) == (200, "#2", pid)
        await until(lambda: gone(pid))

    operate(host, play)


def test_a_killed_service_gives_errors_is_counted_and_comes_back(host):
    async def play(operator):
        await operator.want(CART, v1=100)
        await operator.see(CART, v1="1/1@100")
        os.kill((await pids(host.url, CART, "#1"))[0], signal.SIGKILL)
        answer = await operator.ask()
        assert answer["status"] in (502, 503)
        await operator.see(CART, v1="0/1@100")
        await operator.see(CART, v1="1/1@100")
        assert (await operator.ask())["status"] == 200
        async with aiohttp.ClientSession() as session, session.get(f"{host.url}/counts") as response:
            counts = await response.json()
        assert counts["demo:shop/cart"]["#1"] == {str(answer["status"]): 1, "passed": 1}

    operate(host, play)


def test_a_restarted_host_serves_on_the_same_ports(host):
    """Also after SIGKILL, which takes every service along."""

    async def play(operator):
        await operator.want(CART, v1=60, v2=40)
        await operator.see(CART, v1="1/1@60", v2="1/1@40")
        before, routes = await pids(host.url, CART, "#1"), await operator.actuator.routes("demo")
        host.kill()
        await until(lambda: all(gone(pid) for pid in before))
        with pytest.raises(WorldUnreachable, match="is `ctrlplane-stream host` running"):
            await operator.actuator.observe(CART)
        host.start()
        seen = await operator.see(CART, v1="1/1@60", v2="1/1@40")
        assert seen.cursor == Cursor(1, 1)
        assert await operator.actuator.routes("demo") == routes
        assert (await operator.ask())["status"] == 200

    operate(host, play)


def test_a_stopped_host_leaves_no_process(host):
    async def play(operator):
        await operator.want(CART, v1=100, v2=0)
        await operator.see(CART, v1="1/1@100", v2="1/1@0")
        running = [*await pids(host.url, CART, "#1"), *await pids(host.url, CART, "#2")]
        host.stop()
        assert len(running) == 2
        assert all(gone(pid) for pid in running)

    operate(host, play)


def test_a_lease_runs_out_with_nobody_there(host):
    """No worker, no engine, no broker: the host alone moves the target to stable, also over its own restart."""

    async def play(operator):
        await operator.want(CART, v1=75, v2=25, lease=3.0)
        await operator.see(CART, v1="1/1@75", v2="1/1@25")
        host.kill()
        host.start()
        seen = await operator.see(CART, v1="1/1@100", v2="1/1@0")
        assert seen.lease_expired

    operate(host, play)


@pytest.mark.parametrize("moment", [0.0, 0.1, 0.2, 0.4, 0.7, 1.1])
def test_a_host_killed_at_any_moment_ends_where_an_undisturbed_one_does(host, moment):
    """Commands go through the loop of the target while the host is killed and started: each has one outcome, the last one rules."""

    async def play(operator):
        facts = []

        async def report(fact):
            facts.append(fact)

        loop = Reconciler(CART, operator.actuator, report, pace=Pace(moving_seconds=0.05, tries=100, longest_backoff_seconds=0.3))
        running = asyncio.create_task(loop.run())
        killing = asyncio.create_task(kill_and_start(moment))
        for weight in (0, 10, 25, 50, 75):
            loop.submit(*operator.next_command(CART, v1=100 - weight, v2=weight))
            await asyncio.sleep(0.25)
        await killing
        await operator.see(CART, v1="1/1@25", v2="1/1@75")
        await until(lambda: sum(isinstance(fact, OutcomeReported) for fact in facts) >= 5)
        running.cancel()
        await asyncio.wait({running})
        outcomes = [fact for fact in facts if isinstance(fact, OutcomeReported)]
        assert sorted(fact.command_id for fact in outcomes) == ["c1", "c2", "c3", "c4", "c5"]
        assert next(fact for fact in outcomes if fact.command_id == "c5").status is OutcomeStatus.APPLIED

    async def kill_and_start(after):
        await asyncio.sleep(after)
        host.kill()
        await asyncio.sleep(0.3)
        host.start()  # Not in a thread: the kernel ends a child with the thread that started it.

    operate(host, play)


def test_a_consumer_takes_weight_by_whole_instances(host):
    """Four instances: 10% rounds down to none, 30% to one, 100% to all; what must not poll stands by."""
    orders = Target("demo", "shop/orders")

    async def play(operator):
        async def steps(see, **weights):
            outcome = await operator.want(orders, kind=ServiceKind.CONSUMER, **weights)
            assert outcome.status is OutcomeStatus.APPLIED, outcome
            await operator.see(orders, **see)

        await steps({"v1": "4/4@100"}, v1=100)
        await steps({"v1": "4/4@100", "v2": "1/1@0"}, v1=100, v2=0)
        await steps({"v1": "4/4@100", "v2": "1/1@0"}, v1=90, v2=10)
        await steps({"v1": "3/3@75", "v2": "1/1@25"}, v1=70, v2=30)
        await steps({"v1": "1/1@0", "v2": "4/4@100"}, v1=0, v2=100)
        await steps({"v1": "4/4@100", "v2": "0/0@0"}, v1=100, v2=0, parked=("v2",))

    operate(host, play)


async def exchange(operator, *steps, **how):
    """Play steps (weights, what is to be seen then) from a full v1 on; the numbers of instances and of ready ones ever since."""
    ledger = Target("demo", "shop/ledger")
    counted = []

    async def watch():
        while True:
            seen = await operator.actuator.observe(ledger)
            counted.append((sum(v.instances for v in seen.versions), sum(v.ready for v in seen.versions)))
            await asyncio.sleep(0.01)

    async def step(weights, see):
        outcome = await operator.want(ledger, kind=ServiceKind.CONSUMER, in_place=True, **how, **weights)
        assert outcome.status is OutcomeStatus.APPLIED, outcome
        await operator.see(ledger, **see)

    await step({"v1": 100}, {"v1": "4/4@100"})
    watching = asyncio.create_task(watch())
    for weights, see in steps:
        await step(weights, see)
    watching.cancel()
    return {instances for instances, _ in counted}, {ready for _, ready in counted}


def test_what_changes_in_place_never_has_more_instances_than_it_had(host):
    """Four instances: one is drained, ended, exchanged and ready before the next goes, up and down again."""

    async def play(operator):
        instances, ready = await exchange(
            operator,
            ({"v1": 75, "v2": 25}, {"v1": "3/3@75", "v2": "1/1@25"}),
            ({"v1": 50, "v2": 50}, {"v1": "2/2@50", "v2": "2/2@50"}),
            ({"v1": 100, "v2": 0}, {"v1": "4/4@100", "v2": "0/0@0"}),
        )
        assert instances == {4}
        assert ready == {3, 4}

    operate(host, play)


def test_a_routed_service_that_changes_in_place_is_behind_its_router_again(host):
    """With one instance nobody serves while it is exchanged; then the new version does, and back."""

    async def play(operator):
        await operator.want(CART, in_place=True, v1=100)
        await operator.see(CART, v1="1/1@100")
        await operator.want(CART, in_place=True, v1=0, v2=100)
        await operator.see(CART, v1="0/0@0", v2="1/1@100")
        assert (await operator.ask())["CTRLPLANE_VERSION"] == "#2"
        await operator.want(CART, in_place=True, v1=100, v2=0)
        await operator.see(CART, v1="1/1@100", v2="0/0@0")
        assert (await operator.ask())["CTRLPLANE_VERSION"] == "#1"

    operate(host, play)


def test_a_job_runs_by_its_schedule_and_its_next_runs_are_of_whoever_has_the_weight(tmp_path):
    host = HostChild(tmp_path, "--job-seconds", "0.1")

    async def ran(operator, **least):
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            seen = await operator.actuator.observe(CART)
            if all((v := seen.version(f"#{name[1:]}")) is not None and v.runs >= count for name, count in least.items()):
                return seen
            assert time.monotonic() < deadline, f"wanted {least} runs, last saw {seen}"
            await asyncio.sleep(0.02)

    async def play(operator):
        await operator.want(CART, kind=ServiceKind.JOB, v1=100)
        await ran(operator, v1=2)
        await operator.want(CART, kind=ServiceKind.JOB, v1=100, v2=0)
        await operator.see(CART, v1="1/1@100", v2="1/1@0")
        await operator.want(CART, kind=ServiceKind.JOB, v1=0, v2=100)
        seen = await ran(operator, v2=1)
        assert [version.failure for version in seen.versions] == [None, None]
        assert await operator.actuator.routes(CART.environment) == {}

    try:
        operate(host, play)
    finally:
        host.stop()


def test_with_some_room_a_consumer_is_made_before_it_is_ended(host):
    """Four instances, and at most one more: never fewer than four are ready."""

    async def play(operator):
        instances, ready = await exchange(
            operator,
            ({"v1": 50, "v2": 50}, {"v1": "2/2@50", "v2": "2/2@50"}),
            ({"v1": 0, "v2": 100}, {"v1": "0/0@0", "v2": "4/4@100"}),
            surplus=25,
        )
        assert instances == {4, 5}
        assert min(ready) == 4

    operate(host, play)


def test_a_candidate_by_weight_has_processes_for_its_share_and_keeps_them_on_the_way_back(tmp_path):
    """Of four one for 5%, two for 50%, before the weight rises; stable has its four all along."""
    host = HostChild(tmp_path, "--full", "4")

    async def play(operator):
        async def want(weight: int, share: int) -> None:
            command, cursor = operator.next_command(CART, v1=100 - weight, v2=weight)
            stable, candidate = command.wanted.versions
            grown = msgspec.structs.replace(candidate, capacity=Capacity.WEIGHTED, share=share)
            wanted = msgspec.structs.replace(command.wanted, versions=(stable, grown))
            await operator.actuator.apply(msgspec.structs.replace(command, wanted=wanted), cursor)

        await operator.want(CART, v1=100)
        await operator.see(CART, v1="4/4@100")
        for weight, share, processes in ((0, 5, 1), (5, 5, 1), (50, 50, 2), (0, 50, 2)):
            await want(weight, share)
            await operator.see(CART, v1=f"4/4@{100 - weight}", v2=f"{processes}/{processes}@{weight}")

    try:
        operate(host, play)
    finally:
        host.stop()


def test_a_machine_that_starts_all_that_runs_has_nothing_to_adopt(host):
    """It is refused with what to do instead, starts nothing, and can be given up."""

    async def play(operator):
        command, cursor = operator.next_command(CART, v1=100)
        refused = await operator.actuator.apply(msgspec.structs.replace(command, verb=Verb.ADOPT), cursor)
        assert (refused.status, "nothing to adopt: abort this, and push" in refused.reason) == (OutcomeStatus.REFUSED, True)
        command, cursor = operator.next_command(CART)
        nothing = msgspec.structs.replace(command.wanted, stable=None)
        left = await operator.actuator.apply(msgspec.structs.replace(command, verb=Verb.LEAVE, wanted=nothing), cursor)
        assert (left.status, (await operator.actuator.observe(CART)).versions) == (OutcomeStatus.APPLIED, ())

    operate(host, play)


def test_a_service_does_not_change_its_kind(host):
    async def play(operator):
        await operator.want(CART, v1=100)
        outcome = await operator.want(CART, kind=ServiceKind.CONSUMER, v1=100)
        assert (outcome.status, outcome.reason.split(":")[0]) == (OutcomeStatus.REFUSED, "demo")

    operate(host, play)


@pytest.mark.parametrize(
    ("method", "path", "body", "content", "status", "reason"),
    [
        ("PUT", target_path(CART), b"{", "application/json", 400, "truncated"),
        ("PUT", target_path(CART), b'{"command": 1}', "application/json", 400, "Expected `object`"),
        ("POST", target_path(CART, "break-glass"), b"{}", "text/plain", 400, "application/json"),
        ("POST", target_path(CART, "break-glass"), b"{}", "application/json", 404, "nothing of demo:shop/cart"),
        ("POST", target_path(CART, "hand-edit"), b'{"weights": {"#1": "x"}}', "application/json", 400, "Expected `int`"),
    ],
)
def test_what_cannot_be_read_is_answered_with_a_reason(host, method, path, body, content, status, reason):
    request = urllib.request.Request(host.url + path, body, {"Content-Type": content}, method=method)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    assert refused.value.code == status
    assert reason in json.loads(refused.value.read())["reason"]


def test_a_second_host_on_the_same_folder_says_so(host, tmp_path):
    with pytest.raises(ChildFailed, match="another host runs on"):
        HostChild(tmp_path)


def test_a_damaged_ledger_is_not_guessed_at(host, tmp_path):
    async def play(operator):
        await operator.want(CART, v1=100)

    operate(host, play)
    host.stop()
    [ledger] = (tmp_path / "state" / "targets").glob("*/*.json")
    ledger.write_bytes(b'{"wanted":')
    with pytest.raises(ChildFailed, match=r"shop%2Fcart.json.*or remove it to begin demo:shop/cart anew"):
        host.start()


def test_break_glass_needs_neither_kafka_nor_engine(host):
    async def play(operator):
        await operator.want(CART, v1=60, v2=40)
        await operator.see(CART, v1="1/1@60", v2="1/1@40")

    operate(host, play)
    shell = CliRunner(env={"CTRLPLANE_HOST_URL": host.url, "KAFKA_BOOTSTRAP_SERVERS": ""})
    aborted = shell.invoke(main, ["break-glass", "abort", "demo:shop/cart", "--who", "alice", "--why", "checkout is down"])
    assert aborted.exit_code == 0, aborted.output
    assert "#1  100%  1/1 ready" in aborted.output
    assert "broken glass: alice at" in aborted.output
    shown = json.loads(shell.invoke(main, ["break-glass", "show", "demo:shop/cart", "--json"]).output)
    assert [version["weight"] for version in shown["versions"]] == [100, 0]


@pytest.mark.parametrize(
    ("target", "status", "says"),
    [("demo:shop/nothing", 1, "nothing of demo:shop/nothing"), ("shop/cart", 2, "give environment:namespace/name")],
)
def test_break_glass_says_what_is_wrong(host, target, status, says):
    shell = CliRunner(env={"CTRLPLANE_HOST_URL": host.url})
    result = shell.invoke(main, ["break-glass", "abort", target])
    assert (result.exit_code, says in result.output) == (status, True), result.output


def test_break_glass_without_a_host_says_where_it_looked():
    shell = CliRunner(env={"CTRLPLANE_HOST_URL": "http://127.0.0.1:1"})
    result = shell.invoke(main, ["break-glass", "abort", "demo:shop/cart"])
    assert result.exit_code == 1
    assert "http://127.0.0.1:1 does not answer" in result.output
    assert "give it as --actuator: dry-run, gitops, kubernetes" in result.output
