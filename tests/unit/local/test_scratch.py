"""Temporary folders do not pile up, not even after a SIGKILL."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ctrlplane_stream.local.scratch import scratch_folder


def test_a_folder_of_a_dead_owner_is_removed_and_of_a_living_one_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what nobody can be using is swept."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    orphan, foreign = tmp_path / f"ctrlplane-part-{ended.pid}-x", tmp_path / "ctrlplane-part-x"
    orphan.mkdir()
    foreign.mkdir()
    mine = scratch_folder("part")
    again = scratch_folder("part")
    assert not orphan.exists()
    assert {mine, again, foreign} <= set(tmp_path.iterdir())
