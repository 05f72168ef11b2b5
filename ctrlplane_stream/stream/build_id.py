"""Which build decides: a fingerprint of everything that can change a decision."""

import hashlib
from importlib.metadata import version
from pathlib import Path

import ctrlplane_stream

_DECIDING = ("decision", "model")
_LIBRARIES = ("msgspec", "immutables")


def build_id() -> str:
    """``<version>-<12 hexadecimal digits>``: the package's version and a hash over the source of the core and of what it stands on.

    Two workers with the same id decide alike, byte for byte; a worker with another id says so with a BuildChanged fact.
    """
    root = Path(ctrlplane_stream.__file__).parent
    digest = hashlib.sha256()
    for folder in _DECIDING:
        for path in sorted((root / folder).rglob("*.py")):
            digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes() + b"\0")
    for library in _LIBRARIES:
        digest.update(f"{library}={version(library)}\0".encode())
    return f"{version('ctrlplane-stream')}-{digest.hexdigest()[:12]}"
