"""Writes `docs/topics.md` from `topics/` and `schemas/`: the same text that `topics apply` works from.

`--check` writes nothing and fails where the page is not what the files say.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from in_step import keep_in_step

from ctrlplane_stream.shipped import shipped
from ctrlplane_stream.wire.topics import TopicSpec, topic_specs

PAGE = Path(__file__).resolve().parent.parent / "docs" / "topics.md"

HEAD = """\
# Topics

Generated from `topics/` and `schemas/` by `python scripts/topics_doc.py`; change those. `ctrlplane-stream topics plan` compares
a broker with them, `ctrlplane-stream topics apply` creates and alters. Every topic has the same number of partitions, N
(`CTRLPLANE_PARTITIONS`), so that a key lies on the same partition of each; changing N is a migration, and refused here.
Every name carries `CTRLPLANE_TOPIC_PREFIX`. Creation by use should be off on the broker.

| topic | key | kept | from → to |
|---|---|---|---|
"""

RIGHTS = """
## rights

For brokers with an authorizer: on its topics each role needs `Read` or `Write` (both bring `Describe`), and `Read` on its consumer group
`<prefix>ctrlplane-<role>`. A worker with `--role all` needs them all. No role makes a topic or a transaction; `topics apply` needs
`Create` and `AlterConfigs` on every topic. Consumers outside of any group (recovery, snapshots, the catalog, every command) need no
more than `Read`. Of the commands, `control`, `artifact push` and `catalog apply` also need `Write` on `control`, `artifacts` and `catalog`,
`dead-letters replay` on the topics that the letters came from, and `doctor` `Create`, `Write` and `Delete` on `<prefix>doctor-…` (without
`Create` it does not compare the clocks, and says so). A judge of your own needs `Write` on `health-verdicts`.

| role | reads | writes |
|---|---|---|
"""

ROLES = ("engine", "spans", "judge", "actuate", "project", "intake")

_UNITS = ((86_400_000, "day"), (3_600_000, "hour"), (60_000, "minute"), (1000, "second"))


def page() -> str:
    """The whole page."""
    specs = topic_specs()
    return HEAD + "".join(_row(s) for s in specs) + RIGHTS + "".join(_rights(role, specs) for role in ROLES) + "".join(map(_section, specs))


def kept(spec: TopicSpec) -> str:
    """How long records are kept, in words."""
    return "newest of each key" if spec.compacted else _duration(int(spec.config["retention.ms"]))


def _duration(milliseconds: int) -> str:
    size, unit = next((size, unit) for size, unit in _UNITS if milliseconds % size == 0)
    count = milliseconds // size
    return f"{count} {unit}{'s' if count != 1 else ''}"


def _row(spec: TopicSpec) -> str:
    return f"| [`{spec.name}`](#{spec.name}) | {spec.key} | {kept(spec)} | {', '.join(spec.producers)} → {', '.join(spec.consumers)} |\n"


def _rights(role: str, specs: Sequence[TopicSpec]) -> str:
    named = {role} if role == "intake" else {role, "all"}
    reads, writes = ([s.name for s in specs if named & _parties(getattr(s, way))] for way in ("consumers", "producers"))
    return f"| `{role}` | {_names(reads)} | {_names(writes)} |\n"


def _parties(named: Sequence[str]) -> set[str]:
    """Who it is, without what of it: the engine, of `engine (ingest)`."""
    return {party.partition(" (")[0] for party in named}


def _names(topics: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in topics) or "nothing"


def _section(spec: TopicSpec) -> str:
    config = ", ".join(f"`{key}={value}`" for key, value in spec.config.items())
    return f"\n## {spec.name}\n\n{spec.why}\n\n- value: {spec.value}{_schema(spec)}\n- configuration: {config}\n"


def _schema(spec: TopicSpec) -> str:
    if spec.schema is None:
        return ""
    path = shipped("schemas") / spec.schema
    title = f": {json.loads(path.read_text())['title']}" if path.suffix == ".json" else ""
    return f" ([`{spec.schema}`](../schemas/{spec.schema}){title})"


if __name__ == "__main__":
    sys.exit(keep_in_step(PAGE, page(), "topics/ and schemas/", sys.argv[1:]))
