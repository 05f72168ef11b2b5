"""Messages that were once written can be read for ever: the golden examples under `schemas/examples/`."""

import json
from pathlib import Path
from typing import Any, get_args

import jsonschema
import msgspec
import pytest

from ctrlplane_stream.model.decisions import DecisionRecord
from ctrlplane_stream.model.facts import Fact
from ctrlplane_stream.model.windows import WindowRecord
from ctrlplane_stream.shipped import shipped
from scripts.json_schemas import WORDS

EXAMPLES = sorted((shipped("schemas") / "examples").glob("*/*.json"))


def _name(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def _within(part: Any, whole: Any) -> bool:
    """Whether everything that ``part`` says, ``whole`` says too; lists must be as long."""
    if isinstance(part, dict) and isinstance(whole, dict):
        return all(key in whole and _within(value, whole[key]) for key, value in part.items())
    if isinstance(part, list) and isinstance(whole, list):
        return len(part) == len(whole) and all(map(_within, part, whole))
    return bool(part == whole)


@pytest.mark.parametrize("path", EXAMPLES, ids=_name)
def test_an_example_is_read_whole_and_nothing_of_it_is_lost(path: Path) -> None:
    """What the word holds afterwards says everything that the example says; newer fields may be there besides."""
    word, _ = WORDS[path.parent.name]
    read = msgspec.json.decode(path.read_bytes(), type=word)
    assert _within(json.loads(path.read_bytes()), json.loads(msgspec.json.encode(read)))


@pytest.mark.parametrize("path", EXAMPLES, ids=_name)
def test_an_example_is_valid_by_its_schema(path: Path) -> None:
    """So whoever validates by the published schema accepts what we accept."""
    schema = json.loads((shipped("schemas") / f"{path.parent.name}.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(json.loads(path.read_bytes()))


def test_every_kind_of_message_has_an_example() -> None:
    """A new kind of fact, decision or window record needs one before it is released."""
    assert {path.parent.name for path in EXAMPLES} == set(WORDS)
    for folder, union in (("fact", Fact), ("decision", DecisionRecord), ("window", WindowRecord)):
        tags = {member.__struct_config__.tag for member in get_args(union)}
        found = {path.stem for path in EXAMPLES if path.parent.name == folder}
        assert tags == found, folder


def test_what_an_example_says_can_be_missed() -> None:
    """The comparison is one that can fail."""
    assert _within({"a": [1]}, {"a": [1], "b": 2})
    assert not _within({"a": [1, 2]}, {"a": [1]})
    assert not _within({"a": None}, {})
