"""A decision while it is being made: changes laid over a state, outputs and reasons collected, everything applied once.

Rules read through the draft and so see what earlier rules of the same decision changed. Commands are not emitted one
by one: a rule marks a target as to be told, and at the end each marked target gets one command with its whole desired state.
"""

from collections.abc import Iterator
from typing import Final, TypeVar

import msgspec
from msgspec.structs import replace

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.state import Entry, Known, State, encode_entry
from ctrlplane_stream.model.catalog import ServiceInEnvironment
from ctrlplane_stream.model.commands import Output, Verb
from ctrlplane_stream.model.decisions import GONE, Reason
from ctrlplane_stream.model.policy import Mode, Policy

E = TypeVar("E", bound=msgspec.Struct)
_ADVISE: Final = Mode.ADVISE
"""A name of its own, for the reason that ``phases.py`` gives."""


class Telling(msgspec.Struct, frozen=True):
    """That a target is to be told its desired state: why, and on behalf of which rollout.

    ``weights`` stand for those that are wanted of it, this once.
    """

    verb: Verb
    because: str
    rollout: str | None
    weights: dict[str, int] | None = None


class Draft:
    """A state with changes on top. Used by one decision, then thrown away."""

    def __init__(self, state: State, clock: e.Clock) -> None:
        self.state = state
        self.clock = clock
        self.outputs: list[Output] = []
        self.reasons: list[Reason] = []
        self.telling: dict[str, Telling] = {}
        self.moved: list[str] = []
        """Rollouts that were moved so far, once for each move: what others wait for may have changed."""
        self._changes: dict[str, Entry | None] = {}
        self._known = Known(state)
        """A rule is asked many times in one decision."""
        self.put("clock", clock)

    @classmethod
    def as_of(cls, state: State) -> "Draft":
        """A draft at the time of the last fact that was decided, for looking ahead: nothing of it is kept."""
        return cls(state, state.find("clock", e.Clock) or e.Clock())

    @property
    def environment(self) -> str:
        """The environment that is decided about."""
        return self.state.environment

    def find(self, key: str, type_: type[E]) -> E | None:
        """The entry of a key as changed so far, or None."""
        return self._known[key]  # type: ignore[return-value]

    def has(self, key: str) -> bool:
        """Whether there is an entry of that key now."""
        return self._known[key] is not None

    def put(self, key: str, entry: msgspec.Struct) -> None:
        """Set an entry."""
        self._changes[key] = self._known[key] = entry

    def remove(self, key: str) -> None:
        """Take an entry away; nothing happens where there is none."""
        self._changes[key] = self._known[key] = None

    def because(self, code: str, text: str, rollout: str | None = None) -> None:
        """Give a reason for what was decided."""
        self.reasons.append(Reason(code, text, rollout))

    def tell(self, service: str, telling: Telling) -> None:
        """Mark a target as to be told its desired state; what is marked later in a decision says the verb."""
        self.telling[service] = telling

    @property
    def dated_ms(self) -> int:
        """The time by which dates are over: one fact that is far ahead of all before it ends none, since it may be wrong."""
        before = self.state.find("clock", e.Clock)
        now_ms = self.clock.now_ms
        return before.now_ms if before is not None and now_ms - before.now_ms > e.FAR_MS else now_ms

    @property
    def index(self) -> e.Index:
        """What there is to look at."""
        return self._known["index"] or e.Index()  # type: ignore[return-value]

    @property
    def telemetry(self) -> e.TelemetryEntry:
        """What is known of the windows."""
        return self._known["telemetry"] or e.TelemetryEntry()  # type: ignore[return-value]

    def target(self, service: str) -> e.TargetEntry:
        """The target of a service; a blank one where it was never touched."""
        return self._known[f"target/{service}"] or e.TargetEntry(service)  # type: ignore[return-value]

    def put_target(self, target: e.TargetEntry) -> None:
        """Set a target."""
        self.put(f"target/{target.service}", target)

    def service(self, name: str) -> ServiceInEnvironment | None:
        """A service of the catalog in force, or None."""
        return self._known[f"service/{name}"]  # type: ignore[return-value]

    def service_as_known(self, name: str) -> ServiceInEnvironment | None:
        """A service of the catalog in force, or one that has left it as the catalog last had it: for what still runs of it."""
        return self.service(name) or self.find(f"gone/{name}", ServiceInEnvironment)

    def policy(self, name: str) -> Policy:
        """The policy of a service as the catalog last had it; the default where it never had."""
        entry = self.service_as_known(name)
        return entry.policy if entry is not None else Policy()

    def is_advised(self, name: str) -> bool:
        """Whether another tool moves the service, and we only advise."""
        entry = self.service(name)
        return entry is not None and entry.policy.mode is _ADVISE

    def version(self, service: str, label: str) -> e.VersionEntry | None:
        """A version by its label, or None."""
        return self.find(f"version/{service}/{label}", e.VersionEntry)

    def told_as(self, service: str, label: str) -> str:
        """The label that telemetry carries for a version: our own, or another's where it was adopted."""
        version = self.version(service, label)
        return (version.told_as if version is not None else None) or label

    def rollout(self, id_: str) -> e.Rollout | None:
        """A rollout by its id, or None."""
        return self._known[f"rollout/{id_}"]  # type: ignore[return-value]

    def mover(self, target: e.TargetEntry) -> e.Rollout | None:
        """The rollout that has a target, or None."""
        return self.rollout(target.rollout) if target.rollout is not None else None

    def version_set(self, id_: str) -> e.VersionSet:
        """The set of a rollout that exists. KeyError where there is none."""
        found = self._known[f"set/{id_}"]
        if found is None:
            raise KeyError(id_)
        return found  # type: ignore[return-value]

    def rollouts(self) -> Iterator[e.Rollout]:
        """Rollouts that have not ended, in order of arrival."""
        known = self._known
        for id_ in self.index.rollouts:
            if (found := known[f"rollout/{id_}"]) is not None:
                yield found  # type: ignore[misc]

    def put_rollout(self, rollout: e.Rollout) -> None:
        """Set a rollout."""
        self.put(f"rollout/{rollout.id}", rollout)

    def list_under_way(self, id_: str) -> None:
        """List the rollout of this id as the last of those under way, also where it ended or was under way before."""
        rollouts, ended = (tuple(i for i in ids if i != id_) for ids in (self.index.rollouts, self.index.ended))
        self.put("index", replace(self.index, rollouts=(*rollouts, id_), ended=ended))

    def changes(self) -> dict[str, Entry | None]:
        """What truly changed, in the order of the keys."""
        changes, read = self._changes, self.state.read
        return {key: slot for key in sorted(changes) if (slot := changes[key]) is not (before := read(key)) and slot != before}


def delta_of(changes: dict[str, Entry | None]) -> dict[str, msgspec.Raw]:
    """The changes as the log of record holds them."""
    return {key: msgspec.Raw(GONE if slot is None else encode_entry(slot)) for key, slot in changes.items()}
