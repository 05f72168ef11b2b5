"""A page of docs/ that is written from the code: made anew, or checked against it."""

from collections.abc import Sequence
from pathlib import Path


def keep_in_step(page: Path, text: str, source: str, arguments: Sequence[str]) -> int:
    """Write the page; with --check only say where it is not what ``source`` gives now, and return 1. NAME.md is written by NAME_doc.py."""
    if "--check" not in arguments:
        page.write_text(text)
    elif not page.exists() or page.read_text() != text:
        print(f"docs/{page.name} is not in step with {source}; run python scripts/{page.stem}_doc.py")
        return 1
    return 0
