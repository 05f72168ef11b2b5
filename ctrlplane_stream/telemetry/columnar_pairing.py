"""Pairing by columns: what :class:`~ctrlplane_stream.telemetry.pairing.ReferencePairing` does, for traces of the usual shape at once.

A trace takes the *fast way* while all its halves become visible in one window and their shape is usual: every callee is a
root or has its caller there, no id comes twice, no span links, and an unanswered caller has nothing below it. Joins settle
all of them together. Any other trace, and a fast one to which something comes later, goes to the reference, which settles
it one half at a time. So there is one set of rules, and the columns only are a short cut where they give the same.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import polars as pl

from ctrlplane_stream.model.identity import UNKNOWN_VERSION, EdgeKind
from ctrlplane_stream.model.windows import Exposure
from ctrlplane_stream.telemetry.batches import Batch
from ctrlplane_stream.telemetry.columnar_folding import buckets, numbered, sketch, tally
from ctrlplane_stream.telemetry.exposures import Watched
from ctrlplane_stream.telemetry.folding import ArrivalCounts, Fold
from ctrlplane_stream.telemetry.half import ERROR, LINK, LINKED, RECEIVE, Kind, Origin
from ctrlplane_stream.telemetry.half_columns import NAMES, SCHEMA, Tables, frame_of, halves_of, span_keys, trace_key, trace_keys
from ctrlplane_stream.telemetry.known_peers import KnownPeers
from ctrlplane_stream.telemetry.pairing import ReferencePairing, Settled, count_redelivered, most_in_traces, settle_finally, settle_now
from ctrlplane_stream.telemetry.reasons import Skip
from ctrlplane_stream.telemetry.settings import SpanSettings

_CALLEE = (pl.col("kind") == Kind.SERVER) | (pl.col("kind") == Kind.CONSUMER)
_CALLER = (pl.col("kind") == Kind.CLIENT) | (pl.col("kind") == Kind.PRODUCER)


@dataclass(slots=True)
class _Kept:
    """Traces that were settled the fast way when ``window`` closed; ``open`` are their callers still to be settled."""

    window: int
    rows: pl.DataFrame
    open: pl.DataFrame
    traces: pl.Series
    first_offset: int


@dataclass(slots=True)
class _Fast:
    """Traces of a close that take the fast way: all rows; callees with their callers' side; callers that nobody answered."""

    rows: pl.DataFrame
    calls: pl.DataFrame
    unanswered: pl.DataFrame


