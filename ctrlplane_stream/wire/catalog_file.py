"""The catalog as people write it (YAML) and as the topic ``catalog`` holds it (JSON with the hash it was based on).

A file is checked against the JSON Schema of ``model.catalog.Catalog`` and then against what a schema cannot say;
every problem is reported with the line it stands on, all at once.
"""

import copy
import difflib
import hashlib
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

import jsonschema
import msgspec
import yaml

from ctrlplane_stream.model import policy as policies
from ctrlplane_stream.model.catalog import Catalog, variable_of
from ctrlplane_stream.model.policy import Policy
from ctrlplane_stream.wire import cloudevents
from ctrlplane_stream.wire.catalog_parts import too_large
from ctrlplane_stream.wire.cloudevents import Unreadable
from ctrlplane_stream.wire.gate_values import gate_problems
from ctrlplane_stream.wire.templates import ContentsOf, resolved, template_problems, unresolved
from ctrlplane_stream.wire.yaml_documents import NotReadable, yaml_document

_T = TypeVar("_T", bound=msgspec.Struct)
_Located = tuple[tuple[Any, ...], str]
"""What is wrong, and the path of keys that leads there."""
_LEFT_OUT = object()
"""What stands where something does not fit."""


class Problem(msgspec.Struct, frozen=True):
    """What is wrong in a catalog file, and where (1-based line)."""

    line: int
    text: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.text}"


class CatalogRecord(msgspec.Struct, frozen=True):
    """A catalog on the topic: the new one, its hash, the hash it replaces (None for the first), who and why."""

    catalog: Catalog
    hash: str
    based_on: str | None
    who: str
    why: str = ""


def catalog_hash(catalog: Catalog) -> str:
    """The identity of a catalog's content: SHA-256 of its canonical JSON, 64 hexadecimal digits."""
    return hashlib.sha256(msgspec.json.encode(catalog, order="sorted")).hexdigest()


def overwrites_unawares(record: CatalogRecord, current: CatalogRecord | None) -> bool:
    """Whether a catalog was made from another one than is in force, whose changes it would undo. The first is made from none."""
    return current is not None and record.hash != current.hash and record.based_on != current.hash


def read_catalog_record(value: bytes | None) -> CatalogRecord | Unreadable:
    """The catalog that a record holds, or why it cannot be used. Never raises."""
    if not value:
        return Unreadable("the record is empty; use `ctrlplane-stream catalog apply`")
    record = cloudevents.decode(value, CatalogRecord, "catalog record")
    if isinstance(record, Unreadable):
        return record
    if record.hash != catalog_hash(record.catalog):
        return Unreadable("the catalog does not match its hash; use `ctrlplane-stream catalog apply`")
    problems = [*_semantic_problems(record.catalog), *unresolved(record.catalog)]
    wrong = [text for _, text in problems or too_large(record.catalog)]
    return Unreadable("; ".join(wrong[:5])) if wrong else record


def read_catalog_file(text: str, contents_of: ContentsOf = lambda _: None) -> Catalog | tuple[Problem, ...]:
    """The catalog that a YAML file holds, its templates by their digests; or everything that is wrong with it, in the order of its lines.

    ``contents_of`` reads the templates that lie beside it.
    """

    def problems(catalog: Catalog) -> Iterator[_Located]:
        yield from _semantic_problems(catalog)
        yield from _variable_problems(catalog)
        yield from template_problems(catalog, contents_of)

    shape = "a catalog has `environments` and `services`, as examples/catalog.yaml shows"
    found = _read(text, Catalog, problems, shape)
    if not isinstance(found, Catalog):
        return found
    whole = resolved(found, contents_of)
    if large := list(too_large(whole)):
        lines = _Lines(yaml.compose(text, Loader=yaml.SafeLoader))
        return _by_line(Problem(lines.of(path), said) for path, said in large)
    return whole


def read_policy_file(text: str) -> Policy | tuple[Problem, ...]:
    """The policy that a YAML file holds, written as one under ``policies`` of a catalog; or everything that is wrong with it."""
    return _read(text, Policy, _policy_problems, "a policy has `steps` and more, as one under `policies` of a catalog; `{}` is the default")


def _read(text: str, kind: type[_T], more: "Callable[[_T], Iterable[_Located]]", shape: str) -> _T | tuple[Problem, ...]:
    """``shape`` says what belongs into a file that has nothing of it."""
    try:
        document = yaml_document(text)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except NotReadable as error:
        return (Problem(error.line, f"cannot be read as YAML: {error.problem}"),)
    if not isinstance(document, dict):
        return (Problem(1, f"{'the file is empty' if document is None else 'this is no mapping of keys to values'}: {shape}"),)
    lines = _Lines(node)
    schema = msgspec.json.schema(kind)
    errors = jsonschema.Draft202012Validator(schema).iter_errors(document)
    misfits = list(dict.fromkeys((*(said for error in errors for said in _said(error)), *_no_numbers(document))))
    found = [Problem(lines.of(path), said) for path, said in misfits] + list(_repeated_keys(node))
    try:
        read = msgspec.convert(_made_whole(_without(document, misfits), schema, schema), kind)
    except msgspec.ValidationError:
        return _by_line(found)  # without what does not fit it has no shape that more could be said of
    found += [Problem(lines.of(path), said) for path, said in more(read) if not _speaks_of(path, said, misfits)]
    return _by_line(found) if found else read


