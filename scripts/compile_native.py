"""Compiles ctrlplane_stream/telemetry/native/*.c in place where a C compiler is. Part of building the package (pyproject.toml).

Without a compiler the package is complete and slower by half: what is done in C has its twin in Python. CC names another compiler.
Run by itself it compiles and says what came of it: ``python scripts/compile_native.py``.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDER = Path(__file__).parent.parent / "ctrlplane_stream" / "telemetry" / "native"
LIBRARY = FOLDER / "spans.so"
FLAGS = ("-std=c11", "-O3", "-Wall", "-Wextra", "-Wconversion", "-shared", "-fPIC")


def compiled() -> str | None:
    """Compile; returns why there is no library, or None where there is one that is as new as its source."""
    compiler = os.environ.get("CC") or next((name for name in ("cc", "gcc", "clang") if shutil.which(name)), None)
    if compiler is None:
        return None if LIBRARY.exists() else "no C compiler: apt-get install gcc, or name one in CC"
    sources = sorted(path for path in FOLDER.iterdir() if path.suffix in {".c", ".h"})
    version = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    units = [str(path) for path in sources if path.suffix == ".c"]
    new = LIBRARY.with_suffix(f".{os.getpid()}")
    try:
        done = subprocess.run(
            [compiler, *FLAGS, f'-DSOURCE_HASH="{version}"', "-o", str(new), *units], capture_output=True, text=True, check=False
        )
        if done.returncode:
            return f"{compiler} failed: {done.stderr[-2000:]}"
        new.replace(LIBRARY)  # at once: a process that runs keeps the old file
    except OSError as error:
        return f"{compiler} could not be run: {error}"
    finally:
        new.unlink(missing_ok=True)
    return None


class CompileNative(BuildHookInterface[Any]):
    """Puts the compiled library into the wheel, which then is one for this platform."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Before the package is built, as a wheel or in place."""
        failed = compiled()
        if failed:
            self.app.display_warning(f"nothing is compiled, spans are read by the slower way: {failed}")
            return
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        build_data["artifacts"].append(str(LIBRARY.relative_to(self.root)))


if __name__ == "__main__":
    reason = compiled()
    print(reason or f"compiled {LIBRARY}")
    sys.exit(bool(reason))
