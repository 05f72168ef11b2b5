"""What a dependency table writes down of itself: a head, and shards, each under the name of its environment."""

import re

import msgspec

from ctrlplane_stream.telemetry.edge_records import EdgeRecord, ServiceRecord
from ctrlplane_stream.telemetry.heard import Heard
from ctrlplane_stream.wire.json_words import read_json
from ctrlplane_stream.wire.packing import unpacked

_NAME = re.compile(r"(.+)/(head|[0-9]{1,9})", re.DOTALL)


class Shard(msgspec.Struct):
    """A part of the state, and the window of the last step it includes."""

    step: int = -1
    edges: dict[str, EdgeRecord] = msgspec.field(default_factory=dict)
    services: dict[str, ServiceRecord] = msgspec.field(default_factory=dict)


class Head(msgspec.Struct):
    """The state outside the shards. ``restart`` is the ``telemetry-windows`` offset to begin reading at, ``step`` the last window."""

    restart: int = 0
    step: int | None = None
    digest: int | None = None
    progress: dict[int, Heard] = msgspec.field(default_factory=dict)


TableRecord = Head | Shard


def table_record(name: str, value: bytes) -> TableRecord:
    """What a record holds that ``DependencyTable.dirty`` gave. Raises ValueError for a name or a value that it gives none."""
    if _named(name)[1] == "head":
        return read_json(value, Head)
    return read_json(unpacked(value), Shard)


def table_environment(name: str) -> str:
    """The environment that a record of this name is about."""
    return _named(name)[0]


def shard_of(name: str) -> int:
    """The number of the shard that a record of this name holds."""
    return int(_named(name)[1])


def _named(name: str) -> tuple[str, str]:
    found = _NAME.fullmatch(name)
    if found is None:
        raise ValueError("its key is not that of an environment's head or shard")
    return found[1], found[2]
