"""The offline judge over published recordings of microservice systems with injected faults.

    python -m bench.gates.recorded DIRECTORY WORK

WORK takes the recordings as OTLP; DIRECTORY is ``rca_data`` of Nezha (Yu et al., "Nezha: Interpretable Fine-Grained Root Causes Analysis
for Microservices on Multi-modal Observability Data", ESEC/FSE 2023; github.com/IntelligentDDS/Nezha, MIT): one CSV of spans a minute, of
which the first minute of each case lies before the injection. That minute is taken as stable and the next as candidate, with one
relabelling of the whole system: a before/after comparison. Spans there have no status, so that only what shows in time or in calls can be
found. Pairs of quiet minutes of neighbouring cases are the false alarms' trial.
"""

import csv
import json
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from ctrlplane_stream.decision.judge.offline import Report, judge_recordings
from ctrlplane_stream.model.sketch import Sketch, merge
from ctrlplane_stream.model.verdicts import GatePolicy, VerdictStatus
from ctrlplane_stream.model.windows import WindowPart
from ctrlplane_stream.telemetry.half import Kind
from ctrlplane_stream.telemetry.offline import OFFLINE, windows_of
from ctrlplane_stream.telemetry.sample_traces import SampleSpan, request

WINDOW_SECONDS = 5
POLICY = GatePolicy(minimum_windows=2)
FEW = 30
"""With fewer requests in a minute not even the point is chosen from which latencies count as slow (`judge.tails`)."""
_LARGER, _SLACK_MS = 1.0 + POLICY.latency_margin, POLICY.latency_slack_ms
_MICRO = 1_000


class Case(NamedTuple):
    """One injection: the minute before it and the minute after, and what was done to whom."""

    name: str
    before: Path
    after: Path
    service: str
    fault: str