def _by_line(found: Iterable[Problem]) -> tuple[Problem, ...]:
    return tuple(sorted(found, key=lambda p: (p.line, p.text)))


def _without(document: Any, misfits: Iterable[_Located]) -> Any:
    """The document without what does not fit, so that whatever else is wrong is said in one go."""
    rest = copy.deepcopy(document)
    for path, _ in misfits:
        place = rest
        for step in path[:-1]:
            place = place[step] if isinstance(place, list) or step in place else {}
        if path and isinstance(place, dict) and path[-1] in place:
            place[path[-1]] = _LEFT_OUT
    return rest


def _made_whole(value: Any, schema: Any, whole: dict[str, Any]) -> Any:
    """The value without what was left out, but with the least that fits where something must be: what else is wrong can be told of it then.

    ``schema`` is that of the value, a part of ``whole``.
    """
    schema = schema if isinstance(schema, dict) else {}
    schema = whole["$defs"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    if value is _LEFT_OUT:
        value = {"object": {}, "array": []}.get(schema.get("type"), schema.get("minimum", _LEFT_OUT))
    if isinstance(value, list):
        return [_made_whole(item, schema.get("items"), whole) for item in value]
    if not isinstance(value, dict):
        return value
    known, others = schema.get("properties", {}), schema.get("additionalProperties")
    keys = (*value, *schema.get("required", ()))
    made = {key: _made_whole(value.get(key, _LEFT_OUT), known.get(key, others), whole) for key in keys}
    return {key: part for key, part in made.items() if part is not _LEFT_OUT}


def _speaks_of(path: tuple[Any, ...], text: str, misfits: Iterable[_Located]) -> bool:
    """Whether something is said of what was left out, or of how a field goes with one beside or below it that was."""
    beside = len(path) - 1
    return any(
        path[: len(left)] == left or (path[:beside] == left[:beside] and str(left[-1]) in re.findall(r"\w+", text))
        for left, _ in misfits
        if left
    )


def write_catalog_file(catalog: Catalog) -> str:
    """The catalog as a file that reads as the same one again; what is so by default is left out."""
    return yaml.safe_dump(sparse(catalog), sort_keys=False, allow_unicode=True, width=120)


def sparse(value: Any) -> Any:
    """A part of a catalog in YAML's own kinds, structs without the fields that hold their defaults: as people write it."""
    if isinstance(value, msgspec.Struct):
        fields = msgspec.structs.fields(value)
        return {f.encode_name: sparse(here) for f in fields if (here := getattr(value, f.name)) != _default(f)}
    if isinstance(value, dict):
        return {key: sparse(here) for key, here in value.items()}
    if isinstance(value, list | tuple):
        return [sparse(here) for here in value]
    return msgspec.to_builtins(value)


def _default(field: Any) -> Any:
    """The default of a struct's field; what nothing equals where it must be given."""
    return field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default


def _no_numbers(value: Any, path: tuple[Any, ...] = ()) -> Iterator[_Located]:
    """Infinities and what is no number, which YAML can write, no range excludes and JSON cannot carry."""
    if isinstance(value, float) and not math.isfinite(value):
        yield path, f"{'.'.join(map(str, path))}: {value} is no finite number"
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield from _no_numbers(part, (*path, key))


def _said(error: jsonschema.ValidationError) -> Iterator[_Located]:
    """What is wrong, and where: for a key that is not known, and for one that is missing, the key itself."""
    if of_its_kind := [part for part in error.context or () if part.validator != "type"]:  # of a number or null, what the number breaks
        yield from (said for part in of_its_kind for said in _said(part))
        return
    path = tuple(error.absolute_path)
    where = "".join(f"{step}." for step in path)
    if error.validator == "required" and isinstance(error.validator_value, list) and isinstance(error.instance, dict):
        prefix = f"{where.rstrip('.')}: " if where else ""
        missing = [key for key in error.validator_value if key not in error.instance]
        yield from (((*path, key), f"{prefix}{key!r} is a required property") for key in missing)
        return
    if error.validator != "additionalProperties" or not isinstance(error.instance, dict) or error.validator_value is not False:
        yield path, f"{where.rstrip('.')}: {error.message}" if where else error.message
        return
    known = error.schema.get("properties", {}) if isinstance(error.schema, dict) else {}
    for key in error.instance:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1)
            yield (*path, key), f"{where}{key} is not known here" + (f"; did you mean {near[0]}?" if near else "")


