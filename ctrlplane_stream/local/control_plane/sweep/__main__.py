"""``SWEEP=kubernetes make sweep``, or ``python -m`` this ``--plans N``: play N plans, print each, exit 1 on any problem."""

import argparse
import asyncio
import logging
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from ctrlplane_stream.local.control_plane.lab import open_lab
from ctrlplane_stream.local.control_plane.sweep.plans import KILLS
from ctrlplane_stream.local.control_plane.sweep.record import OtherCode, Record, undone
from ctrlplane_stream.local.control_plane.sweep.sweeping import Covered, Sweep
from ctrlplane_stream.local.control_plane.sweep.trial import Result
from ctrlplane_stream.local.control_plane.sweep.ways import Way


def main() -> int:
    """Play the plans and sum up; the last line is the summary."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plans", type=int, default=100, help="how many plans to play in which it is not killed")
    parser.add_argument("--first", type=int, default=0, help="the first such plan's number")
    parser.add_argument("--missing", type=int, default=20, help="how many plans more in which watches miss events")
    parser.add_argument("--gaps", type=int, default=10_000, help="how many of the gaps between two writes to kill in; default: all")
    parser.add_argument("--first-gap", type=int, default=0, help="the first such gap's number")
    parser.add_argument(
        "--minutes", type=float, default=math.inf, help="begin no plan after so many; the summary says how many were played"
    )
    parser.add_argument("--at-once", type=int, default=3, help="how many plans to play side by side")
    parser.add_argument(
        "--ways", nargs="+", type=Way, default=tuple(Way), choices=tuple(Way), help="by which ways weight is moved; default: all"
    )
    parser.add_argument(
        "--record", type=Path, help="a file that keeps what was played: that is not played again, and is summed up with this"
    )
    arguments = parser.parse_args()
    logging.getLogger("ctrlplane_stream").setLevel(logging.ERROR)
    try:
        record = Record(arguments.record) if arguments.record is not None else None
    except OtherCode as error:
        parser.error(str(error))
    began = time.monotonic()
    with open_lab() as lab:
        sweep = Sweep(lab, _printed(record), 60 * arguments.minutes)
        numbers = range(arguments.first, arguments.first + arguments.plans)
        gaps = slice(arguments.first_gap, arguments.first_gap + arguments.gaps)
        before = () if record is None else tuple(record.results)
        results = asyncio.run(sweep.play(numbers, arguments.at_once, range(arguments.missing), gaps, arguments.ways, before))
    print(f"{time.monotonic() - began:.0f} s")
    return _sum_up(sweep, [*before, *results])


def _printed(record: Record | None) -> Callable[[Result], None]:
    def report(result: Result) -> None:
        _print(result)
        if record is not None:
            record.add(result)

    return report


def _sum_up(sweep: Sweep, results: Sequence[Result]) -> int:
    for script in sweep.covered(result for result in results if not result.problems):
        _print_covered(script)
    wrong = [result for result in results if result.problems]
    bad = undone(results, sweep.courses)
    faults = Counter(result.plan.fault.value for result in results if not result.problems)
    print(", ".join(f"{count} {fault}" for fault, count in sorted(faults.items())))
    print(f"{sum(result.requests for result in results)} requests, {sum(result.struck for result in results)} faults struck")
    if sweep.left:
        print(f"{sweep.left} plans are left")
    if len(wrong) > len(bad):
        print(f"{len(wrong) - len(bad)} plans failed, and were right when they were played again")
    print(f"{len(results) - len(wrong) + len(bad)} plans, {len(bad)} failed")
    return 1 if bad else 0


def _print(result: Result) -> None:
    plan = result.plan
    end = "FAILED" if result.problems else "ok" if result.struck else "ok, not struck"
    at = str(plan.spot) if plan.spot is not None else f"request {plan.at} of {result.requests}"
    what = "gap" if plan.fault in KILLS else "plan"
    print(f"{what} {plan.number}: {plan.fault.value} at {at}, {_script(plan.way, plan.promotes)}: {end}")
    for problem in result.problems:
        print(f"    {problem}")
    sys.stdout.flush()


def _print_covered(of: Covered) -> None:
    script = _script(of.course.way, of.course.promotes)
    print(f"{script}: killed in {of.killed} of {of.gaps} gaps between two writes, anything in {of.struck}")


def _script(way: Way, promotes: bool) -> str:
    return f"{way.value} {'promotes' if promotes else 'aborts'}"


if __name__ == "__main__":
    sys.exit(main())
