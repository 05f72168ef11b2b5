"""The recordings of `examples/` give what README and examples/README say of them, by the commands that stand there."""

import json
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ctrlplane_stream.cli import main
from ctrlplane_stream.local.demo.first_acts import expected_edges
from ctrlplane_stream.model.identity import EdgeKind
from tests.unit.commands.test_documented_commands import lines_of

_ROOT = Path(__file__).parents[3]
_FOLDER = _ROOT / "examples" / "recordings"
_TYPED = sorted(
    {line for file in ("README.md", "examples/README.md") for line in lines_of((_ROOT / file).read_text()) if "shop-stable" in line}
)


def _run(monkeypatch: pytest.MonkeyPatch, line: str, *more: str) -> Result:
    monkeypatch.chdir(_FOLDER)
    return CliRunner().invoke(main, [*shlex.split(line)[1:], *more])


def _line(*words: str) -> str:
    (line,) = (line for line in _TYPED if shlex.split(line)[1:3] == [words[0], words[1]] and all(word in line for word in words[2:]))
    return line


def test_every_command_that_stands_there_is_known_here() -> None:
    assert len(_TYPED) == 5


def test_the_graph_of_the_recording_is_the_shops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every edge between its services, and no other."""
    told = json.loads(_run(monkeypatch, "ctrlplane-stream graph --from shop-stable.jsonl.zst --json").stdout)
    found = {(edge["caller"], edge["callee"], EdgeKind(edge["kind"])) for edge in told["edges"]}
    assert {edge for edge in found if edge[2] in (EdgeKind.CALL, EdgeKind.MESSAGE)} == expected_edges()
    assert "flowchart LR" in _run(monkeypatch, _line("graph", "--from", "--mermaid")).output


def test_the_difference_names_the_version_and_its_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    said = _run(monkeypatch, _line("graph", "--diff")).output
    assert "~ shop/cart -call-> shop/pricing  failed 0.0% -> " in said
    assert "versions of the callee: #1 -> #2" in said


def test_the_candidate_fails_by_its_errors_and_stable_does_not_fail_against_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """The culprit is the version that fails, and not its callers, whose requests fail with it."""
    failed = _run(monkeypatch, _line("judge", "--stable", "shop-candidate"), "--json")
    report = json.loads(failed.stdout)
    assert (failed.exit_code, report["verdict"], report["culprit"]["service"]) == (3, "FAIL", "shop/pricing")
    itself = _run(monkeypatch, _line("judge", "--stable", "--candidate shop-stable"), "--json")
    report = json.loads(itself.stdout)
    assert (itself.exit_code, report["verdict"], report["proven"]) == (4, "INCONCLUSIVE", False)
    assert "cannot be proven here in the time allowed" in report["reason"]
    assert "Soaking: 6 of 12 windows without harm found" in report["reason"]


def test_they_are_small() -> None:
    """A few tens of kilobytes, since every clone has them."""
    assert all(10_000 < file.stat().st_size < 60_000 for file in _FOLDER.glob("*.jsonl.zst"))
    assert len(list(_FOLDER.iterdir())) == 2
