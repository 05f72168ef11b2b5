"""Writes `schemas/*.schema.json` from the words of the model, so that there is one definition of each message.

`--check` writes nothing and fails where a file is not what the words say. What keeps the schemas *compatible* is another
thing: the golden examples under `schemas/examples/`, which every later build must still read (tests/unit/test_schemas.py).
"""

import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from ctrlplane_stream.model.catalog import Catalog
from ctrlplane_stream.model.decisions import DecisionRecord
from ctrlplane_stream.model.facts import FactRecord
from ctrlplane_stream.model.verdicts import Verdict
from ctrlplane_stream.model.windows import WindowRecord
from ctrlplane_stream.wire.artifacts import PushedData
from ctrlplane_stream.wire.catalog_file import CatalogRecord
from ctrlplane_stream.wire.control import OverrideData

SCHEMAS = Path(__file__).resolve().parent.parent / "schemas"

WORDS: dict[str, tuple[Any, str]] = {
    "artifact": (PushedData, "data of a CloudEvent stream.ctrlplane.artifact.pushed.v1 on `artifacts`"),
    "catalog": (Catalog, "the catalog file that people write (YAML)"),
    "catalog-record": (CatalogRecord, "a record on `catalog`"),
    "control": (OverrideData, "data of a CloudEvent stream.ctrlplane.control.v1 on `control`"),
    "decision": (DecisionRecord, "a record on `decisions`"),
    "fact": (FactRecord, "a record on `facts`"),
    "verdict": (Verdict, "data of a CloudEvent stream.ctrlplane.verdict.v1 on `health-verdicts`"),
    "window": (WindowRecord, "a record on `telemetry-windows`"),
}


def schema(name: str) -> str:
    """The text of one schema file: JSON Schema 2020-12, keys in a fixed order."""
    word, what = WORDS[name]

    def readable(type_: type) -> dict[str, Any]:
        if type_ is msgspec.Raw:
            return {"description": "any JSON value"}
        raise NotImplementedError(type_)

    (document,), components = msgspec.json.schema_components([word], schema_hook=readable, ref_template="#/$defs/{name}")
    whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": what, **document, "$defs": components}
    return json.dumps(whole, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> int:
    """Write the files, or with --check name those that differ and return 1."""
    stale = []
    for name in WORDS:
        path = SCHEMAS / f"{name}.schema.json"
        text = schema(name)
        if "--check" not in arguments:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            stale.append(path.name)
    if stale:
        print(f"not in step with the model: {', '.join(stale)}; run python scripts/json_schemas.py")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
