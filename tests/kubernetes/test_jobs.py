"""Jobs on a cluster: a CronJob a version, of which the one with the weight runs; runs are counted, and how they end is the evidence."""

import asyncio
import itertools

import msgspec
import pytest

from ctrlplane_stream.actuators.kubernetes.objects import Kind
from ctrlplane_stream.actuators.kubernetes.place import Place
from ctrlplane_stream.actuators.kubernetes.transport import HttpTransport, Reply, Request
from ctrlplane_stream.local.control_plane.scene import RARELY, command, job_template, kubernetes, run_of, settled, version
from ctrlplane_stream.local.control_plane.sweep.faults import Killed
from ctrlplane_stream.model.commands import Verb
from ctrlplane_stream.model.facts import OutcomeStatus
from ctrlplane_stream.model.identity import ServiceKind, Target
from ctrlplane_stream.model.world import Capacity
from tests.kubernetes.dying import Dying

_AT_ONCE, _EVERY = 6, 3
SERVICE = "shop/report"
TARGET = Target("staging", SERVICE)


class Office:
    """The target in a namespace, its actuator, and the schedule in our hands: ``run`` is ``kubectl create job --from=cronjob/…``."""

    def __init__(self, lab, cluster, admin, namespace: str) -> None:
        self.lab, self.admin, self.namespace = lab, admin, namespace
        self.begin(cluster)
        self._sequence, self._run = itertools.count(1), itertools.count(1)

    def begin(self, cluster) -> None:
        """A worker begins, without anything that another knew."""
        self.actuator = kubernetes(cluster, (TARGET, Place(self.namespace, "shop-report", job_template())))

    async def want(self, one: int | Capacity | None, two: int | Capacity | None = None, *, behaviour: str = "well", **more):
        """The outcome of a command with these weights of #1 and #2; PARKED for one that is, None for one that is not listed."""
        wanted = [
            version(
                SERVICE,
                number,
                weight if isinstance(weight, int) else 0,
                Capacity.FULL if isinstance(weight, int) else weight,
                behaviour if number == 2 else "well",
            )
            for number, weight in ((1, one), (2, two))
            if weight is not None
        ]
        return await self.actuator.apply(*command(TARGET, next(self._sequence), *wanted, kind=ServiceKind.JOB, **more))

    async def again(self, sequence: int, one, two=None, **more) -> None:
        """A command at this place in the order, until it is done and seen."""
        self._sequence = itertools.count(sequence)
        outcome = await self.want(one, two, **more)
        assert outcome.status is OutcomeStatus.APPLIED, outcome
        listed = [label for label, each in (("#1", one), ("#2", two)) if each is not None]
        await self.until("it is done", lambda seen: [v.label for v in seen.versions] == listed and seen.cursor.sequence == sequence)
        heir = "#2" if two == 100 else "#1"
        await self.until("the weight has moved", lambda seen: of(seen, heir).weight == 100)
        async with asyncio.timeout(30.0):
            while await self.running() != [f"shop-report-v{heir[1:]}"]:
                await self.actuator.observe(TARGET)

    async def ran(self, number: int) -> None:
        """A run of the version that ends well and is counted, begun by whoever comes first."""
        if not (await self.admin.select(Kind.JOB, self.namespace, f"ctrlplane-stream.dev/version=v{number}"))[0]:
            await self.run(number)
        await self.until("it is counted", lambda seen: of(seen, f"#{number}").runs == 1)

    async def never_two(self) -> None:
        """Watch until cancelled; AssertionError where two CronJobs may run at one moment."""
        there: dict[str, bool] = {}
        listed, revision = await self.admin.select(Kind.CRON_JOB, self.namespace)
        assert listed == ()
        async for event in self.admin.watch(Kind.CRON_JOB, self.namespace, "", revision):
            if event.type in ("ADDED", "MODIFIED", "DELETED"):
                name = event.object["metadata"]["name"]
                there[name] = event.type != "DELETED" and not event.object["spec"]["suspend"]
            assert sum(there.values()) <= 1, there

    async def until(self, what: str, holds):
        """Look until it holds of the observation."""
        async with asyncio.timeout(30.0):
            while not holds(seen := await self.actuator.observe(TARGET)):
                await asyncio.sleep(0.02)
        return seen

    async def running(self) -> list[str]:
        """The CronJobs that are not suspended."""
        found, _ = await self.admin.select(Kind.CRON_JOB, self.namespace)
        return [each["metadata"]["name"] for each in found if not each["spec"]["suspend"]]

    async def run(self, number: int) -> str:
        """Begin a run of a version, as its schedule does."""
        cron_job = await self.admin.get(Kind.CRON_JOB, self.namespace, f"shop-report-v{number}")
        name = f"shop-report-v{number}-{next(self._run)}"
        await self.admin.create(Kind.JOB, self.namespace, run_of(cron_job, name))
        return name


