"""Compiles the C of the package in place where a C compiler is. Part of building the package (pyproject.toml).

Two libraries: ``telemetry/native/spans.so`` reads and pairs spans and needs nothing of Python's; ``decision/native/judging`` is an
extension of the Python it is compiled for, and needs its headers. Without a compiler the package is complete and slower: what is done in C
has its twin in Python. CC names another compiler. Run by itself it compiles and says what came of it: ``python scripts/compile_native.py``.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any, NamedTuple

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = Path(__file__).parent.parent / "ctrlplane_stream"
FLAGS = ("-std=c11", "-O3", "-Wall", "-Wextra", "-Wconversion", "-shared", "-fPIC")
SAME_BITS = ("-ffp-contract=off",)
"""No product and sum in one rounding: the twins in Python round twice."""
HEADERS = Path(sysconfig.get_paths()["include"])
FOR_PYTHON = (f"-isystem{HEADERS}", *(("-undefined", "dynamic_lookup") if sys.platform == "darwin" else ()))


class Library(NamedTuple):
    """A library, and what compiling it takes besides the flags of all. All C of its folder goes into it."""

    path: Path
    flags: tuple[str, ...] = ()
    needs_python: bool = False

    @property
    def sources(self) -> list[Path]:
        """Sources and headers, in the order in which they are hashed."""
        return sorted(path for path in self.path.parent.iterdir() if path.suffix in {".c", ".h"})

    def command(self, compiler: str, to: Path, *more: str) -> list[str]:
        """What compiles it."""
        version = hashlib.sha256(b"".join(path.read_bytes() for path in self.sources)).hexdigest()[:16]
        units = [str(path) for path in self.sources if path.suffix == ".c"]
        return [compiler, *FLAGS, *self.flags, *more, f'-DSOURCE_HASH="{version}"', "-o", str(to), *units]


SPANS = Library(PACKAGE / "telemetry" / "native" / "spans.so")
JUDGING = Library(PACKAGE / "decision" / "native" / f"judging{sysconfig.get_config_var('EXT_SUFFIX')}", (*SAME_BITS, *FOR_PYTHON), True)


def compiled(library: Library) -> str | None:
    """Compile; returns why there is no library, or None where there is one that is as new as its source."""
    compiler = os.environ.get("CC") or next((name for name in ("cc", "gcc", "clang") if shutil.which(name)), None)
    if compiler is None:
        return None if library.path.exists() else "no C compiler: apt-get install gcc, or name one in CC"
    if library.needs_python and not (HEADERS / "Python.h").exists():
        return None if library.path.exists() else f"no {HEADERS}/Python.h: apt-get install python3-dev"
    new = library.path.with_suffix(f".{os.getpid()}")
    try:
        done = subprocess.run(library.command(compiler, new), capture_output=True, text=True, check=False)
        if done.returncode:
            return f"{compiler} failed: {done.stderr[-2000:]}"
        new.replace(library.path)  # at once: a process that runs keeps the old file
    except OSError as error:
        return f"{compiler} could not be run: {error}"
    finally:
        new.unlink(missing_ok=True)
    return None


class CompileNative(BuildHookInterface[Any]):
    """Puts the compiled libraries into the wheel, which then is one for this platform."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Before the package is built, as a wheel or in place."""
        for library in (SPANS, JUDGING):
            failed = compiled(library)
            if failed:
                self.app.display_warning(f"{library.path.name} is not compiled, what it does goes the slower way: {failed}")
                continue
            build_data["pure_python"] = False
            build_data["infer_tag"] = True
            build_data["artifacts"].append(str(library.path.relative_to(self.root)))


if __name__ == "__main__":
    reasons = [compiled(library) for library in (SPANS, JUDGING)]
    for each, reason in zip((SPANS, JUDGING), reasons, strict=True):
        print(reason or f"compiled {each.path}")
    sys.exit(any(reasons))
