"""Writes `docs/scenarios.md`: every scenario of `tests/scenario/` as the sentence that its name is, by what it is about.

`--check` writes nothing and fails where the page is not what the tests say.
"""

import ast
import sys
from pathlib import Path

from in_step import keep_in_step

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "scenarios.md"

HEAD = """\
# What the machine does, in sentences

Generated from `tests/scenario/` by `scripts/scenarios_doc.py`: each sentence is a test in which the real `decide` runs against a
simulated world and judge, and in which every promise of the machine is checked after every fact. A failing one prints its
transcript, `time | fact | phases | commands | reasons`; `ctrlplane_stream.testing.Driver` gives you the same for your own.
"""


def page() -> str:
    """The whole page."""
    files = sorted((ROOT / "tests" / "scenario").glob("test_*.py"))
    found = [(_about(path), _sentences(path)) for path in files]
    count = sum(len(sentences) for _, sentences in found)
    body = "".join(f"\n## {about}\n\n" + "".join(f"- {sentence}\n" for sentence in sentences) for about, sentences in found)
    return f"{HEAD}\n{count} scenarios, some of them played in several ways.\n{body}"


def _about(path: Path) -> str:
    return (ast.get_docstring(ast.parse(path.read_text())) or path.stem).splitlines()[0].rstrip(".")


def _sentences(path: Path) -> list[str]:
    tests = [n.name for n in ast.parse(path.read_text()).body if isinstance(n, ast.FunctionDef) and n.name.startswith("test_")]
    return [name.removeprefix("test_").replace("_", " ") for name in tests]


if __name__ == "__main__":
    sys.exit(keep_in_step(PAGE, page(), "tests/scenario", sys.argv[1:]))
