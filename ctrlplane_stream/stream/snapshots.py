"""The state of a partition's environments as records of ``engine-snapshots``: chunks first, the manifest last.

The topic is compacted, so chunks of a new snapshot must not overwrite what the manifest in force still names: each
environment alternates between two slots of keys. A chunk carries the id of its snapshot; where the chunks found are not
those that the manifest names (two owners wrote at once), there is no snapshot, and everything is folded from the log.

A snapshot is true for ever once its records are: the owner takes it only of records that it knows to lie on the log
without a foreign one between its claim and them (``ownership``), so even a zombie's snapshot can only be old.
"""

from collections.abc import Iterator, Mapping

import msgspec

from ctrlplane_stream.decision.state import State
from ctrlplane_stream.stream.decision_log import NO_EPOCH
from ctrlplane_stream.stream.line import Line
from ctrlplane_stream.stream.ports import Letter, LogReader
from ctrlplane_stream.wire.json_words import WrongJson, read_json

TOPIC = "engine-snapshots"
CHUNK_BYTES = 512_000


class Stored(msgspec.Struct, frozen=True, omit_defaults=True):
    """One environment in a manifest: which chunks hold its state, and its line."""

    slot: int
    id: str
    chunks: int
    through: int = -1
    ahead: tuple[int, ...] = ()
    parked: int | None = None
    beside: int = -1
    wake_at_ms: int | None = None
    build: str | None = None
    decided_at: int = -1
    error: str = ""


class Manifest(msgspec.Struct, frozen=True):
    """A complete snapshot of a partition: every record of ``decisions`` below ``next_offset`` is in it."""

    id: str
    epoch: int
    next_offset: int
    environments: dict[str, Stored]


class Chunk(msgspec.Struct, frozen=True):
    """A run of state entries of one environment, in the order of their keys."""

    id: str
    entries: tuple[tuple[str, msgspec.Raw], ...]


EMPTY = Manifest("", NO_EPOCH, 0, {})


def take_snapshot(
    partition: int, lines: Mapping[str, Line], epoch: int, next_offset: int, before: Manifest
) -> Iterator[tuple[list[Letter], Manifest | None]]:
    """The snapshot to write, a step at a time: each environment's chunks, and at the end the manifest with its letter.

    Environments without a new record since ``before`` keep their chunks. Each step is to be awaited before the next.
    """
    id_ = f"{epoch}-{next_offset}"
    stored: dict[str, Stored] = {}
    for environment, line in sorted(lines.items()):
        old = before.environments.get(environment)
        if old is not None and old.decided_at == line.decided_at:
            stored[environment] = old
            continue
        slot = 1 - old.slot if old is not None else 0
        letters = _chunk_letters(partition, environment, slot, id_, line.state)
        stored[environment] = Stored(
            slot, id_, len(letters), line.through, line.ahead, line.parked, line.beside, line.wake_at_ms, line.build, line.decided_at,
            line.error if line.parked is not None else "",
        )  # fmt: skip
        yield letters, None
    manifest = Manifest(id_, epoch, next_offset, stored)
    yield [Letter(TOPIC, partition, _manifest_key(partition), msgspec.json.encode(manifest))], manifest


def _chunk_letters(partition: int, environment: str, slot: int, id_: str, state: State) -> list[Letter]:
    runs: list[list[tuple[str, msgspec.Raw]]] = []
    size = CHUNK_BYTES
    for key, raw in state.entries():
        if size + len(raw) > CHUNK_BYTES:
            runs.append([])
            size = 0
        runs[-1].append((key, msgspec.Raw(raw)))
        size += len(raw) + len(key) + 8
    return [
        Letter(TOPIC, partition, f"{environment}/{slot}/{i}".encode(), msgspec.json.encode(Chunk(id_, tuple(run))))
        for i, run in enumerate(runs)
    ]


def _manifest_key(partition: int) -> bytes:
    return f"manifest/{partition}".encode()


async def load_snapshot(reader: LogReader, partition: int) -> tuple[Manifest, dict[str, Line]]:
    """The latest whole snapshot of a partition and its lines; EMPTY and no lines where there is none."""
    latest: dict[bytes, bytes] = {}
    async for record in reader.read(TOPIC, partition, 0):
        if record.key is not None and record.value is not None:
            latest[record.key] = record.value
    raw = latest.get(_manifest_key(partition))
    if raw is None:
        return EMPTY, {}
    try:
        manifest = read_json(raw, Manifest)
        return manifest, {name: _line(latest, name, stored) for name, stored in manifest.environments.items()}
    except (WrongJson, KeyError):
        return EMPTY, {}


def _line(latest: Mapping[bytes, bytes], environment: str, stored: Stored) -> Line:
    """KeyError where a chunk is missing or another snapshot's, WrongJson where it is none."""
    entries: list[tuple[str, bytes]] = []
    for i in range(stored.chunks):
        chunk = read_json(latest[f"{environment}/{stored.slot}/{i}".encode()], Chunk)
        if chunk.id != stored.id:
            raise KeyError(chunk.id)
        entries.extend((key, bytes(raw)) for key, raw in chunk.entries)
    state = State.from_entries(environment, entries)
    return Line(
        state, stored.through, stored.ahead, stored.parked, stored.beside, stored.wake_at_ms, stored.build, stored.decided_at,
        error=stored.error,
    )  # fmt: skip
