"""What each topic is: the YAML files of ``topics/`` as words.

One file a topic: key, value, who writes and reads it, Kafka's own configuration, and why. The number of partitions is
not in them: it is one N for all topics (``Settings.partitions``), so that a key lies on the same partition everywhere.
"""

from functools import lru_cache
from pathlib import Path

import msgspec

from ctrlplane_stream.shipped import shipped


class TopicSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One topic. ``config`` is in Kafka's words and units; ``schema`` names a file of ``schemas/``, None: not JSON or private."""

    name: str
    key: str
    value: str
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    config: dict[str, str]
    why: str
    schema: str | None = None

    @property
    def compacted(self) -> bool:
        """Whether only the newest record of each key is kept."""
        return self.config.get("cleanup.policy") == "compact"

    @property
    def max_message_bytes(self) -> int:
        """The largest record batch that the broker takes on this topic."""
        return int(self.config["max.message.bytes"])


@lru_cache(maxsize=1)
def topic_names() -> frozenset[str]:
    """The names of all topics, without reading what they are."""
    return frozenset(path.stem for path in shipped("topics").glob("*.yaml"))


def topic_specs(folder: Path | None = None) -> tuple[TopicSpec, ...]:
    """All topics, by name; raises ValueError with the file's name where one is not as it must be."""
    return tuple(_load(path) for path in sorted((folder or shipped("topics")).glob("*.yaml")))


def _load(path: Path) -> TopicSpec:
    try:
        spec = msgspec.yaml.decode(path.read_bytes(), type=TopicSpec)
    except msgspec.DecodeError as error:
        raise ValueError(f"{path.name}: {error}") from None
    if spec.name != path.stem:
        raise ValueError(f"{path.name}: describes topic {spec.name!r}")
    return spec