class ColumnarPairing:
    """See the module."""

    def __init__(self, settings: SpanSettings, peers: KnownPeers, least_rows: int = 256) -> None:
        """Where fewer than ``least_rows`` become visible, the reference takes them all: it is faster with few."""
        self._settings = settings
        self._least_rows = least_rows
        self._peers = peers
        self._slow = ReferencePairing(settings, peers)
        self._tables = Tables()
        self._pending: list[tuple[int, int, Batch]] = []
        self._pending_rows = 0
        self._rest = pl.DataFrame(schema=SCHEMA)
        self._kept: list[_Kept] = []

    @property
    def skipped(self) -> Counter[Skip]:
        """Spans without an edge of their own, by reason."""
        return self._slow.skipped

    @property
    def held(self) -> int:
        """Halves in memory."""
        return self._pending_rows + len(self._rest) + sum(len(kept.rows) for kept in self._kept) + self._slow.held

    @property
    def windows(self) -> list[int]:
        """Windows that hold halves and have not been closed, ascending."""
        self._rest = self._unsettled()
        return self._rest.select(self._window().unique().sort()).to_series().to_list()

    def oldest_offset(self) -> int | None:
        """The oldest record that a half in memory came from, or None where nothing is held."""
        found = [self._slow.oldest_offset(), *(kept.first_offset for kept in self._kept), *(offset for offset, _, _ in self._pending[:1])]
        found.append(cast("int | None", self._rest["offset"].min()))
        return min((offset for offset in found if offset is not None), default=None)

    def add(self, batch: Batch, offset: int, after: int, line: int | None) -> None:
        """Take in the rows of a batch above source offset ``after``; they are looked at when a window closes."""
        first = sum(rows for at, rows in batch.runs if at <= after)
        if first:
            count_redelivered(self.skipped, batch, first)
        if first < batch.rows:
            self._pending.append((offset, first, batch))
            self._pending_rows += batch.rows - first
            self._evict()

    def _window(self) -> pl.Expr:
        length = self._settings.window_ms * 1000
        return (pl.col("end") // length) * self._settings.window_seconds

    def _unsettled(self) -> pl.DataFrame:
        """Everything received and not visible yet."""
        if not self._pending:
            return self._rest
        fresh = frame_of(self._pending, self._tables)
        self._pending, self._pending_rows = [], 0
        return pl.concat([self._rest, fresh]) if len(self._rest) else fresh

    def close(self, window: int, fold: Fold, watched: Watched) -> None:
        """Settle what becomes visible with this window, and what came late, into ``fold``; then forget silent traces."""
        unsettled = self._unsettled()
        seen = unsettled["end"] < (window * 1000 + self._settings.window_ms) * 1000
        self._rest = unsettled.filter(~seen) if not seen.all() else unsettled.clear()
        visible = unsettled.filter(seen) if not seen.all() else unsettled
        fast, slow = self._sorted_out(visible)
        slow = self._bounded(slow)
        self._slow.hold(len(slow))
        fresh = self._slow.join(halves_of(slow, self._tables), window, fold) if len(slow) else []
        if len(fast.rows):
            self._count_arrivals(fast.rows, fold)
            self._count_calls(fast.calls, window, fold)
            self._decide(fast, window, fold, watched)
        self._slow.decide(fresh, window, fold, watched)
        self._forget(window, fold)
        self._slow.forget(window, fold, watched)

    def _sorted_out(self, visible: pl.DataFrame) -> tuple[_Fast, pl.DataFrame]:
        """The traces that take the fast way, and the rows of all others."""
        rows = visible.with_columns(trace=trace_keys(), kind=pl.col("flags") & 7, window=self._window())
        rows = rows.with_columns(key=span_keys("span"), above=span_keys("parent"))
        met = self._met_before(rows["trace"])
        rows, odd = _without(rows, [rows["trace"]] if len(rows) < self._least_rows else [*met, *self._unusual(rows)])
        callees = rows.filter(_CALLEE & (pl.col("parent") != 0))
        callers = rows.filter(_CALLER).with_row_index("caller")
        calls = callees.join(callers.select(pl.all().name.suffix("_above")), left_on="above", right_on="key_above", how="left")
        paired = (
            (pl.col("high") == pl.col("high_above")) & (pl.col("low") == pl.col("low_above")) & (pl.col("parent") == pl.col("span_above"))
        )
        found = calls.select(paired.fill_null(False)).to_series()
        answered = pl.repeat(False, len(callers), eager=True).scatter(calls["caller_above"].filter(found).unique(), True)
        unanswered = callers.filter(~answered)
        below = rows.filter(~_CALLEE & (pl.col("parent") != 0) & pl.col("above").is_in(unanswered["key"].implode()))
        orphaned = calls["trace"].filter(~found)
        if len(below) or len(orphaned):
            unusual = pl.concat([below["trace"], orphaned]).unique()
            usual = ~pl.col("trace").is_in(unusual.implode())
            odd = pl.concat([odd, rows.filter(~usual).select(NAMES)])
            rows, calls, unanswered = rows.filter(usual), calls.filter(usual), unanswered.filter(usual)
        return _Fast(rows, calls, unanswered), odd

    def _met_before(self, traces: pl.Series) -> list[pl.Series]:
        """The traces of which something was visible before. The fast ones among them are handed to the reference."""
        slow = pl.Series([trace_key(trace) for trace in self._slow.traces], dtype=pl.UInt64)
        found = [slow] if len(slow) else []
        if not self._kept:
            return found
        fresh = traces.unique()
        for kept in self._kept:
            met = kept.traces.filter(kept.traces.is_in(fresh.implode()))
            if len(met):
                found.append(met)
                of_met = pl.col("trace").is_in(met.implode())
                self._slow.adopt(halves_of(kept.rows.filter(of_met).select(NAMES), self._tables), kept.window)
                kept.rows, kept.open = kept.rows.filter(~of_met), kept.open.filter(~of_met)
                kept.traces = kept.traces.filter(~kept.traces.is_in(met.implode()))
        return found

    def _unusual(self, rows: pl.DataFrame) -> list[pl.Series]:
        """Traces with span links, consumers that only fetched, repeated ids, several roots, or more halves than a trace may have."""
        flags = rows["flags"]
        found = [rows["trace"].filter(((flags & (LINK | LINKED)) != 0) | ((flags & RECEIVE != 0) & (rows["kind"] == Kind.CONSUMER)))]
        if rows["key"].n_unique() < len(rows):
            found.append(rows["trace"].filter(rows["key"].is_duplicated()))
        roots = rows["trace"].filter(rows["parent"] == 0)
        if roots.n_unique() < len(roots):
            found.append(roots.filter(roots.is_duplicated()))
        if len(rows) > self._settings.max_trace_halves:
            sizes = rows["trace"].alias("trace").value_counts()
            found.append(sizes["trace"].filter(sizes["count"] > self._settings.max_trace_halves))
        return found

    def _bounded(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Those of the rows bound for the reference that it may hold: no runaway trace beyond its own bound, then the newest."""
        if len(rows) > self._settings.max_trace_halves:
            rows = self._without_runaways(rows)
        surplus = self._slow.held + len(rows) - most_in_traces(self._settings)
        if surplus > 0:
            surplus -= self._slow.evict(surplus)
        if surplus <= 0:
            return rows
        rows = rows.sort("end", "offset")
        self._give_up(rows.head(surplus), Skip.EVICTED)
        return rows.slice(surplus)

    def _without_runaways(self, rows: pl.DataFrame) -> pl.DataFrame:
        """What a trace has beyond its bound, counted before it is made objects of: a million spans must not take the worker down."""
        most = self._settings.max_trace_halves
        rows = rows.with_columns(trace=trace_keys()).sort("end", "span", "offset")
        callee = (pl.col("flags") & 7).is_in([int(Kind.SERVER), int(Kind.CONSUMER)])
        side = pl.struct("trace", "span", callee.alias("side"), pl.when((pl.col("flags") & LINK) != 0).then("parent").alias("link"))
        rows = rows.with_columns(first=side.is_first_distinct().cast(pl.Int64))
        rows = rows.with_columns(over=(pl.col("first").cum_sum() - pl.col("first")).over("trace") >= most)
        self._give_up(rows.filter("over"), Skip.TRACE_TOO_LARGE)
        return rows.filter(~pl.col("over")).select(NAMES)

    def _give_up(self, rows: pl.DataFrame, reason: Skip) -> None:
        """Count the spans among rows under a reason; copies that stand for links are counted as such."""
        self._count(reason, rows.filter((pl.col("flags") & LINK) == 0))
        self._count(Skip.UNLINKED, rows.filter((pl.col("flags") & LINK) != 0))

    def _count_arrivals(self, rows: pl.DataFrame, fold: Fold) -> None:
        self._count(Skip.LOCAL, rows.filter((pl.col("kind") < Kind.SERVER) & ((pl.col("flags") & RECEIVE) == 0)))
        self._count(Skip.RECEIVE, rows.filter((pl.col("flags") & RECEIVE) != 0))
        arrivals = rows.filter(_CALLEE)
        self._count(Skip.ROOT, arrivals.filter(pl.col("parent") == 0))
        if not len(arrivals):
            return
        number, names = numbered(self._placed(arrivals), ("origin", "place"))
        into = [self._arrival(origin, self._window_at(arrivals, place), fold) for origin, place in names]
        tally(number, _errors(arrivals), arrivals["weight"], self._tables.weights.values, lambda i: into[i].tally)
        sketch(number, buckets(arrivals["duration"]), lambda i: into[i].latency)
        for i, count in number.filter(arrivals["parent"] == 0).alias("name").value_counts().rows():
            into[i].roots += count

    def _count(self, reason: Skip, rows: pl.DataFrame) -> None:
        if len(rows):
            self.skipped[reason] += len(rows)

    def _placed(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows with their windows as small numbers, ``place``."""
        least = cast("int", rows["window"].min())
        return rows.with_columns(place=(pl.col("window") - least) // self._settings.window_seconds)

    def _window_at(self, rows: pl.DataFrame, place: int) -> int:
        return cast("int", rows["window"].min()) + place * self._settings.window_seconds

    def _arrival(self, number: int, window: int, fold: Fold) -> ArrivalCounts:
        origin = self._tables.origins.values[number]
        return fold.at(window, origin.environment).arrival(origin.service, origin.version)

    def _count_calls(self, calls: pl.DataFrame, window: int, fold: Fold) -> None:
        if not len(calls):
            return
        origins, peers = self._tables.origins.values, self._tables.peers.values
        _, pairs = numbered(calls, ("origin_above", "peer_above", "origin"))
        for caller, peer, callee in pairs:
            self._peers.learn_pair(origins[caller], peers[peer], origins[callee], window)
        calls = calls.with_columns(window=pl.max_horizontal("window", "window_above"), message=pl.col("kind") == Kind.CONSUMER)
        number, names = numbered(self._placed(calls), ("origin_above", "origin", "message", "place"))
        into = []
        for caller, callee, message, place in names:
            above, below = origins[caller], origins[callee]
            kind = EdgeKind.MESSAGE if message else EdgeKind.CALL
            name = (above.service, below.service, kind, above.version, below.version)
            into.append(fold.at(self._window_at(calls, place), below.environment).edge(name))
        tally(number, _errors(calls), calls["weight"], self._tables.weights.values, lambda i: into[i].tally)
        sketch(number, buckets(calls["duration"]), lambda i: into[i].server)
        sketch(number, buckets(calls["duration_above"]), lambda i: into[i].client)
        gap = calls["duration_above"] - calls["duration"]
        waited = calls["end"] - calls["duration"] - calls["end_above"]
        sketch(number, buckets(gap.zip_with(~calls["message"], waited)), lambda i: into[i].gap)

    def _decide(self, fast: _Fast, window: int, fold: Fold, watched: Watched) -> None:
        callers = fast.unanswered
        names: list[tuple[int, ...]] = []
        if len(callers):
            number, names = numbered(callers, ("origin", "peer"))
            callers = callers.with_columns(who=number)
        origins, peers = self._tables.origins.values, self._tables.peers.values
        settled = [settle_now(self._peers, origins[origin], peers[peer], window) for origin, peer in names]
        waiting = self._settle(callers, [origins[origin] for origin, _ in names], settled, fold)
        if watched:
            self._count_exposures(fast, callers, settled, watched, fold)
        first = cast("int", fast.rows["offset"].min())
        self._kept.append(_Kept(window, fast.rows, waiting, fast.rows["trace"].unique(), first))

    def _settle(self, callers: pl.DataFrame, origins: list[Origin], settled: Sequence[Settled | None], fold: Fold) -> pl.DataFrame:
        """Count the unanswered callers that are settled, by number ``who``; returns the others."""
        if not len(callers):
            return callers
        decided = pl.Series([one is not None for one in settled], dtype=pl.Boolean)[callers["who"]]
        known = callers.filter(decided)
        if len(known):
            number, names = numbered(self._placed(known), ("who", "place"))
            into = []
            for who, place in names:
                origin, to = origins[who], settled[who]
                assert to is not None
                name = (origin.service, to.callee, to.kind, origin.version, UNKNOWN_VERSION)
                into.append(fold.at(self._window_at(known, place), origin.environment).edge(name))
            tally(number, _errors(known), known["weight"], self._tables.weights.values, lambda i: into[i].tally)
            sketch(number, buckets(known["duration"]), lambda i: into[i].client)
        return callers.filter(~decided)

    def _count_exposures(self, fast: _Fast, callers: pl.DataFrame, settled: Sequence[Settled | None], watched: Watched, fold: Fold) -> None:
        """Exposure of the traces whose root is there, candidate by candidate."""
        origins = self._tables.origins.values
        roots = fast.rows.filter(pl.col("parent") == 0)
        for environment, services in watched.items():
            ours = [number for number, origin in enumerate(origins) if origin.environment == environment]
            entries = roots.filter(pl.col("origin").is_in(ours))
            for service, versions in services.items() if len(entries) else ():
                failed = self._failed_calls(callers, settled, service)
                for version in versions:
                    here = [number for number, origin in enumerate(origins) if origin == Origin(environment, service, version)]
                    touched = fast.rows["trace"].filter(fast.rows["origin"].is_in(here))
                    exposed = pl.col("trace").is_in(touched.unique().implode())
                    possible = pl.col("trace").is_in(failed.implode())
                    code = pl.when(exposed).then(0).when(possible).then(1).otherwise(2)
                    self._add_exposures(entries.with_columns(exposure=code.cast(pl.UInt8)), service, version, fold)

    def _failed_calls(self, callers: pl.DataFrame, settled: Sequence[Settled | None], service: str) -> pl.Series:
        """Traces in which a call to a service failed without an answer."""
        ours = [who for who, one in enumerate(settled) if one == Settled(service, EdgeKind.CALL)]
        if not ours:
            return pl.Series([], dtype=pl.UInt64)
        return callers.filter(pl.col("who").is_in(ours) & ((pl.col("flags") & ERROR) != 0))["trace"].unique()

    def _add_exposures(self, entries: pl.DataFrame, service: str, version: str, fold: Fold) -> None:
        number, names = numbered(self._placed(entries), ("origin", "exposure", "place"))
        into = []
        for origin, exposure, place in names:
            entry = self._tables.origins.values[origin]
            at = fold.at(self._window_at(entries, place), entry.environment)
            into.append(at.exposure(entry.service, service, version, _EXPOSURES[exposure]))
        for i, count in number.alias("name").value_counts().rows():
            into[i].requests += count
        for i, count in number.filter(_errors(entries) != 0).alias("name").value_counts().rows():
            into[i].errors += count
        sketch(number, buckets(entries["duration"]), lambda i: into[i].latency)

    def _forget(self, window: int, fold: Fold) -> None:
        """Settle what is open in the fast traces that have been silent for the pairing time, and drop them."""
        line_ms = window * 1000 + self._settings.window_ms
        while self._kept and self._kept[0].window * 1000 + self._settings.window_ms + self._settings.pairing_ms <= line_ms:
            callers = self._kept.pop(0).open
            if not len(callers):
                continue
            number, names = numbered(callers, ("origin", "peer"))
            origins, peers = self._tables.origins.values, self._tables.peers.values
            found = [settle_finally(self._peers, origins[o], peers[p], window, self._settings.window_seconds) for o, p in names]
            self._settle(callers.with_columns(who=number), [origins[o] for o, _ in names], [_unless_skip(one) for one in found], fold)
            for who, count in number.alias("name").value_counts().rows():
                reason = found[who]
                if isinstance(reason, Skip):
                    self.skipped[reason] += count

    def _evict(self) -> None:
        """Give up the oldest halves beyond the cap: settled traces first, then what arrived first."""
        surplus = self.held - self._settings.max_halves
        while surplus > 0 and self._kept:
            oldest = self._kept.pop(0)
            self.skipped[Skip.EVICTED] += len(oldest.open)
            surplus -= len(oldest.rows)
        if surplus > 0:
            surplus -= self._slow.evict(surplus)
        if surplus > 0:
            rows = self._unsettled()
            self._rest = rows.slice(surplus)
            self._give_up(rows.head(surplus), Skip.EVICTED)


_EXPOSURES = (Exposure.EXPOSED, Exposure.POSSIBLE, Exposure.UNEXPOSED)


def _unless_skip(found: Settled | Skip) -> Settled | None:
    return None if isinstance(found, Skip) else found


def _errors(rows: pl.DataFrame) -> pl.Series:
    """1 where a row failed, else 0."""
    return (rows["flags"] & ERROR) // ERROR


def _without(rows: pl.DataFrame, traces: Sequence[pl.Series]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows of other traces, and the rows of these, as they came."""
    named = pl.concat([series.cast(pl.UInt64) for series in traces]) if traces else pl.Series([], dtype=pl.UInt64)
    if not len(named):
        return rows, rows.clear().select(NAMES)
    among = pl.col("trace").is_in(named.unique().implode())
    return rows.filter(~among), rows.filter(among).select(NAMES)
