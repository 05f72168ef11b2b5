"""What each version is made from: the template that its catalog named, by digest, and what the placement said beside it. Pure.

A version may have to be made again long after: its Deployment was deleted by hand, or it is returned to after its retention. By then the
placement has another template. So the memory keeps a version's source, and each template once. It does so as the command is taken, in the
same write: what was taken can be made by whoever comes next, also without a placement file. Where the catalog names no template a version
is made from whatever the placement has.
"""

from collections.abc import Iterable

import msgspec

from ctrlplane_stream.actuators.kubernetes.memory import Memory, packed
from ctrlplane_stream.actuators.kubernetes.place import Place, Source
from ctrlplane_stream.model.identity import version_number
from ctrlplane_stream.model.world import WantedVersion
from ctrlplane_stream.wire.templates import digest_of

KEPT = 10
"""Of so many versions, the last ones, the source is kept after they are deleted."""
ROOM_BYTES = 960 * 1024
"""For templates in a memory, packed: a ConfigMap holds 1 MiB in bytes of its values as they are, and the ledger is in it too."""


def place_of(memory: Memory | None, place: Place, label: str) -> Place:
    """The place with the source of a version; as it is where the version has none."""
    source = memory.sources.get(label) if memory is not None else None
    if memory is None or source is None:
        return place
    return msgspec.structs.replace(place, template=memory.templates[source.digest], container=source.container, port=source.port)


def with_source(memory: Memory, place: Place, version: WantedVersion) -> Memory:
    """The memory with the source of a version; without one where its catalog names no template, or one that nobody has."""
    digest = digest_of(version.template) if version.template is not None else None
    there = digest_of(place.named) if place.named is not None else None
    known = memory.sources.get(version.label)
    if digest is None or (there != digest and digest not in memory.templates):
        return memory if known is None else _with_sources(memory, {k: each for k, each in memory.sources.items() if k != version.label})
    if known is not None and known.digest == digest:
        return memory
    templates = memory.templates if digest in memory.templates else {**memory.templates, digest: place.template}
    source = Source(digest, *_beside(memory, place, digest, there))
    return msgspec.structs.replace(memory, sources={**memory.sources, version.label: source}, templates=templates)


def _beside(memory: Memory, place: Place, digest: str, there: str | None) -> tuple[str | None, int | None]:
    """Container and port as the placement has them beside this template, or had them when it had it last."""
    known = [memory.sources[label] for label in sorted(memory.sources, key=_age) if memory.sources[label].digest == digest]
    return (place.container, place.port) if there == digest or not known else (known[-1].container, known[-1].port)


def unknown(place: Place, version: WantedVersion) -> str:
    """That nobody has the template of a version, in words."""
    there = f"has {place.named}" if place.named is not None else "names none"
    return (
        f"the catalog names the template {version.template} for {version.label}, and the placement file {there}: give the worker that file "
        "(`ctrlplane-stream install` ships it, and a worker reads it when it starts), or apply a catalog that names the one that is there"
    )


def is_unknown(memory: Memory | None, version: WantedVersion) -> bool:
    """Whether the version cannot be made, since what it is to be made from is nowhere."""
    source = memory.sources.get(version.label) if memory is not None else None
    return version.template is not None and (source is None or source.digest != digest_of(version.template))


def pruned(memory: Memory, listed: Iterable[str]) -> Memory:
    """The memory without the sources that nobody may ask for any more, and the templates that no source names."""
    kept = {*listed, *sorted(memory.sources, key=_age)[-KEPT:]}
    if kept.issuperset(memory.sources):
        return memory
    return _with_sources(memory, {label: source for label, source in memory.sources.items() if label in kept})


def fitted(memory: Memory, listed: Iterable[str]) -> Memory | str:
    """The memory with as many sources of deleted versions as there is room for, or why those that are listed do not go in."""
    spare = sorted(memory.sources.keys() - set(listed), key=_age)
    while (size := len(packed(memory))) > ROOM_BYTES and spare:
        gone = spare.pop(0)
        memory = _with_sources(memory, {label: source for label, source in memory.sources.items() if label != gone})
    if size <= ROOM_BYTES:
        return memory
    return (
        f"the templates of the versions of {memory.target} are {size} bytes when packed, and their memory has room for {ROOM_BYTES}: "
        "take what is large out of the template, such as a ConfigMap, and apply it yourself"
    )


def without_files(memory: Memory) -> Memory:
    """The memory with what moves weight alone, where there is no room for the template and nothing is to be made from it."""
    template = tuple(each for each in memory.place.template if each.get("kind") != "ConfigMap")
    return msgspec.structs.replace(memory, place=msgspec.structs.replace(memory.place, template=template), sources={}, templates={})


def _with_sources(memory: Memory, sources: dict[str, Source]) -> Memory:
    used = {source.digest for source in sources.values()}
    templates = {digest: template for digest, template in memory.templates.items() if digest in used}
    return msgspec.structs.replace(memory, sources=sources, templates=templates)


def _age(label: str) -> tuple[int, str]:
    """The order in which versions were numbered."""
    return version_number(label) or 0, label
