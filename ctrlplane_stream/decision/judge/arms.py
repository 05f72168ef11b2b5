"""One side of a comparison in one window: requests, failures, latencies and calls made, of a version, an edge or an exposure.

What becomes an arm depends on the guard's role alone (design, "Version sets"); what is measured on it depends on the metric (`measures`).
"""

from collections.abc import Iterable
from enum import Enum

import msgspec

from ctrlplane_stream.decision.judge.histograms import Drawn, without
from ctrlplane_stream.decision.judge.rows import Rows
from ctrlplane_stream.model.identity import UNKNOWN_VERSION, EdgeKey, EdgeKind
from ctrlplane_stream.model.sketch import Sketch
from ctrlplane_stream.model.windows import Exposure, ExposureWindow

_FEW = 0.05
"""Of so large a part of the requests no caller may be known before that makes them requests of another kind."""


class Side(Enum):
    """Whose clock latencies of calls are by."""

    CLIENT = "client"
    SERVER = "server"
    """The client's still, where the server tells none."""


class ArmWindow(msgspec.Struct, gc=False):
    """What one arm did in one window.

    ``errors_by_edge`` and ``requests_by_edge`` say where it was seen; ``calls`` counts the calls it made, by edge, as seen and as
    estimated. ``estimated`` counts requests corrected for sampling, ``estimated_errors`` failures.
    """

    requests: float = 0.0
    errors: float = 0.0
    estimated: float = 0.0
    latency: Drawn = msgspec.field(default_factory=Drawn)
    gap: Drawn = msgspec.field(default_factory=Drawn)
    calls: dict[EdgeKey, tuple[float, float]] = {}
    requests_by_edge: dict[EdgeKey, float] = {}
    errors_by_edge: dict[EdgeKey, float] = {}
    estimated_errors: float = 0.0


def version_arm(rows: Rows, service: str, version: str | None) -> ArmWindow:
    """A version of a service (None: all versions): what arrived by its own spans and by its callers', and what it called.

    Requests and errors are the larger of what servers and what callers saw, since either side alone misses some: roots have no caller,
    timeouts no server error. Latency is the server's, or the client's where servers tell none. Added up once per window: not to be changed.
    """
    if (service, version) not in rows.arms:
        rows.arms[service, version] = _version_arm(rows, service, version)
    arm: ArmWindow = rows.arms[service, version]
    return arm


def _version_arm(rows: Rows, service: str, version: str | None) -> ArmWindow:
    requests = errors = estimated = failed = 0.0
    own: list[Sketch] = []
    for row in rows.services.get(service, ()):
        if version is None or row.version == version:
            requests += row.requests
            errors += row.errors
            estimated += row.estimated_requests
            failed += max(row.errors, row.estimated_errors)
            own.append(row.latency)
    served = any(sketch.indices for sketch in own)
    arm = _edge_arm(rows, rows.incoming.get(service, ()), callee_version=version, latency=None if served else Side.SERVER)
    arm.requests, arm.errors, arm.estimated = max(requests, arm.requests), max(errors, arm.errors), max(estimated, arm.estimated)
    arm.estimated_errors = max(failed, arm.estimated_errors)
    if served:
        arm.latency.sketches = own
    for key in rows.outgoing.get(service, ()):
        mine = [call for call in rows.edges[key] if version is None or call.caller_version == version]
        if mine:
            calls = estimated = 0.0
            for call in mine:
                calls, estimated = calls + call.calls, estimated + call.estimated_calls
            arm.calls[key] = (calls, estimated)
    return arm


def arms_by_caller(rows: Rows, service: str, versions: tuple[str, ...]) -> list[list[ArmWindow]]:
    """The arms of versions of a service by who called it, of each as many and in the same order; of one caller they are `version_arm`.

    Requests of which no caller is known are an arm of their own, the last, where they are many. Few are a matter of spans that are lost,
    and what servers saw to fail and callers did not is as much any caller's: both are spread over all. Calls made are in none of them.
    Added up once per window: not to be changed.
    """
    if (service, versions) not in rows.callers:
        rows.callers[service, versions] = _arms_by_caller(rows, service, versions)
    arms: list[list[ArmWindow]] = rows.callers[service, versions]
    return arms


def _arms_by_caller(rows: Rows, service: str, versions: tuple[str, ...]) -> list[list[ArmWindow]]:
    keys, wholes = rows.incoming.get(service, ()), [version_arm(rows, service, version) for version in versions]
    called = [[_edge_arm(rows, (key,), callee_version=version, latency=Side.SERVER) for key in keys] for version in versions]
    alone = [max(0.0, whole.requests - sum(arm.requests for arm in arms)) for whole, arms in zip(wholes, called, strict=True)]
    many = any(rest > _FEW * whole.requests for rest, whole in zip(alone, wholes, strict=True))
    if sum(any(arm.requests for arm in edge) for edge in zip(*called, strict=True)) + many < 2:
        return [[whole] for whole in wholes]
    for version, whole, arms, rest in zip(versions, wholes, called, alone, strict=True):
        apart = _of_no_caller(rows, service, version, whole, arms, rest) if many else ArmWindow()
        _spread(whole, arms, apart)
        if many:
            arms.append(apart)
    return called


