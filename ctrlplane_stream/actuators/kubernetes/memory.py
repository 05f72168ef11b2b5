"""What a target remembers of us in the cluster: the ledger and what belongs to it, in one ConfigMap.

The ConfigMap is the cell of compare-and-set: it is only ever replaced at the revision that was read. Its annotations
repeat the gist for people; ``data.memory`` is the truth. It holds the target's place too, so that a lease can be
honoured and glass be broken with nothing but the API. Templates lie beside the rest, packed: they may hold
ConfigMaps as large as the API server takes any, which in JSON within JSON would be larger than that.
"""

import gzip
import zlib
from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from ctrlplane_stream.actuators.kubernetes.names import memory_name
from ctrlplane_stream.actuators.kubernetes.objects import MANAGED_BY, MANAGER, PREFIX, SERVICE, TARGET, Manifest, annotation
from ctrlplane_stream.actuators.kubernetes.place import Place, Route, Source
from ctrlplane_stream.actuators.ledger import Ledger
from ctrlplane_stream.model.identity import Target
from ctrlplane_stream.wire.json_words import read_json

_KEY = "memory"
_TEMPLATES = "templates.json.gz"
_Templates = tuple[str | tuple[Manifest, ...], dict[str, tuple[Manifest, ...]]]
"""That of the place, or its digest where it is one of the others; and those by digest."""
_templates: msgspec.json.Decoder[_Templates] = msgspec.json.Decoder(_Templates)
_LAST_DATE_SECONDS = 253_402_300_799
"""The last second that has a date; a lease may be longer."""
MEMORY = f"{PREFIX}memory"
"""Label that chooses memories alone."""


class MemoryUnreadable(RuntimeError):
    """The ConfigMap is damaged or somebody else's; the text names it. Nothing is guessed: a lost cursor would let old commands in."""


class Memory(msgspec.Struct, frozen=True):
    """The memory of one target.

    ``ledger.weights`` is what a person set last by our verbs or by hand; the weights in force are read from the route
    or the replicas themselves. ``made``: labels whose objects were complete once, so that a missing one was taken away.
    ``adopted``: label → the Deployment that was there before us; ``replaced``: that whose place one of ours takes once it is ready.
    ``accepted``: object → how it was left by a hand that
    we reported (see ``strays``), so that it is reported once. ``hidden``: labels by which the shared Service chooses.
    ``steered``: the rule that had our weights once, so that one without our record is not taken for one that was never ours.
    ``sources``: label → what the version is made from, where the catalog named its template; ``templates``: those by digest.
    """

    target: Target
    place: Place
    ledger: Ledger = Ledger()
    made: tuple[str, ...] = ()
    adopted: dict[str, str] = {}
    replaced: dict[str, str] = {}
    accepted: dict[str, str] = {}
    hands_off: bool = False
    hidden: tuple[str, ...] = ()
    steered: Route | None = None
    sources: dict[str, Source] = {}
    templates: dict[str, tuple[Manifest, ...]] = {}

    @property
    def scaled(self) -> bool:
        """Whether a version may have an autoscaler of ours."""
        made = (self.place.template, *self.templates.values())
        return any(manifest.get("kind") == "HorizontalPodAutoscaler" for template in made for manifest in template)


def read_memory(manifest: Manifest, target: Target | None = None) -> Memory:
    """The memory in a ConfigMap; ``target``: whose it must be. Raises MemoryUnreadable."""
    name = f"ConfigMap {manifest['metadata'].get('namespace')}/{manifest['metadata']['name']}"
    text = (manifest.get("data") or {}).get(_KEY)
    if text is None or annotation(manifest, TARGET) is None:
        raise MemoryUnreadable(f"{name} is not ours: rename it, or give the service another `name` in the placement file")
    try:
        memory = _with_templates(read_json(text, Memory), (manifest.get("binaryData") or {}).get(_TEMPLATES))
    except (ValueError, EOFError, OSError, zlib.error) as error:
        raise MemoryUnreadable(f"{name}: {error}; restore it, or delete it to begin {annotation(manifest, TARGET)} anew") from error
    if target is not None and memory.target != target:
        raise MemoryUnreadable(f"{name} is the memory of {memory.target}: give {target} another `name` in the placement file")
    return memory


def memory_manifest(memory: Memory, revision: str | None) -> Manifest:
    """The ConfigMap of a memory; ``revision`` is that which it replaces, None for a new one."""
    place = memory.place
    metadata: Manifest = {
        "name": memory_name(place.slug),
        "namespace": place.namespace,
        "labels": {MANAGED_BY: MANAGER, SERVICE: place.slug, MEMORY: "true"},
        "annotations": dict(_gist(memory)),
    }
    if revision is not None:
        metadata["resourceVersion"] = revision
    lean = msgspec.structs.replace(memory, place=msgspec.structs.replace(place, template=()), templates={})
    text = msgspec.json.encode(lean, order="deterministic").decode()
    made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {_KEY: text}}
    if place.template or memory.templates:
        made["binaryData"] = {_TEMPLATES: b64encode(packed(memory)).decode()}
    return made


def packed(memory: Memory) -> bytes:
    """The templates of a memory as they are kept."""
    own = next((digest for digest, each in memory.templates.items() if each == memory.place.template), memory.place.template)
    return gzip.compress(msgspec.json.encode((own, memory.templates), order="deterministic"), mtime=0)


def _with_templates(memory: Memory, kept: str | None) -> Memory:
    """The memory with the templates that lie beside it; one that was written before they did has them in itself.

    Raises ValueError where some are missing: without its template a target would be scaled, and made, as nobody wanted it.
    """
    if kept is not None:
        own, templates = read_json(gzip.decompress(b64decode(kept, validate=True)), _templates)
        template = templates.get(own, ()) if isinstance(own, str) else own
        memory = msgspec.structs.replace(memory, place=msgspec.structs.replace(memory.place, template=template), templates=templates)
    named = {source.digest for source in memory.sources.values()}
    if named - memory.templates.keys() or (memory.place.named is not None and not memory.place.template):
        raise ValueError(f"templates are missing from its binaryData ({_TEMPLATES})")
    return memory


def _gist(memory: Memory) -> Mapping[str, str]:
    ledger = memory.ledger
    gist: dict[str, str | None] = {
        TARGET: str(memory.target),
        f"{PREFIX}cursor": None if ledger.cursor is None else f"{ledger.cursor.epoch}.{ledger.cursor.sequence}",
        f"{PREFIX}stable": ledger.wanted.stable if ledger.wanted is not None else None,
        f"{PREFIX}lease-until": None
        if ledger.lease_until is None
        else datetime.fromtimestamp(min(ledger.lease_until, _LAST_DATE_SECONDS), UTC).isoformat("T", "seconds"),
        f"{PREFIX}edited": ledger.edited,
        f"{PREFIX}broken-glass": ledger.broken_glass,
    }
    return {key: value for key, value in gist.items() if value is not None}
