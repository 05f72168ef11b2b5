"""Pairing by columns: what :class:`~ctrlplane_stream.telemetry.pairing.ReferencePairing` does, for traces of the usual shape at once.

A trace takes the *fast way* while all its halves become visible in one window and their shape is usual: every callee is a
root or has its caller there, no id comes twice, no span links, and an unanswered caller has nothing below it. Joins settle
all of them together. Any other trace, and a fast one to which something comes later, goes to the reference, which settles
it one half at a time. So there is one set of rules, and the columns only are a short cut where they give the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import polars as pl

from ctrlplane_stream.model.identity import UNKNOWN_VERSION, EdgeKind
from ctrlplane_stream.telemetry.columnar_exposures import CandidateTraces
from ctrlplane_stream.telemetry.columnar_folding import Grouping, errors_of, placed, windows_at
from ctrlplane_stream.telemetry.exposures import Watched
from ctrlplane_stream.telemetry.fast_pairing import FastPairing
from ctrlplane_stream.telemetry.folding import ArrivalCounts, Fold
from ctrlplane_stream.telemetry.half import CALLEES, LINK, LINKED, RECEIVE, Kind, Origin, Peer
from ctrlplane_stream.telemetry.half_columns import NAMES, SCHEMA, Tables, chosen, falses, frame_of, halves_of, moved, trace_key
from ctrlplane_stream.telemetry.known_peers import KnownPeers
from ctrlplane_stream.telemetry.linking import links_of, traces_of
from ctrlplane_stream.telemetry.native.pairing import ENDLESS
from ctrlplane_stream.telemetry.pairing import Fresh, Said
from ctrlplane_stream.telemetry.reasons import Skip
from ctrlplane_stream.telemetry.settings import SpanSettings
from ctrlplane_stream.telemetry.settlement import Settled, settle_finally, settle_now

_OF_CALLERS = ("trace", "span", "origin", "peer", "window", "duration", "end", "flags", "weight")


@dataclass(slots=True)
class _Kept:
    """Traces that were settled the fast way when ``window`` closed; ``open`` are their callers still to be settled.

    ``said`` is what was said of those that nobody answered, and ``again`` when those that were awaited were asked after once more.
    """

    window: int
    rows: pl.DataFrame
    open: pl.DataFrame
    traces: pl.Series
    first_offset: int
    said: Said
    again: Said | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def opens(self) -> int:
        """Callers that are still open."""
        return len(self.open)

    @property
    def asked_again(self) -> bool:
        """Whether those that were awaited were."""
        return self.again is not None


@dataclass(slots=True)
class _Fast:
    """Traces of a close that take the fast way: all rows; callees with their callers' side; callers that nobody answered; their keys."""

    rows: pl.DataFrame
    calls: pl.DataFrame
    unanswered: pl.DataFrame
    traces: pl.Series


