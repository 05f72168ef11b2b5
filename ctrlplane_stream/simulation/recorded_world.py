"""The world of a recording, answering other commands than those it was given.

Commands are carried out at once, as a world in order does. What a version was seen to do is what it does again: how long its
start took, that it never became ready, and from when on it failed.
"""

import msgspec

from ctrlplane_stream.model.commands import Command
from ctrlplane_stream.model.facts import Fact, OutcomeReported, WorldChanged
from ctrlplane_stream.model.world import ObservedVersion, TargetObserved
from ctrlplane_stream.simulation.world import Instance, World, WorldTarget

_USUAL_START_MS = 2_000
_NEVER_MS = 1 << 62

Name = tuple[str, str]
"""Service and version label; labels are numbered by the artifacts, so they are the same under every policy."""


class Seen(msgspec.Struct):
    """What the recording shows of one version: when it had its first instance, when one was ready, when what failed."""

    first_ms: int
    ready_ms: int | None = None
    failed_ms: int | None = None
    failure: str = ""

    def note(self, at_ms: int, version: ObservedVersion) -> None:
        """One more observation, in order of time."""
        if version.ready and self.ready_ms is None:
            self.ready_ms = at_ms
        if version.failure is not None and self.failed_ms is None:
            self.failed_ms, self.failure = at_ms, version.failure


def observed_in(fact: Fact) -> TargetObserved | None:
    """What a fact of the world shows, if anything."""
    return fact.observed if isinstance(fact, OutcomeReported | WorldChanged) else None


class RecordedWorld(World):
    """Targets that behave as recorded. Feed ``note`` the whole recording first."""

    def __init__(self, environment: str) -> None:
        super().__init__(environment)
        self._seen: dict[Name, Seen] = {}
        self._ran: list[tuple[int, str, str, int]] = []

    def note(self, at_ms: int, fact: Fact) -> None:
        """Learn from a recorded fact how versions behave."""
        observed = observed_in(fact)
        for version in observed.versions if observed is not None else ():
            if version.instances:
                name = fact.target.service, version.label  # type: ignore[union-attr]
                self._seen.setdefault(name, Seen(at_ms)).note(at_ms, version)
                if version.runs:
                    self._ran.append((at_ms, *name, version.runs))

    def failures(self) -> list[tuple[int, str, str, str]]:
        """(when, service, label, in which words) of every version that was seen to fail, in order of time."""
        return sorted((s.failed_ms, *name, s.failure) for name, s in self._seen.items() if s.failed_ms is not None)

    def ran(self) -> list[tuple[int, str, str, int]]:
        """(when, service, label, how many runs had ended well by then) of every version of a job, in order of time."""
        return sorted(self._ran)

    def fail(self, service: str, label: str, failure: str) -> bool:
        """From now on the version fails; whether that changed anything."""
        found = self.target(service).versions.get(label)
        if found is None or not found.instances or found.failure is not None:
            return False
        found.failure = failure
        return True

    def _nothing_to_adopt(self, target: WorldTarget, command: Command) -> str | None:
        """What was adopted in the recording ran there."""
        known = any((command.target.service, version.label) in self._seen for version in command.wanted.versions)
        return None if known else super()._nothing_to_adopt(target, command)

    def _started(self, service: str, label: str, digest: str, instances: int, now_ms: int) -> Instance:
        seen = self._seen.get((service, label))
        if seen is None:
            return Instance(digest, instances, now_ms + _USUAL_START_MS)
        took_ms = _NEVER_MS if seen.ready_ms is None else seen.ready_ms - seen.first_ms
        failed = seen.failed_ms is not None and (seen.ready_ms is None or now_ms >= seen.failed_ms)
        return Instance(digest, instances, now_ms + took_ms, failure=seen.failure if failed else None)