def _of_no_caller(rows: Rows, service: str, version: str, whole: ArmWindow, arms: list[ArmWindow], requests: float) -> ArmWindow:
    estimated = max(requests, whole.estimated - sum(arm.estimated for arm in arms))
    errors = min(requests, max(0.0, whole.errors - sum(arm.errors for arm in arms)))
    failed = min(estimated, max(errors, whole.estimated_errors - sum(arm.estimated_errors for arm in arms)))
    own = [row.latency for row in rows.services.get(service, ()) if row.version == version]
    answered = [sketch for key in rows.incoming[service] for sketch in _answers(rows, key, version)]
    return ArmWindow(requests, errors, estimated, Drawn([without(own, answered)]), estimated_errors=failed)


def _answers(rows: Rows, key: EdgeKey, version: str) -> list[Sketch]:
    return [row.server for row in rows.edges[key] if row.callee_version == version]


def _spread(whole: ArmWindow, arms: list[ArmWindow], apart: ArmWindow) -> None:
    """Into the arms, in proportion to their requests, what the whole has beyond them and what is apart."""
    seen = sum(arm.requests for arm in arms)
    if not seen:
        return
    requests = max(0.0, whole.requests - seen - apart.requests)
    errors = max(0.0, whole.errors - sum(arm.errors for arm in arms) - apart.errors)
    estimated = max(0.0, whole.estimated - sum(arm.estimated for arm in arms) - apart.estimated)
    failed = max(0.0, whole.estimated_errors - sum(arm.estimated_errors for arm in arms) - apart.estimated_errors)
    for arm in arms:
        part = arm.requests / seen
        arm.requests, arm.errors = arm.requests + part * requests, arm.errors + part * errors
        arm.estimated, arm.estimated_errors = arm.estimated + part * estimated, arm.estimated_errors + part * failed


def calls_arm(
    rows: Rows,
    keys: Iterable[EdgeKey],
    *,
    caller_version: str | None = None,
    callee_version: str | None = None,
    latency: Side = Side.CLIENT,
) -> ArmWindow:
    """The calls along edges, by the version of one end; latency as the client saw it, or the server."""
    return _edge_arm(rows, keys, caller_version=caller_version, callee_version=callee_version, latency=latency)


def exposure_arm(rows: Rows, service: str, version: str, exposure: Exposure, entry: str | None, *, elsewhere: bool = False) -> ArmWindow:
    """Requests at one entry point (None: all) by whether they touched this version of the service; those that stand for another apart."""
    arm = ArmWindow()
    for row in rows.exposures.get(service, ()):
        if row.version == version and row.exposure is exposure and row.elsewhere == elsewhere and entry in (None, row.entry):
            arm.requests += row.requests
            arm.errors += row.errors
            stood_for, failed = _stood_for(rows, row)
            arm.estimated += stood_for
            arm.estimated_errors += failed
            arm.latency.sketches.append(row.latency)
    return arm


def _stood_for(rows: Rows, row: ExposureWindow) -> tuple[float, float]:
    """The requests behind a row of exposures, and the failed ones: the first spans of their traces were kept as its entry point's spans
    were, of which is known what one error and one success that were kept stand for; or as those of the version that they touched, where
    that has another sampler than the one beside it, since an exposure is known by spans of both."""
    if row.exposure is Exposure.EXPOSED and (row.service, row.version) in rows.stands_for:
        each_success, each_error = rows.stands_for[row.service, row.version]
        return row.errors * each_error + (row.requests - row.errors) * each_success, row.errors * each_error
    requests = errors = estimated = failed = 0.0
    for service in rows.services.get(row.entry, ()):
        requests += service.requests
        errors += service.errors
        estimated += service.estimated_requests
        failed += max(service.errors, service.estimated_errors)
    if estimated <= requests or requests <= errors:
        return float(row.requests), float(row.errors)
    each_success, each_error = max(1.0, (estimated - failed) / (requests - errors)), failed / errors if errors else 1.0
    return row.errors * each_error + (row.requests - row.errors) * each_success, row.errors * each_error


def edges_between(rows: Rows, callers: Iterable[str], callees: Iterable[str], *, messages: bool | None = None) -> tuple[EdgeKey, ...]:
    """The edges seen in this window from any of the callers to any of the callees; only or no message edges if asked."""
    ends = tuple(callees)
    return tuple(
        key
        for caller in callers
        for key in rows.outgoing.get(caller, ())
        if key.callee in ends and (messages is None or (key.kind is EdgeKind.MESSAGE) == messages)
    )


def _edge_arm(
    rows: Rows,
    keys: Iterable[EdgeKey],
    *,
    caller_version: str | None = None,
    callee_version: str | None = None,
    latency: Side | None,
) -> ArmWindow:
    arm = ArmWindow()
    latencies, gaps = arm.latency.sketches, arm.gap.sketches
    for key in keys:
        requests = errors = 0.0
        seen = False
        for row in rows.edges[key]:
            if (caller_version is None or row.caller_version == caller_version) and (
                callee_version is None or row.callee_version == callee_version
            ):
                seen = True
                requests += row.calls
                errors += row.errors
                arm.estimated += row.estimated_calls
                arm.estimated_errors += max(row.errors, row.estimated_errors)
                # Calls of which no server answered any are no time of the service: a dead one refuses quickly.
                if latency is not None and not (row.callee_version == UNKNOWN_VERSION and row.errors >= row.calls):
                    latencies.append(row.server if latency is Side.SERVER and row.server.indices else row.client)
                gaps.append(row.gap)
        if seen:
            # An answer that is later than its call's window brings its failure without the call, which was counted before.
            requests = max(requests, errors)
            arm.requests_by_edge[key], arm.errors_by_edge[key] = requests, errors
            arm.requests += requests
            arm.errors += errors
    return arm