def in_office(lab, play):
    """Play in a namespace of its own."""

    async def run() -> None:
        async with lab.product() as cluster, lab.admin() as admin:
            await play(Office(lab, cluster, admin, namespace))

    namespace = lab.namespace()
    asyncio.run(run())


def of(seen, label: str):
    found = seen.version(label)
    assert found is not None, seen
    return found


def test_the_version_with_the_weight_runs_and_no_other(lab):
    """A version is a suspended CronJob with its own image, labels and configuration; the weight is which of them is not."""

    async def play(office: Office) -> None:
        await office.want(100, verb=Verb.PREPARE)
        await settled(office.actuator, TARGET, {"#1": 100})
        await office.want(100, 0, verb=Verb.PREPARE)
        seen = await settled(office.actuator, TARGET, {"#1": 100, "#2": 0})
        assert [(v.instances, v.ready, v.runs, v.running) for v in seen.versions] == [(1, 1, 0, 0), (1, 1, 0, 0)]
        assert seen.granularity == 1, "steps of services that move together with a job are not rounded for it"
        assert await office.running() == ["shop-report-v1"]
        made = (await office.admin.get(Kind.CRON_JOB, office.namespace, "shop-report-v2"))["spec"]
        assert (made["schedule"], made["concurrencyPolicy"], made["startingDeadlineSeconds"]) == (RARELY, "Forbid", 60)
        (container,) = made["jobTemplate"]["spec"]["template"]["spec"]["containers"]
        assert container["image"].endswith("2")
        assert {"name": "CTRLPLANE_VERSION", "value": "#2"} in container["env"]
        await office.want(0, 100)
        await settled(office.actuator, TARGET, {"#1": 0, "#2": 100})
        assert await office.running() == ["shop-report-v2"]
        await office.want(None, 100, stable="#2")
        await office.until("#1 is gone", lambda seen: seen.version("#1") is None)
        assert [each["metadata"]["name"] for each in (await office.admin.select(Kind.CRON_JOB, office.namespace))[0]] == ["shop-report-v2"]

    in_office(lab, play)


def test_runs_that_end_well_are_counted_once_each_and_the_count_outlives_their_jobs(lab):
    async def play(office: Office) -> None:
        await office.want(100)
        for count in (1, 2, 3):
            await office.run(1)
            await office.until("it ended well", lambda seen, count=count: of(seen, "#1").runs == count)
        jobs, _ = await office.admin.select(Kind.JOB, office.namespace)
        for job in jobs:
            metadata = job["metadata"]
            await office.admin.delete(Kind.JOB, office.namespace, metadata["name"], metadata["uid"], metadata["resourceVersion"])
        async with asyncio.timeout(30.0):
            while (await office.admin.select(Kind.JOB, office.namespace))[0]:
                await asyncio.sleep(0.02)
        assert of(await office.actuator.observe(TARGET), "#1").runs == 3
        await office.run(1)
        seen = await office.until("the fourth ended well", lambda seen: of(seen, "#1").runs == 4)
        assert (of(seen, "#1").failure, of(seen, "#1").running) == (None, 0)

    in_office(lab, play)


def test_a_run_that_fails_is_told_until_one_ends_well_or_the_version_is_parked(lab):
    async def play(office: Office) -> None:
        await office.want(0, 100, behaviour="never-ready")
        await office.until("#2 has the weight", lambda seen: of(seen, "#2").weight == 100)
        for well in (False, True, False):
            name = await office.run(2)
            await office.until("it runs", lambda seen: of(seen, "#2").running == 1)
            await _ends(office, well=well)
            seen = await office.until("it ended", lambda seen: of(seen, "#2").running == 0)
            failure = of(seen, "#2").failure
            assert failure is None if well else failure is not None and failure.startswith(f"a run failed, {name}: BackoffLimitExceeded"), (
                seen
            )
        assert of(seen, "#2").runs == 1
        await office.want(100, Capacity.PARKED, behaviour="never-ready", verb=Verb.PARK)
        await office.want(100, 0, behaviour="never-ready", verb=Verb.PREPARE)
        seen = await office.until("#2 may run again", lambda seen: of(seen, "#2").instances == 1)
        assert (of(seen, "#2").failure, of(seen, "#2").runs) == (None, 1)

    in_office(lab, play)


