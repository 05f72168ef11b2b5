"""The state of a job after each moment, and what of it breaks what holds of jobs.

1: no two versions may run at once; none begins but the one that the command gives the runs to, when no run of another is under way; and it
is told to have the weight when no other may run. 3: on the way back nothing but stable begins. 4: no version is deleted while it may
run. Runs: one that is under way is ended only where its version is parked or no longer listed, none counts before it ended well nor
twice, and no count falls. Besides these: the cursor in the memory never goes back.
"""

from ctrlplane_stream.actuators.kubernetes.names import version_name, version_slug
from ctrlplane_stream.actuators.kubernetes.objects import LABEL, SERVICE, VERSION, Kind, Manifest, annotation, label, name_of
from ctrlplane_stream.actuators.kubernetes.place import Place
from ctrlplane_stream.actuators.kubernetes.runs import told
from ctrlplane_stream.local.control_plane.sweep.memories import Memories
from ctrlplane_stream.local.control_plane.sweep.moments import Moment
from ctrlplane_stream.model.world import Capacity


class RunsReplay:
    """Moments in the order of their revisions, from ``step`` to ``step``."""

    def __init__(self, place: Place) -> None:
        self._slug = place.slug
        self._memories = Memories(place)
        self._cron_jobs: dict[str, Manifest] = {}
        self._weights: dict[str, int] = {}
        self._under_way: dict[str, str] = {}
        """The version's slug, by the name of the Job."""
        self._well: dict[str, set[str]] = {}
        """The Jobs that ended well, by the version's slug."""

    def step(self, moment: Moment) -> list[str]:
        """What this moment breaks."""
        match moment.kind:
            case Kind.CRON_JOB:
                return self._scheduled(moment.object, moment.gone)
            case Kind.JOB:
                return self._ran(moment.object, moment.gone)
            case _:
                return self._remembered(moment)

    def _remembered(self, moment: Moment) -> list[str]:
        found, before = self._memories.step(moment), self._weights
        self._weights = self._memories.ledger.weights if self._memories.ledger is not None else {}
        if sum(self._weights.values()) not in (0, 100):
            found.append(f"1: weights sum to {sum(self._weights.values())}: {self._weights}")
        for of, weight in sorted(self._weights.items()):
            others = self._may_run(but=version_name(self._slug, of))
            if weight > before.get(of, 0) and others:
                found.append(f"1: {of} rose to {weight} while {', '.join(others)} may run")
        return found

    def _scheduled(self, cron_job: Manifest, gone: bool) -> list[str]:
        of, name = annotation(cron_job, LABEL), name_of(cron_job)
        if of is None:
            return []
        before = self._cron_jobs.pop(name, None)
        did_run = before is not None and not before["spec"]["suspend"]
        if gone:
            return [f"4: {name} was deleted while it may run"] if did_run else []
        self._cron_jobs[name] = cron_job
        found = self._counted(cron_job, before)
        return found + (self._begun(of, name) if not did_run and not cron_job["spec"]["suspend"] else [])

    def _begun(self, of: str, name: str) -> list[str]:
        found, others, heir = [], self._may_run(but=name), self._heir()
        if others:
            found.append(f"1: {name} may run beside {', '.join(others)}")
        busy = sorted(job for job, version in self._under_way.items() if version != version_slug(of))
        if busy:
            found.append(f"1: {name} may run while {', '.join(busy)} is under way")
        if heir != of:
            number = 3 if self._memories.aborting else 1
            found.append(f"{number}: {name} may run, and the command gives the runs to {heir}")
        return found

    def _counted(self, cron_job: Manifest, before: Manifest | None) -> list[str]:
        name, count = name_of(cron_job), told(cron_job).ended_well
        was = told(before).ended_well if before is not None else 0
        there = len(self._well.get(label(cron_job, VERSION) or "", ()))
        found = [f"runs: the count of {name} fell from {was} to {count}"] if count < was else []
        return [*found, f"runs: {count} are counted of {name}, of which {there} ended well"] if count > there else found

    def _ran(self, job: Manifest, gone: bool) -> list[str]:
        of, name = label(job, VERSION), name_of(job)
        if of is None or label(job, SERVICE) != self._slug:
            return []
        was_under_way = self._under_way.pop(name, None) is not None
        ends = {each["type"] for each in (job.get("status") or {}).get("conditions") or [] if each["status"] == "True"}
        if "Complete" in ends:
            self._well.setdefault(of, set()).add(name)
        if gone:
            return [f"runs: {name} was ended, and its version is to stay"] if was_under_way and self._stays(of) else []
        if not ends & {"Complete", "Failed"}:
            self._under_way[name] = of
        return []

    def _may_run(self, *, but: str) -> list[str]:
        return sorted(name for name, each in self._cron_jobs.items() if name != but and not each["spec"]["suspend"])

    def _heir(self) -> str | None:
        """Who is to have the runs: whoever is given all of the weight, and of a part of it nobody but stable."""
        ledger, wanted = self._memories.ledger, self._memories.wanted
        if ledger is None or wanted is None:
            return None
        return next((of for of, weight in ledger.goal.items() if weight == 100), wanted.stable)

    def _stays(self, version: str) -> bool:
        """Whether a version is listed, and not to be parked."""
        listed = self._memories.wanted.versions if self._memories.wanted is not None else ()
        return any(version_slug(each.label) == version and each.capacity is not Capacity.PARKED for each in listed)
