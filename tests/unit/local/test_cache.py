"""A cached product is whole and from its recipe, or it is not there."""

import subprocess
import sys
from pathlib import Path

import pytest

from ctrlplane_stream.local import cache
from ctrlplane_stream.local.cache import Long, cache_folder, cached


def test_a_product_is_built_once_per_recipe(tmp_path: Path) -> None:
    """The same recipe reuses; another one rebuilds and leaves nothing of the old."""
    built: list[str] = []

    def build(folder: Path) -> None:
        built.append(folder.name)
        (folder / f"part-{len(built)}").touch()

    place = tmp_path / "part" / "1.0"
    assert cached(place, b"a", build) == place
    cached(place, b"a", build)
    assert [p.name for p in sorted(place.iterdir())] == [".recipe", "part-1"]
    cached(place, b"b", build)
    assert [p.name for p in sorted(place.iterdir())] == [".recipe", "part-2"]


def test_a_build_that_fails_leaves_nothing_that_looks_built(tmp_path: Path) -> None:
    """After a failure the place is absent and the next attempt builds."""

    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise OSError("disk full")

    place = tmp_path / "part" / "1.0"
    with pytest.raises(OSError, match="disk full"):
        cached(place, b"a", fail)
    assert not place.exists()
    assert cached(place, b"a", lambda folder: (folder / "whole").touch()).joinpath("whole").exists()
    assert [p.name for p in (tmp_path / "part").iterdir() if p.is_dir()] == ["1.0"]


def test_what_takes_long_is_told_of_as_it_begins_and_as_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cold `make test` was silent for a quarter of an hour; what is there already is built by nobody, and says nothing."""
    told: list[str] = []
    monkeypatch.setattr(cache, "tell", told.append)
    for _ in range(2):
        cached(tmp_path / "part", b"a", lambda folder: told.append("(works)"), Long("a thing", 7))
    assert told == ["building a thing, once: usually 7 minutes on two cores", "(works)", "built a thing in 0.0 minutes"]


def test_whoever_runs_the_tests_reads_it_though_they_capture_what_is_written(tmp_path: Path) -> None:
    """Also of a worker of ``-n``."""
    (tmp_path / "test_slow.py").write_text(_SLOW)
    command = [sys.executable, "-m", "pytest", "-q", "-n1", "-p", "tests.conftest", "--rootdir", str(tmp_path), str(tmp_path)]
    done = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "building a thing, once" in done.stderr


_SLOW = """
from ctrlplane_stream.local.cache import Long, cached
def test_slow(tmp_path):
    cached(tmp_path / "part", b"a", lambda folder: None, Long("a thing", 7))
"""


def test_the_cache_is_where_the_environment_says(tmp_path: Path) -> None:
    """XDG_CACHE_HOME wins over HOME."""
    assert cache_folder({"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / "ctrlplane-stream"
    assert cache_folder({"HOME": str(tmp_path)}) == tmp_path / ".cache" / "ctrlplane-stream"
