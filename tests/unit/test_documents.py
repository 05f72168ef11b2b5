"""Documents that are kept by hand beside something else name all of it."""

import re
import tomllib
from pathlib import Path

from ctrlplane_stream.model.verdicts import Verdict, VerdictStatus
from ctrlplane_stream.wire.verdicts import read_verdict

_ROOT = Path(__file__).parents[2]


def test_every_dependency_says_what_it_is_for() -> None:
    """docs/dependencies.md has a row for each package of pyproject.toml, and none for a package that is gone."""
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    required = {re.split(r"[\[<>=]", requirement)[0] for group in groups for requirement in group}
    text = (_ROOT / "docs" / "dependencies.md").read_text()
    rows = {name for row in re.findall(r"^\| ([^|]+) \|", text, re.MULTILINE) for name in re.findall(r"[a-z][a-z0-9*-]+", row)}
    wild = {name.removesuffix("*") for name in rows if name.endswith("*")}
    missing = {name for name in required if name not in rows and not name.startswith(tuple(wild) or "\0")}
    assert missing == set()


def test_every_package_is_locked_with_hashes() -> None:
    """No entry of requirements.lock without one, and every direct dependency is in it."""
    entries = re.split(r"\n(?=\S)", (_ROOT / "requirements.lock").read_text().strip())
    packages = [entry for entry in entries if not entry.startswith("#")]
    assert all("--hash=sha256:" in entry for entry in packages)


def test_every_decision_has_a_number_of_its_own_and_its_title_says_it() -> None:
    """What is called "decision 7" elsewhere is one page."""
    pages = sorted((_ROOT / "docs" / "decisions").glob("*.md"))
    numbers = [int(page.name[:4]) for page in pages]
    assert numbers == list(range(1, len(pages) + 1))
    assert [page.read_text().partition(".")[0] for page in pages] == [f"# {number}" for number in numbers]


def test_the_verdict_of_an_outside_judge_is_one_that_ingest_reads() -> None:
    """The record that docs/gates.md shows to who writes a judge of their own, field for field."""
    (record,) = re.findall(r"```json\n(.+?)```", (_ROOT / "docs" / "gates.md").read_text(), re.DOTALL)
    found = read_verdict(record.encode())
    assert isinstance(found, Verdict), found
    assert (found.judge, found.status, found.culprit is not None) == ("orders", VerdictStatus.FAIL, True)
