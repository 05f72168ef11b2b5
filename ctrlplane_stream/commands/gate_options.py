"""What `judge` and `gates plan` are both given: files, the length of a window, and a gate policy."""

from pathlib import Path
from typing import Any

import click
import msgspec

from ctrlplane_stream.commands.options import fail
from ctrlplane_stream.model.policy import Policy
from ctrlplane_stream.model.verdicts import GatePolicy
from ctrlplane_stream.wire.gate_values import gate_problems
from ctrlplane_stream.wire.json_words import WrongJson, read_json
from ctrlplane_stream.wire.yaml_documents import yaml_document

FILES = click.Path(exists=True, dir_okay=False, path_type=Path)
"""A recording or a policy."""


takes_window = click.option(
    "--window",
    "window_seconds",
    type=click.IntRange(1, 3600),
    metavar="SECONDS",
    default=10,
    show_default=True,
    help="Length of a window, by which traffic is judged.",
)


def _read(text: str) -> Any:
    """The document of a text. Not all JSON is YAML 1.1, to which 1e-05 is a word."""
    try:
        return read_json(text, object)
    except WrongJson:
        return yaml_document(text)


def gate_of(path: Path | None) -> GatePolicy:
    """The gate of a file, by itself or in a rollout policy; without a file the default. Ends the command where there is none in it."""
    if path is None:
        return GatePolicy()
    try:
        document = _read(path.read_text(encoding="utf-8")) or {}
        whole = isinstance(document, dict) and ("gate" in document or "steps" in document)
        gate = msgspec.convert(document, Policy).gate if whole else msgspec.convert(document, GatePolicy)
    except ValueError as error:
        fail(f"{path}: {error}; the fields are those of a gate in docs/policies.md")
    if wrong := [text for _, text in gate_problems(gate)]:
        fail(f"{path}: {'; '.join(wrong)}")
    return gate