async def _ends(office: Office, *, well: bool) -> None:
    """Let the runs of #2 end, once their Pods are there."""
    async with asyncio.timeout(30.0):
        while (await office.actuator.observe(TARGET)).version("#2").running:
            office.lab.kubelet.end_runs("shop-report-v2", well=well)
            await asyncio.sleep(0.05)


def test_the_next_version_waits_for_a_run_that_is_under_way_and_parking_ends_it(lab):
    """The weight moves at once, and no two versions ever run together; only parking ends a run, which then counts as nothing."""

    async def play(office: Office) -> None:
        await office.want(100, 0, behaviour="never-ready", verb=Verb.PREPARE)
        await office.want(0, 100, behaviour="never-ready")
        await settled(office.actuator, TARGET, {"#1": 0, "#2": 100})
        await office.run(2)
        await office.until("it runs", lambda seen: of(seen, "#2").running == 1)
        await office.want(100, 0, behaviour="never-ready")
        seen = await settled(office.actuator, TARGET, {"#1": 100, "#2": 0})
        assert (of(seen, "#2").running, await office.running()) == (1, [])
        await office.want(100, Capacity.PARKED, behaviour="never-ready", verb=Verb.PARK)
        seen = await office.until("it was ended", lambda seen: of(seen, "#2").running == 0)
        assert (of(seen, "#2").runs, of(seen, "#2").instances, of(seen, "#2").failure) == (0, 0, None)
        async with asyncio.timeout(30.0):
            while await office.running() != ["shop-report-v1"]:
                await office.actuator.observe(TARGET)

    in_office(lab, play)


class LaggingRuns(HttpTransport):
    """An API server whose cache of Jobs stays where it is: a list that need not be the newest is answered by it, as long as that may be."""

    def __init__(self, access) -> None:
        super().__init__(access)
        self._held: tuple[int, Reply] | None = None

    async def send(self, request: Request) -> Reply:
        """See ``Transport``."""
        asked = request.query.get("resourceVersion")
        if not request.path.endswith("/jobs") or asked is None:
            return await super().send(request)
        if self._held is None or self._held[0] < int(asked):
            reply = await super().send(request)
            self._held = int(msgspec.json.decode(reply.body)["metadata"]["resourceVersion"]), reply
        return self._held[1]


def test_a_run_that_a_lagging_server_does_not_tell_of_yet_is_waited_for_all_the_same(lab):
    """What the schedule began a moment before it was suspended: the list by which a version may begin is the newest there is."""

    async def play(office: Office) -> None:
        async with lab.product(LaggingRuns(lab.product_access)) as lagging:
            office.begin(lagging)
            await office.want(0, 100, behaviour="never-ready")
            await settled(office.actuator, TARGET, {"#1": 0, "#2": 100})
            await office.run(2)
            assert of(await office.actuator.observe(TARGET), "#2").running == 0, "the server does not lag"
            await office.want(100, 0, behaviour="never-ready")
            seen = await settled(office.actuator, TARGET, {"#1": 100, "#2": 0})
            assert (of(seen, "#2").running, await office.running()) == (1, [])

    in_office(lab, play)


def test_a_run_whose_image_cannot_be_had_is_told_while_it_waits(lab):
    async def play(office: Office) -> None:
        await office.want(0, 100, behaviour="missing")
        await office.run(2)
        seen = await office.until("it cannot start", lambda seen: of(seen, "#2").failure is not None)
        assert of(seen, "#2").failure.startswith("ImagePullBackOff"), seen

    in_office(lab, play)


def test_a_cron_job_that_a_command_takes_as_somebody_left_it_is_ours_from_then_on(lab):
    """Unsuspended by hand ahead of an abort that wants the same: suspended by hand after that it is another edit, and stays so."""

    async def play(office: Office) -> None:
        async def suspended(suspend: bool, said: str) -> str:
            patch = [{"op": "replace", "path": "/spec/suspend", "value": suspend}]
            await office.admin.patch(Kind.CRON_JOB, office.namespace, "shop-report-v1", patch)
            return (await office.until("it is told", lambda seen: f"CronJob shop-report-v1 is {said}" in (seen.edited or ""))).edited

        await office.again(1, 100)
        await office.again(2, 100, 0)
        await office.again(3, 0, 100)
        edited = await suspended(False, "not suspended")
        await office.again(4, 100, 0, over_edit=edited)
        edited = await suspended(True, "suspended")
        assert "not suspended" not in edited
        assert await office.running() == []

    in_office(lab, play)


