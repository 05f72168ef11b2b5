"""The engine's memory of one environment: a persistent map of string keys to frozen entries.

A state is a value. Putting an entry makes a new state that shares all else with the old one (a hash array mapped trie), so a
decision over 100,000 edges costs what it changes. What ``decide`` changed is the delta: each changed key with its canonical
JSON, or ``null`` where it went away. Folding deltas in order gives the state again; so does a snapshot of its entries.

Keys: ``clock``, ``index``, ``telemetry``, ``catalog``, ``service/<name>``, ``origin/<topic>/<partition>``,
``edge/<kind>/<caller>|<callee>``, ``traffic/<service>``, ``arrivals/<service>``, ``version/<service>/<label>``,
``pair/<service>/<digest>/<manifest hash>``, ``offered/<service>/<digest>``, ``target/<service>``, ``set/<rollout>``,
``rollout/<rollout>``, ``freeze/<override>``, ``override/<override>``, ``release/<id>``, ``advised/<service>``, ``gone/<service>``.

Entries that come from a log or a snapshot stay bytes until somebody asks for them, so that recovery costs a map, not a
parse.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar, final

import msgspec
from immutables import Map

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.graph import Graph, edge_of_key
from ctrlplane_stream.model.catalog import ServiceInEnvironment
from ctrlplane_stream.model.decisions import GONE, Decided
from ctrlplane_stream.model.facts import EdgeSeen, ServiceSeen

Entry = msgspec.Struct
E = TypeVar("E", bound=msgspec.Struct)

ENTRY_TYPES: dict[str, type[msgspec.Struct]] = {
    "clock": e.Clock,
    "index": e.Index,
    "telemetry": e.TelemetryEntry,
    "catalog": e.CatalogEntry,
    "service": ServiceInEnvironment,
    "origin": e.OriginMark,
    "edge": EdgeSeen,
    "traffic": ServiceSeen,
    "arrivals": e.ArrivalsEntry,
    "version": e.VersionEntry,
    "pair": e.PairEntry,
    "offered": e.OfferedEntry,
    "target": e.TargetEntry,
    "set": e.VersionSet,
    "rollout": e.Rollout,
    "freeze": e.FreezeEntry,
    "override": e.OverrideEntry,
    "release": e.ReleaseEntry,
    "advised": e.AdvisedEntry,
    "gone": ServiceInEnvironment,
}
"""The part of a key before the first slash, to the kind of its entry."""

_encode = msgspec.json.Encoder(order="deterministic").encode
_decoders = {kind: msgspec.json.Decoder(type_) for kind, type_ in ENTRY_TYPES.items()}


@final
class Packed:
    """An entry as its canonical JSON; it is parsed when it is first asked for."""

    __slots__ = ("_entry", "raw")

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self._entry: Entry | None = None

    def entry(self, key: str) -> Entry:
        """The entry; msgspec.ValidationError where the bytes are not one of this key's kind."""
        if self._entry is None:
            self._entry = _decoders[key.partition("/")[0]].decode(self.raw)
        return self._entry


Slot = Entry | Packed


def encode_entry(entry: Entry) -> bytes:
    """The canonical JSON of an entry: fields in declared order, mapping keys sorted."""
    return _encode(entry)


class State:
    """Everything the engine knows of one environment. Immutable; equal states have equal entries byte for byte."""

    __slots__ = ("_rollouts", "_slots", "environment", "graph")

    def __init__(self, environment: str, slots: "Map[str, Slot]", graph: Graph) -> None:
        self.environment = environment
        self._slots = slots
        self.graph = graph
        self._rollouts: tuple[e.Rollout, ...] | None = None

    @classmethod
    def empty(cls, environment: str) -> "State":
        """The state before the first fact."""
        return cls(environment, Map(), Graph.empty())

    @classmethod
    def from_entries(cls, environment: str, entries: Iterable[tuple[str, bytes]]) -> "State":
        """The state that a snapshot holds; its sequence is the one that was current when the snapshot was taken."""
        slots: dict[str, Slot] = {key: Packed(raw) for key, raw in entries}
        edges = (edge_of_key(key) for key in slots if key.startswith("edge/"))
        return cls(environment, Map(slots), Graph.of(edges))

    @property
    def sequence(self) -> int:
        """How many facts were decided."""
        clock = self.find("clock", e.Clock)
        return clock.sequence if clock is not None else 0

    @property
    def rollouts(self) -> tuple[e.Rollout, ...]:
        """The rollouts that have not ended, in order of arrival. Looked up once: whoever checks a decision asks many times."""
        if self._rollouts is None:
            index = self.find("index", e.Index) or e.Index()
            found = (self.find(f"rollout/{id_}", e.Rollout) for id_ in index.rollouts)
            self._rollouts = tuple(rollout for rollout in found if rollout is not None)
        return self._rollouts

    def find(self, key: str, _type: type[E]) -> E | None:
        """The entry of a key, or None. ``_type`` is the kind that the key's prefix stands for."""
        return self.read(key)  # type: ignore[return-value]

    def read(self, key: str) -> Entry | None:
        """The entry of a key, of whatever kind, or None."""
        slot = self._slots.get(key)
        if type(slot) is Packed:
            return slot.entry(key)
        return slot

    def __contains__(self, key: str) -> bool:
        return key in self._slots

    def __len__(self) -> int:
        return len(self._slots)

    def entries(self) -> Iterator[tuple[str, bytes]]:
        """Every entry as canonical JSON, in the order of the keys."""
        for key in sorted(self._slots):
            slot = self._slots[key]
            yield key, slot.raw if type(slot) is Packed else _encode(slot)

    def with_changes(self, changes: Mapping[str, Slot | None]) -> "State":
        """This state with entries put (or, where None, removed)."""
        slots: Map[str, Slot] = self._slots.update(changes)  # type: ignore[arg-type]  # those that are None go in the next line
        for key, slot in changes.items():
            if slot is None:
                slots = slots.delete(key)
        return State(self.environment, slots, self.graph.with_changes(changes, self._slots))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, State):
            return NotImplemented
        return self.environment == other.environment and list(self.entries()) == list(other.entries())

    __hash__ = None  # type: ignore[assignment]


class Known(dict[str, Entry | None]):
    """Entries of a state as a decision knows them, its own changes on top: each is read when it is first asked for.

    None stands for a key without an entry.
    """

    __slots__ = ("_slots",)

    def __init__(self, state: State) -> None:
        self._slots = state._slots

    def __missing__(self, key: str) -> Entry | None:
        slot = self._slots.get(key)
        entry = self[key] = slot.entry(key) if type(slot) is Packed else slot
        return entry


def fold(state: State, decided: Decided) -> State:
    """The state after a decision that was recorded: its delta, and nothing but its delta."""
    changes: dict[str, Slot | None] = {key: None if (value := bytes(raw)) == GONE else Packed(value) for key, raw in decided.delta.items()}
    return state.with_changes(changes)
