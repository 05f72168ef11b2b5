"""A cached product is whole and from its recipe, or it is not there."""

from pathlib import Path

import pytest

from ctrlplane_stream.local.cache import cache_folder, cached


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


def test_the_cache_is_where_the_environment_says(tmp_path: Path) -> None:
    """XDG_CACHE_HOME wins over HOME."""
    assert cache_folder({"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / "ctrlplane-stream"
    assert cache_folder({"HOME": str(tmp_path)}) == tmp_path / ".cache" / "ctrlplane-stream"