def test_a_cron_job_suspended_by_hand_is_a_persons_pause(lab):
    async def play(office: Office) -> None:
        await office.want(100, 0)
        await settled(office.actuator, TARGET, {"#1": 100, "#2": 0})
        await office.admin.patch(
            Kind.CRON_JOB, office.namespace, "shop-report-v1", [{"op": "replace", "path": "/spec/suspend", "value": True}]
        )
        seen = await office.until("it is told", lambda seen: seen.edited is not None)
        assert "CronJob shop-report-v1 is suspended" in seen.edited
        assert (await office.want(0, 100)).status is OutcomeStatus.REFUSED
        assert (await office.want(100, 0, over_edit=seen.edited)).status is OutcomeStatus.APPLIED
        await office.until("it is over", lambda seen: seen.edited is None)
        assert await office.running() == ["shop-report-v1"]

    in_office(lab, play)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"verb": Verb.ADOPT}, "a job is not adopted"),
        ({"kind": ServiceKind.ROUTED}, "is routed in the catalog, and its template has a CronJob"),
    ],
)
def test_what_a_job_cannot_be_is_refused_in_words(lab, more, reason):
    async def play(office: Office) -> None:
        one = version(SERVICE, 1, 100)
        refused = await office.actuator.apply(*command(TARGET, 1, one, **({"kind": ServiceKind.JOB} | more)))
        assert (refused.status, reason in refused.reason) == (OutcomeStatus.REFUSED, True), refused
        rounded = await office.want(75, 25, lease=60.0)
        assert (rounded.status, rounded.reason) == (
            OutcomeStatus.APPLIED,
            "taken; a job has all of its runs or none: #1 gets 100% instead of 75%, #2 gets 0% instead of 25%",
        )

    in_office(lab, play)


async def script(office: Office, step: int) -> None:
    """One step of a rollout with a run of each version; each may be taken again by somebody who does not know how far another came."""
    match step:
        case 0:
            await office.again(1, 100, verb=Verb.PREPARE)
        case 1:
            await office.again(2, 100, 0, verb=Verb.PREPARE)
        case 2:
            await office.ran(1)
        case 3:
            await office.again(3, 0, 100)
        case 4:
            await office.ran(2)
        case 5:
            await office.again(4, Capacity.PARKED, 100, verb=Verb.PARK, stable="#2")
        case _:
            await office.again(5, None, 100, verb=Verb.DELETE, stable="#2")


def test_whoever_is_killed_at_a_write_no_two_versions_ever_may_run_and_each_run_counts_once(lab):
    """After every third of its writes, by turns heard of and not; another goes on. All would be minutes, since a run takes seconds."""

    async def once(writes: int) -> bool:
        namespace = await asyncio.to_thread(lab.namespace)
        dying = lab.product(Dying(lab.product_access, writes, hears=writes % 2 == 0))
        async with dying, lab.product() as cluster, lab.admin() as admin:
            office, dead = Office(lab, dying, admin, namespace), False
            watching = asyncio.create_task(office.never_two())
            for step in range(7):
                try:
                    await script(office, step)
                except Killed:
                    dead = True
                    office.begin(cluster)
                    await script(office, step)
            watching.cancel()
            assert (await asyncio.gather(watching, return_exceptions=True))[0].__class__ is asyncio.CancelledError, writes
            seen = await office.actuator.observe(TARGET)
            assert [(v.label, v.weight, v.runs, v.running) for v in seen.versions] == [("#2", 100, 1, 0)], (writes, seen)
            found, _ = await admin.select(Kind.CRON_JOB, namespace)
            assert [(each["metadata"]["name"], each["spec"]["suspend"]) for each in found] == [("shop-report-v2", False)], writes
            return dead

    async def run() -> int:
        writes, count = 0, 0
        while True:
            dead = await asyncio.gather(*(once(writes + _EVERY * more) for more in range(_AT_ONCE)))
            count, writes = count + sum(dead), writes + _EVERY * _AT_ONCE
            if not all(dead):
                return count

    assert asyncio.run(run()) > 20 // _EVERY
