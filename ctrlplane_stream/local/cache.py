"""Where build products live: outside the checkout, built once, complete or absent.

``${XDG_CACHE_HOME:-~/.cache}/ctrlplane-stream/<part>/<version>``. A product is built into a temporary directory beside
its place and renamed there when it is whole, under a lock, so that an interrupted build leaves nothing to mistake for
one and two processes that start at once build once.
"""

import fcntl
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """The root of all cached build products."""
    base = environ.get("XDG_CACHE_HOME") or str(Path(environ.get("HOME") or Path.home()) / ".cache")
    return Path(base) / "ctrlplane-stream"


class Long(NamedTuple):
    """What takes so long to build that whoever waits is told: its name, and how many minutes two cores usually take."""

    what: str
    usual_minutes: int


def tell(text: str) -> None:
    """Say something to whoever waits; where standard error is not read, as in tests, another function is put in its place."""
    print(text, file=sys.stderr, flush=True)


def cached(place: Path, recipe: bytes, build: Callable[[Path], None], long: Long | None = None) -> Path:
    """``place``, built by ``build(folder)`` unless it is there from the same recipe.

    ``recipe`` is everything that determines the product (a pom, a manifest); it is kept beside the product as
    ``.recipe``, so that a changed recipe rebuilds. What ``build`` raises passes through and leaves no place behind. One
    that is ``long`` is told of as it begins and as it ends.
    """
    if _is_from(place, recipe):
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    with (place.parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _is_from(place, recipe):
            began = time.monotonic()
            if long is not None:
                tell(f"building {long.what}, once: usually {long.usual_minutes} minutes on two cores")
            _build(place, recipe, build)
            if long is not None:
                tell(f"built {long.what} in {(time.monotonic() - began) / 60:.1f} minutes")
    return place


def _is_from(place: Path, recipe: bytes) -> bool:
    stamp = place / ".recipe"
    return stamp.is_file() and stamp.read_bytes() == recipe


def _build(place: Path, recipe: bytes, build: Callable[[Path], None]) -> None:
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=f".{place.name}-", ignore_cleanup_errors=True) as scratch:
        product = Path(scratch) / "product"
        product.mkdir()
        build(product)
        (product / ".recipe").write_bytes(recipe)
        shutil.rmtree(place, ignore_errors=True)
        product.rename(place)
