"""What was played already, in a file: a sweep of hours in as many pieces as one likes, of one state of the actuators.

A line of JSON for each result, after one that says of which code. Whatever went wrong stays in it, and is played again.
"""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from ctrlplane_stream import actuators
from ctrlplane_stream.local.control_plane.sweep.plans import KILLS, Courses, Plan, gap_of
from ctrlplane_stream.local.control_plane.sweep.trial import Result


class OtherCode(ValueError):
    """The record is of other actuators than these; the text says what to do."""


class Record:
    """The results in a file, which is begun where it is not there. Raises OtherCode."""

    def __init__(self, path: Path) -> None:
        self._path = path
        code = code_of(Path(actuators.__file__).parent)
        if not path.exists():
            path.write_bytes(msgspec.json.encode({"code": code}) + b"\n")
        first, *lines = path.read_bytes().splitlines()
        if msgspec.json.decode(first) != {"code": code}:
            raise OtherCode(f"{path} is of other actuators than these: name a file that is not there")
        self.results = [msgspec.json.decode(line, type=Result) for line in lines]

    def add(self, result: Result) -> None:
        """Keep a result, but for where it ended and what it wrote."""
        kept = msgspec.structs.replace(result, ending={}, spots=())
        self.results.append(kept)
        with self._path.open("ab") as file:
            file.write(msgspec.json.encode(kept) + b"\n")


def code_of(folder: Path) -> str:
    """A digest of the Python files in a folder, at any depth."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"{path.relative_to(folder)}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def left(plans: Iterable[Plan], results: Iterable[Result], courses: Courses) -> list[Plan]:
    """The plans that no result tells to have gone right. Any kill in a gap does for that gap, which has another number in another run."""
    right = [result.plan for result in results if result.struck and not result.problems]
    known = {_by(plan, courses) for plan in right}
    return [plan for plan in plans if _by(plan, courses) not in known]


def undone(results: Sequence[Result], courses: Courses) -> list[Result]:
    """Those that went wrong and did not go right when they were played again, each the last time."""
    last = {_by(result.plan, courses): result for result in results if result.problems}
    right = {_by(result.plan, courses) for result in results if not result.problems}
    return [result for by, result in last.items() if by not in right]


def _by(plan: Plan, courses: Courses) -> object:
    """What a plan is known by from run to run."""
    course = courses.get((plan.way, plan.promotes))
    if course is not None and plan.fault in KILLS and (gap := gap_of(plan, course)) is not None:
        return plan.way, plan.promotes, gap
    return plan.number, plan.fault, plan.way, plan.promotes
