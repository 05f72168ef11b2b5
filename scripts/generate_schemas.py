"""Generates ``ctrlplane_stream/wire/gen/*_pb2.py[i]`` from ``schemas/*.proto``; ``--check`` only compares.

Exit status 1 with ``--check`` where a generated file differs from what its schema says: then run this script
without arguments and commit the result together with the schema.
"""

import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
SCHEMAS = ROOT / "schemas"
GENERATED = ROOT / "ctrlplane_stream" / "wire" / "gen"


def generate(into: Path) -> dict[str, bytes]:
    """File name -> content of everything that the compiler makes of the schemas, written below ``into``."""
    sources = sorted(str(path.relative_to(SCHEMAS)) for path in SCHEMAS.glob("*.proto"))
    status = protoc.main(["protoc", f"-I{SCHEMAS}", f"--python_out={into}", f"--pyi_out={into}", *sources])
    if status != 0:
        raise SystemExit(f"protoc refused the schemas: {', '.join(sources)}")
    return {path.name: path.read_bytes() for path in sorted(into.glob("*_pb2.py*"))}


def main(arguments: list[str]) -> int:
    """Write the generated files, or compare them when the arguments hold ``--check``."""
    with tempfile.TemporaryDirectory() as directory:
        wanted = generate(Path(directory))
    if "--check" not in arguments:
        GENERATED.mkdir(parents=True, exist_ok=True)
        for name, content in wanted.items():
            (GENERATED / name).write_bytes(content)
        return 0
    present = {path.name: path.read_bytes() for path in GENERATED.glob("*_pb2.py*")}
    stale = sorted(name for name in wanted.keys() | present.keys() if wanted.get(name) != present.get(name))
    for name in stale:
        print(f"{GENERATED / name} differs from schemas/: run `python scripts/generate_schemas.py` and commit", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
