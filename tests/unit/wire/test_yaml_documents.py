"""What people write as YAML is read, or refused in one line, in no more time than its length asks for."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from ctrlplane_stream.actuators.gitops.placement import GitPlacementError, read_git_placements
from ctrlplane_stream.actuators.kubernetes.placement import PlacementError, read_placements, read_template
from ctrlplane_stream.commands.gate_options import gate_of
from ctrlplane_stream.wire.catalog_file import read_catalog_file, read_policy_file
from ctrlplane_stream.wire.yaml_documents import MOST_BY_ALIASES, NotReadable, yaml_document, yaml_documents

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)
"""Ten lines that stand for four thousand million values."""
_MERGED = "a: &a {x: 1}\n" + "".join(
    f"{name}: &{name} {{<<: [{','.join([f'*{before}'] * 9)}]}}\n" for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)


def test_aliases_and_merges_are_what_they_refer_to() -> None:
    """Also where many share one."""
    assert yaml_document("a: &a {x: 1}\nb: *a\nc: {<<: *a, y: 2}") == {"a": {"x": 1}, "b": {"x": 1}, "c": {"x": 1, "y": 2}}
    assert len(yaml_document("a: &a x\nb: [" + ",".join(["*a"] * MOST_BY_ALIASES) + "]")["b"]) == MOST_BY_ALIASES
    assert yaml_documents("a: 1\n---\nb: 2") == [{"a": 1}, {"b": 2}]
    assert yaml_document("") is None


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (BOMB, 5, "stand for more than 100000 values"),
        (_MERGED, 5, "stand for more than 100000 values"),
        ("x: 1\na: &a [*a]", 2, "an alias refers to what it stands in"),
        ("[" * 5_000, 1, "nested too deeply"),
        ("a: 1\nb: 2026-13-45", 2, "month must be in 1..12"),
        ("a: " + "1" * 5_000, 1, "Exceeds the limit"),
        ("a: 1\nb: \0", 2, "unacceptable character"),
        ("a: 1\nb: [", 2, "expected the node content"),
        ("a: 1\n---\nb: 2", 2, "found another document"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line_with_its_number(text: str, line: int, said: str) -> None:
    """A file that somebody else wrote holds up nobody, and ends nothing in a traceback."""
    with pytest.raises(NotReadable) as refused:
        yaml_document(text)
    assert str(refused.value).startswith(f"line {line}: ")
    assert (said in str(refused.value), "\n" in str(refused.value)) == (True, False)


@pytest.mark.parametrize(
    ("read", "error"),
    [
        (read_placements, PlacementError),
        (lambda path: read_template(path, "cart.yaml"), PlacementError),
        (read_git_placements, GitPlacementError),
        (gate_of, click.ClickException),
        (lambda path: _refused(read_catalog_file(path.read_text())), NotReadable),
        (lambda path: _refused(read_policy_file(path.read_text())), NotReadable),
    ],
    ids=["kubernetes", "template", "gitops", "gate", "catalog", "policy"],
)
def test_every_file_that_people_write_is_read_so(tmp_path: Path, read: Callable[[Path], Any], error: type[Exception]) -> None:
    """One line, wherever it is read."""
    path = tmp_path / "file.yaml"
    path.write_text(BOMB)
    with pytest.raises(error, match=r"^[^\n]*line 5: [^\n]*stand for more than 100000 values[^\n]*$"):
        read(path)


def _refused(found: Any) -> None:
    (problem,) = found
    raise NotReadable(problem.line, problem.text)
