"""One scalar of a YAML file read or replaced where it stands, so that every other byte of the file stays its owner's. Pure.

The place comes from the positions that the parser gives each node; comments, quotes, order and line ends are never
written anew, because nothing is: the file's text is cut around the one value. What that cannot do safely is refused
with the reason: a value that other places refer to, a block of several lines, a key that is there twice. After the cut
the file is parsed again, and must say the same as before but for that value.
"""

import re
from collections.abc import Iterator

import msgspec
import yaml
from yaml.events import CollectionStartEvent, Event, NodeEvent, ScalarEvent
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

_STEP = re.compile(r"""\.?(?:(?P<key>[^.\[\]"]+)|\["(?P<quoted>[^"]+)"\]|\[(?P<index>\d+)\]|\[(?P<by>[^\]=]+)=(?P<value>[^\]]+)\])""")
_ANCHOR = re.compile(r"(?:!\S*\s+)?&\S")
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9._/@:+-]*[A-Za-z0-9]")


class FieldTrouble(ValueError):
    """The field cannot be read or written there; the text says what stands in the way and what to do."""


class Locator(msgspec.Struct, frozen=True):
    """Where a scalar stands: ``path`` in the only document, or in that of this ``kind`` and ``name``.

    A path is keys with dots between, ``["a.b"]`` for a key with dots, ``[0]`` for an element and ``[name=cart]`` for the
    element with that field: ``spec.template.spec.containers[name=cart].image``.
    """

    path: str
    kind: str | None = None
    name: str | None = None


def path_problem(path: str) -> str | None:
    """What is wrong with a path, or None."""
    end = 0
    for step in _STEP.finditer(path):
        if step.start() != end:
            break
        end = step.end()
    return None if path and end == len(path) else f"{path!r} is no path: write it like image.digest or containers[name=cart].image"


def value_at(text: str, where: Locator) -> str:
    """The scalar as text; empty where the field is there without a value. Raises FieldTrouble."""
    return str(_scalar(text, where).value)


def with_value(text: str, where: Locator, value: str) -> str:
    """The file's text with the scalar replaced, everything else unchanged to the byte. Raises FieldTrouble."""
    node = _scalar(text, where)
    start, end = node.start_mark.index, node.end_mark.index
    changed = text[:start] + _written(text, node, value) + text[end:]
    if not _only_that_changed(text, changed, value) or value_at(changed, where) != value:
        raise FieldTrouble(f"{where.path} cannot be replaced without changing something else: put it on a line of its own")
    return changed


def _written(text: str, node: ScalarNode, value: str) -> str:
    """The value as it is written in place of the node: quoted as it was, and plain only where that is safe."""
    if node.style == "'":
        return "'" + value.replace("'", "''") + "'"
    shown = value if node.style is None and _PLAIN.fullmatch(value) else '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    before = text[node.start_mark.index - 1 : node.start_mark.index]
    return shown if node.style is not None or before in ("", " ", "\t") else f" {shown}"


def _only_that_changed(before: str, after: str, value: str) -> bool:
    """Whether the two say the same, event by event, but for one scalar at most, which now is ``value``."""
    old, new = ([_gist(event) for event in _events(text)] for text in (before, after))
    changed = [there for here, there in zip(old, new, strict=False) if here != there]
    return len(old) == len(new) and len(changed) <= 1 and all(there == (*there[:-1], value) for there in changed)


def _gist(event: Event) -> tuple[object, ...]:
    anchor = event.anchor if isinstance(event, NodeEvent) else None
    tag = event.tag if isinstance(event, (ScalarEvent, CollectionStartEvent)) else None
    return type(event).__name__, anchor, tag, event.value if isinstance(event, ScalarEvent) else None


def _events(text: str) -> list[Event]:
    try:
        return list(yaml.parse(text, Loader=yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise FieldTrouble(f"is no YAML that can be read: {_short(error)}") from error


def _scalar(text: str, where: Locator) -> ScalarNode:
    node = _document(text, where)
    passed = [node]
    for step in _STEP.finditer(where.path):
        node = _next(node, step, where.path, passed[-1])
        passed.append(node)
    if not isinstance(node, ScalarNode):
        raise FieldTrouble(f"{where.path} is no single value: name the field that holds the value itself")
    if node.style in ("|", ">") or node.start_mark.line != node.end_mark.line:
        raise FieldTrouble(f"{where.path} is a block of lines: write it on one line")
    if text[node.start_mark.index : node.start_mark.index + 1] == "!":
        raise FieldTrouble(f"{where.path} has a tag: write it without")
    if any(_ANCHOR.match(text, each.start_mark.index) for each in passed):
        raise FieldTrouble(f"{where.path} is anchored with &, so that other places would change with it: write it out")
    return node


def _document(text: str, where: Locator) -> Node:
    _events(text)  # for its words, where it cannot be read
    try:
        documents = [node for node in yaml.compose_all(text, Loader=yaml.SafeLoader) if node is not None]
    except yaml.YAMLError as error:
        raise FieldTrouble(f"is no YAML that can be read: {_short(error)}") from error
    except RecursionError:
        raise FieldTrouble("is nested too deeply to be read") from None
    if where.kind is None:
        if len(documents) != 1:
            raise FieldTrouble(f"has {len(documents)} documents: say which by kind and name")
        return documents[0]
    found = [each for each in documents if _text_of(each, "kind") == where.kind and _named(each, where.name)]
    if len(found) != 1:
        raise FieldTrouble(f"has {len(found) or 'no'} {where.kind} {where.name or ''}".rstrip() + ": exactly one is needed")
    return found[0]


def _next(node: Node, step: re.Match[str], path: str, parent: Node) -> Node:
    key = step["key"] or step["quoted"]
    found = list(_keyed(node, key)) if key is not None else list(_elements(node, step))
    said = step.group().lstrip(".")
    if len(found) > 1:
        raise FieldTrouble(f"{said} of {path} is there {len(found)} times: leave one")
    if not found:
        raise FieldTrouble(f"has no {path}, since {said} is absent: add it once, with any value")
    if found[0].start_mark.index < parent.start_mark.index:
        raise FieldTrouble(f"{said} of {path} stands elsewhere and is only referred to (*alias): write it out here")
    return found[0]


def _keyed(node: Node, key: str) -> Iterator[Node]:
    if isinstance(node, MappingNode):
        yield from (value for name, value in node.value if isinstance(name, ScalarNode) and name.value == key)


def _elements(node: Node, step: re.Match[str]) -> Iterator[Node]:
    if not isinstance(node, SequenceNode):
        return
    for number, element in enumerate(node.value):
        if step["index"] is not None and int(step["index"]) == number:
            yield element
        if step["by"] is not None and _text_of(element, step["by"]) == step["value"]:
            yield element


def _text_of(node: Node, key: str) -> str | None:
    return next((str(value.value) for value in _keyed(node, key) if isinstance(value, ScalarNode)), None)


def _named(node: Node, name: str | None) -> bool:
    return name is None or any(_text_of(metadata, "name") == name for metadata in _keyed(node, "metadata"))


def _short(error: yaml.YAMLError) -> str:
    return " ".join(str(error).split())
