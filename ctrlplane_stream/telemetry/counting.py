"""Counts arrivals and calls of one trace into a fold, one half at a time."""

from ctrlplane_stream.model.identity import UNKNOWN_VERSION, EdgeKind
from ctrlplane_stream.telemetry.folding import Fold
from ctrlplane_stream.telemetry.half import CALLERS, NO_PARENT, Half, Kind
from ctrlplane_stream.telemetry.settlement import Settled
from ctrlplane_stream.telemetry.traces import Counted, Found, Trace, WindowOf


class Counting:
    """Adds to the windows of a fold; what a trace must remember of it is remembered there."""

    def __init__(self, window_of: WindowOf) -> None:
        self._window_of = window_of

    def arrival(self, half: Half, fold: Fold) -> None:
        """A server or consumer span came, whoever called."""
        counts = fold.at(self._window_of(half), half.origin.environment).arrival(half.origin.service, half.origin.version)
        counts.tally.add(1, int(half.error), half.weight)
        counts.roots += half.parent == NO_PARENT and not half.linked
        counts.latency.count(half.duration_us)

    def call(self, trace: Trace, found: Found, callee: Half, fold: Fold) -> None:
        """A callee's caller was found. Where it was counted as unanswered before, it adds no call, and a failure that is new."""
        caller = found.caller
        kind = EdgeKind.MESSAGE if callee.kind is Kind.CONSUMER else EdgeKind.CALL
        name = (caller.origin.service, callee.origin.service, kind, caller.origin.version, callee.origin.version)
        counts = fold.at(found.window, callee.origin.environment).edge(name)
        counts.server.count(callee.duration_us)
        calls, errors = 1, int(callee.error)
        if caller.kind in CALLERS:
            if (before := trace.counted_for(caller, callee.origin.service)) is not None:
                calls, errors = 0, errors * (not before.failed)
            answered = trace.answered.get(caller.span, ())
            if callee.origin.service not in answered:
                trace.answered[caller.span] = (*answered, callee.origin.service)
            trace.possible.pop(caller.span, None)
            trace.open_callers.pop(caller.span, None)
            if calls:
                counts.client.count(caller.duration_us)
            counts.gap.count(gap_of(kind, caller, callee))
        counts.tally.add(calls, errors, callee.weight)

    def client_side(self, client: Half, server: Half, fold: Fold) -> None:
        """The client of a call that is counted already came: how long it took is new."""
        name = (client.origin.service, server.origin.service, EdgeKind.CALL, client.origin.version, server.origin.version)
        counts = fold.at(max(self._window_of(client), self._window_of(server)), server.origin.environment).edge(name)
        counts.client.count(client.duration_us)
        counts.gap.count(gap_of(EdgeKind.CALL, client, server))
        counts.tally.add(0, 0, server.weight)

    def unanswered(self, trace: Trace, caller: Half, settled: Settled, fold: Fold) -> None:
        """Nobody answered a caller, and it is settled whom it called."""
        trace.open_callers.pop(caller.span, None)
        if settled.kind is EdgeKind.CALL:
            trace.counted[caller.span] = Counted(settled.callee, caller.error)
            self.suspect(trace, caller, settled)
        name = (caller.origin.service, settled.callee, settled.kind, caller.origin.version, UNKNOWN_VERSION)
        counts = fold.at(self._window_of(caller), caller.origin.environment).edge(name)
        counts.tally.add(1, int(caller.error), caller.weight)
        counts.client.count(caller.duration_us)

    @staticmethod
    def suspect(trace: Trace, caller: Half, settled: Settled) -> None:
        """Nobody has answered a caller: where it failed, its trace may have touched any version of the service that it called."""
        if caller.error:
            trace.possible[caller.span] = settled.callee


def gap_of(kind: EdgeKind, caller: Half, callee: Half) -> int:
    """Microseconds between the sides: for a call the network and queues, for a message the wait until somebody took it."""
    if kind is EdgeKind.MESSAGE:
        return callee.end_us - callee.duration_us - caller.end_us
    return caller.duration_us - callee.duration_us