class ColumnarPairing(FastPairing[_Kept]):
    """See the module."""

    def __init__(self, settings: SpanSettings, peers: KnownPeers, least_rows: int = 256, most_values: int = 65_536) -> None:
        super().__init__(settings, peers, least_rows, most_values)
        self._group = Grouping()
        self._rest = pl.DataFrame(schema=SCHEMA)

    @property
    def windows(self) -> list[int]:
        """Windows that hold halves and have not been closed, ascending."""
        self._rest = self._unsettled()
        return self._window(self._rest["end"]).unique().sort().to_list()

    def _waiting_rows(self) -> int:
        return len(self._rest)

    def _oldest_waiting(self) -> int | None:
        return cast("int | None", self._rest["offset"].min())

    def _window(self, ends: pl.Series) -> pl.Series:
        return ((ends // (self._settings.window_ms * 1000)) * self._settings.window_seconds).alias("window")

    def _unsettled(self) -> pl.DataFrame:
        """Everything received and not visible yet."""
        if not self._arrivals.rows:
            return self._rest
        fresh = frame_of(self._arrivals.taken(), self._tables)
        return pl.concat([self._rest, fresh]) if len(self._rest) else fresh

    def _settle_before(self, end_us: int, window: int, fold: Fold, watched: Watched) -> Fresh:
        unsettled = self._unsettled()
        seen = unsettled["end"] < end_us
        every = bool(seen.all())
        self._rest = unsettled.clear() if every else chosen(unsettled, ~seen)
        visible = unsettled if every else chosen(unsettled, seen)
        return self._settle_visible(visible, window, fold, watched) if len(visible) else []

    def _renumber(self, old: Tables) -> None:
        self._rest = moved(self._rest, old, self._tables)
        for kept in self._kept:
            kept.rows, kept.open = moved(kept.rows, old, self._tables), moved(kept.open, old, self._tables)

    def _settle_visible(self, visible: pl.DataFrame, window: int, fold: Fold, watched: Watched) -> Fresh:
        """Count what is proved; returns what went to the reference."""
        fast, slow = self._sorted_out(visible)
        slow = self._bounds.bounded(slow)
        self._slow.hold(len(slow))
        fresh = self._slow.join(halves_of(slow, self._tables), window, fold) if len(slow) else []
        if len(fast.rows):
            self._count_arrivals(fast.rows, window, fold)
            self._count_calls(fast.calls, window, fold)
            self._decide(fast, window, fold, watched)
        return fresh

    def _sorted_out(self, visible: pl.DataFrame) -> tuple[_Fast, pl.DataFrame]:
        """The traces that take the fast way, and the rows of all others."""
        traces = traces_of(visible)
        keys = traces.keys
        kind = (visible["flags"] & 7).alias("kind")
        rows = visible.hstack([keys[traces.number], kind, self._window(visible["end"])])
        met = self._met_before(keys)
        if len(rows) < self._least_rows:
            return _Fast(rows.clear(), rows.clear(), rows.clear(), keys.clear()), visible
        odd = self._unusual(rows, traces.number, keys.is_in(pl.concat(met).implode()) if met else falses(len(keys)))
        links = links_of(rows, traces.number, odd)
        usual = ~links.odd[traces.number]
        every = bool(usual.all())
        fast = rows if every else chosen(rows, usual)
        called = usual & (links.above != 0)
        up = links.above.filter(called) - 1
        above = pl.DataFrame([rows[name][up].alias(f"{name}_above") for name in ("origin", "peer", "window", "duration", "end")])
        calls = chosen(rows, called, ("origin", "kind", "window", "duration", "end", "flags", "weight")).hstack(above)
        unanswered = chosen(rows, usual & ~links.answered & ((kind == Kind.CLIENT) | (kind == Kind.PRODUCER)), _OF_CALLERS)
        return _Fast(fast, calls, unanswered, keys.filter(~links.odd)), visible.clear() if every else chosen(visible, ~usual)

    def _met_before(self, fresh: pl.Series) -> list[pl.Series]:
        """The traces, among those that became visible, of which something was before. Fast ones are handed to the reference."""
        slow = pl.Series([trace_key(trace) for trace in self._slow.traces], dtype=pl.UInt64)
        found = [slow] if len(slow) else []
        if not self._kept:
            return found
        for kept in self._kept:
            met = kept.traces.filter(kept.traces.is_in(fresh.implode()))
            if len(met):
                found.append(met)
                of_met = pl.col("trace").is_in(met.implode())
                self._slow.adopt(halves_of(kept.rows.filter(of_met).select(NAMES), self._tables), kept.window, kept.said, kept.again)
                kept.rows, kept.open = kept.rows.filter(~of_met), kept.open.filter(~of_met)
                kept.traces = kept.traces.filter(~kept.traces.is_in(met.implode()))
        return found

    def _unusual(self, rows: pl.DataFrame, trace: pl.Series, met: pl.Series) -> pl.Series:
        """By number of trace: whether it was met before, or has span links, callees that only fetched, or too many halves."""
        flags = rows["flags"]
        own = ((flags & (LINK | LINKED)) != 0) | ((flags & RECEIVE != 0) & rows["kind"].is_in(sorted(CALLEES)))
        odd = met.scatter(trace.filter(own).unique(), True) if own.any() else met
        if len(rows) > self._settings.max_trace_halves:
            sizes = trace.alias("trace").value_counts()
            odd = odd.scatter(sizes["trace"].filter(sizes["count"] > self._settings.max_trace_halves), True)
        return odd

    def _count_arrivals(self, rows: pl.DataFrame, window: int, fold: Fold) -> None:
        kind, fetched = rows["kind"], (rows["flags"] & RECEIVE) != 0
        arrived = (kind == Kind.SERVER) | (kind == Kind.CONSUMER)
        arrivals = chosen(rows, arrived, ("origin", "window", "flags", "weight", "duration", "parent"))
        self._add_skipped(Skip.LOCAL, (kind < Kind.SERVER) & ~fetched)
        self._add_skipped(Skip.RECEIVE, fetched)
        self._add_skipped(Skip.ROOT, arrivals["parent"] == 0)
        if not len(arrivals):
            return
        self._learn_consumers(rows, window)
        number, names = self._group.numbered(placed(arrivals, self._settings.window_seconds), ("origin", "place"))
        window_at = windows_at(arrivals, self._settings.window_seconds)
        into = [self._arrival(origin, window_at(place), fold) for origin, place in names]
        self._group.tally(number, errors_of(arrivals), arrivals["weight"], self._tables.weights.values, lambda i: into[i].tally)
        self._group.sketch(number, arrivals["duration"], lambda i: into[i].latency)
        for i, count in self._group.counted(number.filter(arrivals["parent"] == 0)):
            into[i].roots += count

    def _learn_consumers(self, rows: pl.DataFrame, window: int) -> None:
        consumers = chosen(rows, rows["kind"] == Kind.CONSUMER, ("origin", "peer"))
        if len(consumers):
            for origin, peer in self._group.numbered(consumers, ("origin", "peer"))[1]:
                self._peers.learn_consumer(self._tables.origins.values[origin], self._tables.peers.values[peer], window)

    def _add_skipped(self, reason: Skip, mask: pl.Series) -> None:
        count = int(mask.sum())
        if count:
            self.skipped[reason] += count

    def _arrival(self, number: int, window: int, fold: Fold) -> ArrivalCounts:
        origin = self._tables.origins.values[number]
        return fold.at(window, origin.environment).arrival(origin.service, origin.version)

    def _count_calls(self, calls: pl.DataFrame, window: int, fold: Fold) -> None:
        if not len(calls):
            return
        origins, peers = self._tables.origins.values, self._tables.peers.values
        _, pairs = self._group.numbered(calls, ("origin_above", "peer_above", "origin"))
        for caller, peer, callee in pairs:
            self._peers.learn_pair(origins[caller], peers[peer], origins[callee], window)
        own, other = calls["window"], calls["window_above"]
        latest, message = own.zip_with(own >= other, other), calls["kind"] == Kind.CONSUMER
        kept = (calls[name] for name in calls.columns if name != "window")
        calls = pl.DataFrame([*kept, latest, message.alias("message")])
        number, names = self._group.numbered(placed(calls, self._settings.window_seconds), ("origin_above", "origin", "message", "place"))
        into, window_at = [], windows_at(calls, self._settings.window_seconds)
        for caller, callee, message, place in names:
            above, below = origins[caller], origins[callee]
            kind = EdgeKind.MESSAGE if message else EdgeKind.CALL
            name = (above.service, below.service, kind, above.version, below.version)
            into.append(fold.at(window_at(place), below.environment).edge(name))
        self._group.tally(number, errors_of(calls), calls["weight"], self._tables.weights.values, lambda i: into[i].tally)
        self._group.sketch(number, calls["duration"], lambda i: into[i].server)
        self._group.sketch(number, calls["duration_above"], lambda i: into[i].client)
        gap = calls["duration_above"] - calls["duration"]
        waited = calls["end"] - calls["duration"] - calls["end_above"]
        self._group.sketch(number, gap.zip_with(~calls["message"], waited), lambda i: into[i].gap)

    def _decide(self, fast: _Fast, window: int, fold: Fold, watched: Watched) -> None:
        callers = fast.unanswered
        names: list[tuple[int, ...]] = []
        if len(callers):
            number, names = self._group.numbered(callers, ("origin", "peer"))
            callers = callers.hstack([number.alias("who")])
        spoken = self._spoken(names)
        settled = [settle_now(self._peers, origin, peer, window) for origin, peer in spoken]
        awaited_from_us = self._settings.awaited_from_us(window)
        waiting = self._settle(callers, [origin for origin, _ in spoken], settled, fold, awaited_from_us)
        if watched:
            CandidateTraces(fast.rows, callers, settled, self._tables.origins.values).count(watched, self._settings.window_seconds, fold)
        first = cast("int", fast.rows["offset"].min())
        said = dict(zip(spoken, settled, strict=True))
        self._kept.append(_Kept(window, fast.rows, waiting, fast.traces, first, said))

    def _spoken(self, names: Sequence[tuple[int, ...]]) -> list[tuple[Origin, Peer | None]]:
        """Callers and whom they spoke to, by number."""
        origins, peers = self._tables.origins.values, self._tables.peers.values
        return [(origins[origin], peers[peer]) for origin, peer in names]

    def _settle(
        self,
        callers: pl.DataFrame,
        origins: list[Origin],
        settled: Sequence[Settled | None],
        fold: Fold,
        ours_before_us: int = ENDLESS,
    ) -> pl.DataFrame:
        """Count the unanswered callers that are settled, by number ``who``; returns the others, and those of services of ours that did
        not end before ``ours_before_us``."""
        if not len(callers):
            return callers
        who = callers["who"]
        ours = pl.Series([one is not None and one.kind is EdgeKind.CALL for one in settled], dtype=pl.Boolean)[who]
        decided = pl.Series([one is not None for one in settled], dtype=pl.Boolean)[who] & ~(ours & (callers["end"] >= ours_before_us))
        known = chosen(callers, decided)
        if len(known):
            number, names = self._group.numbered(placed(known, self._settings.window_seconds), ("who", "place"))
            into, window_at = [], windows_at(known, self._settings.window_seconds)
            for who, place in names:
                origin, to = origins[who], settled[who]
                assert to is not None
                name = (origin.service, to.callee, to.kind, origin.version, UNKNOWN_VERSION)
                into.append(fold.at(window_at(place), origin.environment).edge(name))
            self._group.tally(number, errors_of(known), known["weight"], self._tables.weights.values, lambda i: into[i].tally)
            self._group.sketch(number, known["duration"], lambda i: into[i].client)
        return chosen(callers, ~decided)

    def _settle_awaited(self, kept: _Kept, window: int, fold: Fold) -> None:
        kept.again = {}
        awaited = kept.open["end"] >= self._settings.awaited_from_us(kept.window)
        if awaited.any():
            callers = chosen(kept.open, awaited)
            number, names = self._group.numbered(callers, ("origin", "peer"))
            spoken = self._spoken(names)
            found = [settle_now(self._peers, origin, peer, window) for origin, peer in spoken]
            kept.again = dict(zip(spoken, found, strict=True))
            left = self._settle(callers.with_columns(who=number), [origin for origin, _ in spoken], found, fold)
            kept.open = pl.concat([chosen(kept.open, ~awaited), left])

    def _settle_last(self, kept: _Kept, window: int, fold: Fold) -> None:
        callers = kept.open
        if not len(callers):
            return
        number, names = self._group.numbered(callers, ("origin", "peer"))
        spoken = self._spoken(names)
        found = [settle_finally(self._peers, origin, peer, window, self._settings.window_seconds) for origin, peer in spoken]
        self._settle(callers.with_columns(who=number), [origin for origin, _ in spoken], [_unless_skip(one) for one in found], fold)
        for who, count in self._group.counted(number):
            reason = found[who]
            if isinstance(reason, Skip):
                self.skipped[reason] += count

    def _drop_waiting(self, many: int) -> None:
        rows = self._unsettled()
        self._rest = rows.slice(many)
        self._bounds.give_up_rows(rows.head(many), Skip.EVICTED)


def _unless_skip(found: Settled | Skip) -> Settled | None:
    return None if isinstance(found, Skip) else found