def main() -> None:
    """Judge every case whose files are there, then pairs of quiet minutes."""
    root, work = Path(sys.argv[1]), Path(sys.argv[2])
    cases = list(cases_of(root))
    print("| case | fault | injected into | its requests | its median ms | its 99th ms | verdict | blamed | metric | because |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for case in cases:
        before, after = _windows(case.before, work), _windows(case.after, work)
        report = judge_recordings(before, after, POLICY, WINDOW_SECONDS)
        changes, why = _changes(case.service, before, after), _because(case, report, before, after)
        print(f"| {case.name} | {case.fault} | {case.service} | {changes} | {_told(report)} | {why} |", flush=True)
    print("\n| quiet minutes | verdict | blamed | metric | reason |\n|---|---|---|---|---|")
    for first, second in pairwise(cases):
        if first.before.parent == second.before.parent:
            report = judge_recordings(_windows(first.before, work), _windows(second.before, work), POLICY, WINDOW_SECONDS)
            reason = report.reason if report.verdict is VerdictStatus.FAIL else ""
            print(f"| {first.name} and {second.name} | {_told(report)} | {reason} |", flush=True)


def _told(report: Report) -> str:
    """Verdict, who is blamed, and the loudest metric of the one who is."""
    if report.culprit is None:
        return f"{report.verdict}{'' if report.proven or report.verdict is not VerdictStatus.PASS else ' (unproven)'} | – | –"
    metrics = [m for m in report.windows[report.at_window - 1].metrics if m.service == report.culprit.service]
    loudest = max(metrics, key=lambda metric: metric.e_value)
    return f"{report.verdict} after {report.at_window * WINDOW_SECONDS} s | {report.culprit.service} | {loudest.name}"


def _because(case: Case, report: Report, before: tuple[WindowPart, ...], after: tuple[WindowPart, ...]) -> str:
    """Why this became of it: by who is blamed, by how little was seen, or by what spans without a status can show."""
    old, new = (_latencies(case.service, parts) for parts in (before, after))
    if report.culprit is not None:
        return _blamed(report.culprit.service, case.service, (*before, *after))
    if min(old.count, new.count) < FEW:
        return f"{old.count} and {new.count} requests: too few to say anything of it"
    slower = [name for q, name in ((0.5, "median"), (0.99, "99th")) if _milliseconds(new, q) > _LARGER * _milliseconds(old, q) + _SLACK_MS]
    if not slower and case.fault in {"return", "exception"}:
        return "the spans have no status, and its times do not show it"
    if not slower:
        return "its own times do not show it"
    doubt = "enough for doubt, not for FAIL" if report.verdict is VerdictStatus.INCONCLUSIVE else "not beyond how these minutes scatter"
    return f"{' and '.join(slower)} higher over {new.count} requests: {doubt}"


def _blamed(culprit: str, service: str, parts: tuple[WindowPart, ...]) -> str:
    if culprit == service:
        return "found"
    ends = {(edge.caller, edge.callee) for part in parts for edge in part.edges}
    if (culprit, service) in ends:
        return "seen first in a caller of it"
    return "seen first in what it calls" if (service, culprit) in ends else "the two do not call each other"


def _latencies(service: str, parts: tuple[WindowPart, ...]) -> Sketch:
    return merge(row.latency for part in parts for row in part.services if row.service == service)


def _milliseconds(sketch: Sketch, q: float) -> float:
    return (sketch.quantile(q) or 0.0) / 1000


def _changes(service: str, before: tuple[WindowPart, ...], after: tuple[WindowPart, ...]) -> str:
    """What the injection did to its service, in hindsight: requests, median and 99th percentile of either minute."""
    sketches = [_latencies(service, parts) for parts in (before, after)]
    quantiles = [[_milliseconds(sketch, q) for sketch in sketches] for q in (0.5, 0.99)]
    return " | ".join((f"{sketches[0].count} → {sketches[1].count}", *(f"{old:.3g} → {new:.3g}" for old, new in quantiles)))


def cases_of(root: Path) -> Iterator[Case]:
    """The cases of every day whose two minutes are present, in order."""
    for listing in sorted(root.glob("*/*-fault_list.json")):
        traces = sorted((listing.parent / "trace").glob("*_trace.csv"))
        minutes = {path.name[:5]: path for path in traces}
        hours = json.loads(listing.read_text(encoding="utf-8"))
        for injection in (injection for hour in sorted(hours) for injection in hours[hour]):
            hour, minute = injection["inject_time"][11:16].split(":")
            following = f"{(int(hour) + (int(minute) + 1) // 60) % 24:02}_{(int(minute) + 1) % 60:02}"
            before, after = minutes.get(f"{hour}_{minute}"), minutes.get(following)
            if before is not None and after is not None:
                name = f"{listing.parent.name} {hour}:{minute}"
                yield Case(name, before, after, service_of(injection["inject_pod"]), injection["inject_type"])


def _windows(minute: Path, work: Path) -> tuple[WindowPart, ...]:
    path = work / f"{minute.parent.parent.name}-{minute.stem}.bin"
    if not path.exists():
        value = request(spans_of(minute))
        path.write_bytes(len(value).to_bytes(4, "big") + value)
    settings = type(OFFLINE)(partitions=1, max_halves=OFFLINE.max_halves, window_ms=WINDOW_SECONDS * 1000)
    return windows_of([path], settings).parts


def spans_of(minute: Path) -> Iterator[SampleSpan]:
    """The spans of a minute. Kinds are told by pods: a span whose parent is of another pod is a server's, its parent a client's."""
    with minute.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    pods = {row["SpanID"]: row["PodName"] for row in rows}
    calling = {row["ParentID"] for row in rows if pods.get(row["ParentID"], row["PodName"]) != row["PodName"]}
    for row in sorted(rows, key=lambda row: row["PodName"]):
        parent = row["ParentID"]
        if parent == "root" or pods.get(parent, row["PodName"]) != row["PodName"]:
            kind = Kind.SERVER
        else:
            kind = Kind.CLIENT if row["SpanID"] in calling else Kind.INTERNAL
        start, end = int(row["StartTimeUnixNano"]), int(row["EndTimeUnixNano"])
        yield SampleSpan(
            resource=(("service.name", service_of(row["PodName"])), ("service.version", "1")),
            trace=bytes.fromhex(row["TraceID"].zfill(32)[-32:]),
            span=bytes.fromhex(row["SpanID"].zfill(16)[-16:]),
            parent=bytes(8) if parent == "root" else bytes.fromhex(parent.zfill(16)[-16:]),
            kind=kind,
            end_ms=end / (_MICRO * _MICRO),
            milliseconds=(end - start) / (_MICRO * _MICRO),
            error=False,
            attributes=(),
            links=(),
            trace_state="",
        )


def service_of(pod: str) -> str:
    """The service of a pod's name: without the hashes of replica set and pod."""
    return pod.rsplit("-", 2)[0]


if __name__ == "__main__":
    main()
