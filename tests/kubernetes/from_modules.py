"""A program that is built once from Go modules, and the definitions that come with them; it takes minutes of CPU."""

import hashlib
import os
import subprocess
import tempfile
from functools import partial
from pathlib import Path

import msgspec
import yaml

from ctrlplane_stream.actuators.kubernetes.objects import Manifest
from ctrlplane_stream.local.cache import Long, cache_folder, cached


class FromModules(msgspec.Struct, frozen=True):
    """What ``go build`` of ``package`` makes in ``source`` (go.mod, go.sum, and what else is in ``files``), kept as ``part`` of the cache.

    ``definitions`` are kinds that it brings: what each file is called here, and which of ``module`` it is.
    """

    part: str
    program: str
    source: Path
    package: str
    module: str
    definitions: dict[str, str]
    usual_minutes: int
    files: tuple[str, ...] = ("go.mod", "go.sum")

    def place(self) -> Path:
        """Where it is, or will be once it was built."""
        return cache_folder() / self.part / hashlib.sha256(self._recipe()).hexdigest()[:16]

    def is_built(self) -> bool:
        """Whether it is there."""
        return (self.place() / ".recipe").exists()

    def build(self) -> Path:
        """The program, built on first use."""
        return (
            cached(
                self.place(), self._recipe(), self._build, Long(f"{self.program} of {self.part} from its Go modules", self.usual_minutes)
            )
            / self.program
        )

    def kinds(self) -> list[Manifest]:
        """The definitions that come with it."""
        folder = self.build().parent
        return [each for name in self.definitions for each in yaml.safe_load_all((folder / name).read_text()) if each]

    def _recipe(self) -> bytes:
        return b"".join((self.source / name).read_bytes() for name in self.files)

    def _build(self, folder: Path) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            for name in self.files:
                (Path(scratch) / name).write_bytes((self.source / name).read_bytes())
            environ = {**os.environ, "CGO_ENABLED": "0"}
            go = partial(subprocess.run, cwd=scratch, env=environ, check=True, capture_output=True, text=True)
            flags = ["-mod=mod", "-buildvcs=false", "-trimpath", "-ldflags", "-s -w"]
            go(["go", "build", *flags, "-o", str(folder / self.program), self.package])
            module = go(["go", "list", "-mod=mod", "-m", "-f", "{{.Dir}}", self.module]).stdout.strip()
            for name, path in self.definitions.items():
                (folder / name).write_bytes((Path(module) / path).read_bytes())