def _repeated_keys(node: yaml.Node | None) -> Iterator[Problem]:
    """Keys that stand twice in one mapping, of which YAML would silently keep the last."""
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _repeated_keys(item)
    if isinstance(node, yaml.MappingNode):
        first: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if str(key.value) in first:
                yield Problem(line, f"{key.value} stands here a second time; the first is on line {first[str(key.value)]}")
            first.setdefault(str(key.value), line)
            yield from _repeated_keys(value)


def _semantic_problems(catalog: Catalog) -> Iterator[_Located]:
    """What a schema cannot say: each problem with the path that it stands at."""
    known = frozenset({"default", *catalog.policies})
    for name, policy in catalog.policies.items():
        for path, text in _policy_problems(policy):
            yield ("policies", name, *path), f"policy {name}: {text}"
    yield from _environment_problems(catalog, known)
    yield from _service_problems(catalog, known)


def _variable_problems(catalog: Catalog) -> Iterator[_Located]:
    """Keys of a configuration that make one environment variable, of which instances would get one value and lose the others.

    Of files only: a catalog that was taken before this was looked at stays in force.
    """
    for name, entry in catalog.services.items():
        own = ("services", name)
        yield from _made_twice(name, (*own, "configuration"), {}, entry.configuration)
        for where, here in entry.environments.items():
            yield from _made_twice(name, (*own, "environments", where, "configuration"), entry.configuration, here.configuration)


def _made_twice(service: str, path: tuple[Any, ...], before: Mapping[str, str], keys: Mapping[str, str]) -> Iterator[_Located]:
    taken = {variable_of(key): key for key in before}
    for key in keys:
        other = taken.setdefault(variable_of(key), key)
        if key not in before and other != key:
            yield (*path, key), f"service {service}: {key} and {other} are both the environment variable {variable_of(key)}: rename one"


def _policy_problems(policy: Policy) -> Iterator[_Located]:
    yield from policies.problems(policy)
    for field, text in gate_problems(policy.gate):
        yield ("gate", field), text


def _environment_problems(catalog: Catalog, known: frozenset[str]) -> Iterator[_Located]:
    for name, place in catalog.environments.items():
        if place.policy not in known:
            yield ("environments", name, "policy"), f"environment {name}: there is no policy {place.policy!r}"
        if place.promote_from is not None and place.promote_from not in catalog.environments:
            yield ("environments", name, "promote_from"), f"environment {name}: there is no environment {place.promote_from!r}"
        if place.promote_from == name:
            yield ("environments", name, "promote_from"), f"environment {name}: it cannot promote from itself: name the one before it"
        elif name == min(circle := _promoted_in_a_circle(catalog, name), default=None):
            way = " from ".join((*circle, name))
            yield ("environments", name, "promote_from"), f"environment {name}: {way}: what is promoted would never come from outside"
        if place.notify is not None and not _is_web_address(place.notify):
            yield ("environments", name, "notify"), f"environment {name}: notify must be a webhook's URL, https://…"


def _promoted_in_a_circle(catalog: Catalog, name: str) -> tuple[str, ...]:
    """The environments from which one is promoted, itself first, if that leads back to it; else none."""
    way, place = [name], catalog.environments[name]
    while place.promote_from in catalog.environments and place.promote_from not in way:
        way.append(place.promote_from)
        place = catalog.environments[place.promote_from]
    return tuple(way) if place.promote_from == name else ()


def _service_problems(catalog: Catalog, known: frozenset[str]) -> Iterator[_Located]:
    for name, service in catalog.services.items():
        if not service.images:
            yield ("services", name, "images"), f"service {name}: name at least one image repository"
        for where, here in service.environments.items():
            if where not in catalog.environments:
                yield ("services", name, "environments", where), f"service {name}: there is no environment {where!r}"
            if here.policy is not None and here.policy not in known:
                yield ("services", name, "environments", where, "policy"), f"service {name}: there is no policy {here.policy!r}"


def _is_web_address(text: str) -> bool:
    """Whether something can be posted there."""
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


class _Lines:
    """Finds the line on which a path of a YAML document stands."""

    def __init__(self, root: yaml.Node | None) -> None:
        self._root = root

    def of(self, path: Any) -> int:
        """The 1-based line of the deepest part of the path that exists."""
        node, line = self._root, 1
        for step in path:
            node, line = _child(node, step, line)
            if node is None:
                break
        return line


def _child(node: yaml.Node | None, step: object, line: int) -> tuple[yaml.Node | None, int]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(step):
                return value, key.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step], node.value[step].start_mark.line + 1
    return None, line
