"""Writes `docs/policies.md` from the words of `model/policy.py` and `model/verdicts.py`: every knob with its default and why.

`--check` writes nothing and fails where the page is not what the code says.
"""

import ast
import inspect
import sys
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec
from in_step import keep_in_step

from ctrlplane_stream.model import policy, verdicts

PAGE = Path(__file__).resolve().parent.parent / "docs" / "policies.md"

HEAD = """\
# Policies

Generated from `ctrlplane_stream/model/policy.py` and `verdicts.py` by `python scripts/policies_doc.py`. A policy stands under a name
in the catalog's `policies:`; environments and services name it. What a policy does not say is the default. The policy named `default`
is the built-in one unless the catalog defines it. A rollout goes by the policies of when it began, whatever a later catalog says; what
still queues goes by those of now.
"""

WORDS: tuple[tuple[type[msgspec.Struct], str], ...] = (
    (policy.Policy, "A policy"),
    (policy.Step, "A step (`steps`)"),
    (verdicts.GatePolicy, "A gate (`gate`)"),
    (verdicts.Limit, "An absolute limit (`gate.limits`)"),
    (verdicts.OutsideJudge, "An outside judge (`gate.outside`)"),
    (policy.MaintenanceWindow, "A maintenance window (`maintenance`)"),
)
ENUMS: tuple[type[StrEnum], ...] = (policy.Mode, policy.Supersede, policy.Unsure, policy.OnDrift, verdicts.OnUnprovable, verdicts.Metric)


def page() -> str:
    """The whole page."""
    return HEAD + "".join(_struct(word, title) for word, title in WORDS) + "".join(_enum(word) for word in ENUMS)


def _struct(word: type[msgspec.Struct], title: str) -> str:
    said = _said(word)
    rows = [f"| `{f.name}` | {_default(f)} | {said.get(f.name, '')}{_range(f.type)} |" for f in msgspec.structs.fields(word)]
    return "\n".join(["", f"## {title}", "", _flat(inspect.getdoc(word) or ""), "", "| field | default | |", "|---|---|---|", *rows, ""])


def _range(type_: Any) -> str:
    """The range of a number, as its schema has it and a sentence says it."""
    schema = msgspec.json.schema(type_)
    schema = next((part for part in (schema, schema.get("items"), *schema.get("anyOf", ())) if part and _bounds(part)), {})
    return f" Range: {_bounds(schema)}." if _bounds(schema) else ""


def _bounds(schema: dict[str, Any]) -> str:
    if "exclusiveMinimum" in schema:
        return f"above {schema['exclusiveMinimum']}"
    if "maximum" in schema:
        return f"{schema['minimum']} to {schema['maximum']}"
    return f"from {schema['minimum']} on" if "minimum" in schema else ""


def _enum(word: type[StrEnum]) -> str:
    said = _said(word)
    rows = [f"| `{member}` | {said.get(member.name, '')} |" for member in word]
    return "\n".join(["", f"## {word.__name__}", "", _flat(inspect.getdoc(word) or ""), "", "| value | |", "|---|---|", *rows, ""])


def _said(word: type) -> dict[str, str]:
    """What stands below each field, as one line."""
    (body,) = (node for node in ast.parse(inspect.getsource(word)).body if isinstance(node, ast.ClassDef))
    said: dict[str, str] = {}
    for field, below in zip(body.body, body.body[1:], strict=False):
        name = _name(field)
        if name and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            said[name] = _flat(str(below.value.value))
    return said


def _name(field: ast.stmt) -> str | None:
    if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
        return field.target.id
    if isinstance(field, ast.Assign) and isinstance(field.targets[0], ast.Name):
        return field.targets[0].id
    return None


def _default(field: Any) -> str:
    if field.default is msgspec.NODEFAULT:
        return "required" if field.default_factory is msgspec.NODEFAULT else "empty"
    if field.default is msgspec.UNSET:
        return "unset"
    if isinstance(field.default, msgspec.Struct):
        return "see below"
    if isinstance(field.default, tuple) and field.default and isinstance(field.default[0], policy.Step):
        return ", ".join(f"{step.weight}%" for step in field.default)
    if isinstance(field.default, tuple):
        return ", ".join(f"`{item}`" for item in field.default) or "none"
    return f"`{msgspec.json.encode(field.default).decode()}`".replace('"', "")


def _flat(text: str) -> str:
    return " ".join(text.replace("``", "`").split())


if __name__ == "__main__":
    sys.exit(keep_in_step(PAGE, page(), "the model", sys.argv[1:]))
