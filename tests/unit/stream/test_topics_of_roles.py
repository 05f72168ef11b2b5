"""The rights that `docs/topics.md` names of each role are those that its code needs: no more, and no less."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import ctrlplane_stream
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.roles.actuate import Actuate
from ctrlplane_stream.stream.roles.engine import Engine
from ctrlplane_stream.stream.roles.judge import Judge
from ctrlplane_stream.stream.roles.project import Project
from ctrlplane_stream.stream.roles.spans import Spans
from ctrlplane_stream.wire.topics import topic_specs

_PACKAGE = Path(ctrlplane_stream.__file__).parent
_TOPICS = {spec.name for spec in topic_specs()}
_ROLES = {"actuate": Actuate, "engine": Engine, "judge": Judge, "project": Project, "spans": Spans}
Place = tuple[str, str]
"""A module, and the name of something on its outermost level."""


def documented(role: str, way: str) -> set[str]:
    """The topics that a role reads (``consumers``) or writes (``producers``), as `topics/` has it."""
    parties = {spec.name: {party.partition(" (")[0] for party in getattr(spec, way)} for spec in topic_specs()}
    return {name for name, named in parties.items() if named & {role, "all"}}


@pytest.mark.parametrize("role", _ROLES)
def test_a_role_may_read_what_it_follows(role: str) -> None:
    """Its agents' topics, as it begins them."""
    assert set(_ROLES[role](Settings())._consumed) <= documented(role, "consumers")


@pytest.mark.parametrize("role", _ROLES)
def test_a_role_may_do_what_its_code_names_and_nothing_else(role: str) -> None:
    """By all that its module comes to, whatever way it goes there."""
    places = list(_reached((f"stream.roles.{role}", _ROLES[role].__name__)))
    named = {topic for place in places for topic in _topics_in(_definitions(place[0])[place[1]])}
    assert named == documented(role, "consumers") | documented(role, "producers")


@pytest.mark.parametrize("role", _ROLES)
def test_it_may_write_where_its_letters_go_and_read_where_its_readers_look(role: str) -> None:
    """As far as these say so themselves."""
    places = list(_reached((f"stream.roles.{role}", _ROLES[role].__name__)))
    assert {topic for place in places for topic in _first_arguments(place, {"Letter"})} <= documented(role, "producers")
    looking = {"consume", "end", "kept", "read", "read_since"}
    assert {topic for place in places for topic in _first_arguments(place, looking)} <= documented(role, "consumers")


def _reached(start: Place) -> Iterator[Place]:
    """A definition, and all that it names, again and again, where topics are spoken of: other words are called like them elsewhere."""
    seen, ahead = {start}, [start]
    while ahead:
        place = ahead.pop()
        yield place
        found = _named(place) - seen
        ahead += found
        seen |= found


@cache
def _named(place: Place) -> set[Place]:
    names = {node.id for node in ast.walk(_definitions(place[0])[place[1]]) if isinstance(node, ast.Name)}
    found = {_resolved(place[0], name) for name in names}
    return {at for at in found if at is not None and at[0].startswith(("stream.", "wire.")) and at[0] != "stream.metrics"}


def _resolved(module: str, name: str) -> Place | None:
    """Where a name of a module is defined; None where that is none of ours."""
    if name in _definitions(module):
        return module, name
    origin = _imports(module).get(name)
    return None if origin is None else _resolved(*origin)


def _topics_in(definition: ast.AST) -> Iterator[str]:
    yield from (node.value for node in ast.walk(definition) if isinstance(node, ast.Constant) and node.value in _TOPICS)


def _first_arguments(place: Place, functions: set[str]) -> Iterator[str]:
    """The topics that these functions are called with first, where a constant or its name is given."""
    for node in ast.walk(_definitions(place[0])[place[1]]):
        if isinstance(node, ast.Call) and node.args and ast.unparse(node.func).rpartition(".")[2] in functions:
            at = _resolved(place[0], ast.unparse(node.args[0]))
            yield from _topics_in(node.args[0] if at is None else _definitions(at[0])[at[1]])


@cache
def _tree(module: str) -> ast.Module | None:
    path = _PACKAGE / f"{module.replace('.', '/')}.py"
    return ast.parse(path.read_text()) if path.exists() else None


@cache
def _definitions(module: str) -> dict[str, ast.AST]:
    """What is on the outermost level of a module, by name."""
    tree, found = _tree(module), dict[str, ast.AST]()
    for node in tree.body if tree is not None else ():
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                pairs = zip(target.elts, node.value.elts, strict=True) if _are_tuples(target, node.value) else [(target, node.value)]
                found |= {each.id: value for each, value in pairs if isinstance(each, ast.Name)}
    return found


def _are_tuples(target: ast.expr, value: ast.expr) -> bool:
    return isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)


@cache
def _imports(module: str) -> dict[str, Place]:
    """Where the names come from that a module has of others of ours."""
    tree, found = _tree(module), dict[str, Place]()
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ctrlplane_stream."):
            origin = str(node.module).removeprefix("ctrlplane_stream.")
            found |= {each.asname or each.name: (origin, each.name) for each in node.names}
    return found
