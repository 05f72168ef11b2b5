"""Pairing in C: what :class:`~ctrlplane_stream.telemetry.columnar_pairing.ColumnarPairing` does, by the same rules, without columns.

Halves wait in the order they came. When a window closes, C settles the traces of usual shape and counts; here is decided what the
counts mean: whose edges they are, who stands behind a peer, what is forgotten. All other traces go to the reference.
"""

from array import array
from collections.abc import Sequence
from ctypes import CDLL
from dataclasses import dataclass

from ctrlplane_stream.model.identity import UNKNOWN_VERSION, EdgeKind
from ctrlplane_stream.telemetry.acquaintances import Acquaintances
from ctrlplane_stream.telemetry.bounding import frame_of_memory
from ctrlplane_stream.telemetry.exposures import NUMBERED, Watched
from ctrlplane_stream.telemetry.fast_pairing import FastPairing
from ctrlplane_stream.telemetry.folding import EdgeSums, Fold
from ctrlplane_stream.telemetry.half import LINK, Origin, Peer
from ctrlplane_stream.telemetry.half_columns import Tables, halves_in, halves_of, trace_key
from ctrlplane_stream.telemetry.known_peers import KnownPeers
from ctrlplane_stream.telemetry.native import NOBODY, Counted, Halves, PairingLibrary, Settled
from ctrlplane_stream.telemetry.native.pairing import ENDLESS, Tallied, column_of, counted, memory_of, pairs_of, prepared
from ctrlplane_stream.telemetry.native.structures import HALF, Closing, Counts, Pool
from ctrlplane_stream.telemetry.native_rows import RowsInC
from ctrlplane_stream.telemetry.pairing import Fresh
from ctrlplane_stream.telemetry.reasons import Skip
from ctrlplane_stream.telemetry.settings import SpanSettings
from ctrlplane_stream.telemetry.settlement import Settled as SettledCaller
from ctrlplane_stream.telemetry.settlement import settle_finally, settle_now


@dataclass(slots=True)
class _Kept:
    """Traces that were settled here when ``window`` closed; ``spoken`` is whom their callers spoke to that nobody answered (origin, peer),
    by number, ``said`` what was said of each, and ``again`` when those that were awaited were asked after once more."""

    window: int
    traces: Settled
    spoken: list[tuple[int, int]]
    first_offset: int
    said: Sequence[SettledCaller | None] = ()
    again: Sequence[SettledCaller | None] | None = None

    def __len__(self) -> int:
        return len(self.traces)

    @property
    def opens(self) -> int:
        """Callers that are still open."""
        return self.traces.opens

    @property
    def asked_again(self) -> bool:
        """Whether those that were awaited were."""
        return self.again is not None


class _Edges:
    """Edges of open callers that are settled, to services of ours (by calls that nobody answered) or to others: no others have their names.

    ``found`` numbers them; ``of_who`` gives by number of whom was spoken to 1 + the number of its edge, 0 for none.
    """

    def __init__(self, kept: _Kept, settled: Sequence[SettledCaller | None], of_ours: bool) -> None:
        self.found: dict[tuple[int, SettledCaller], int] = {}
        self.of_who = array("I", bytes(4 * len(settled)))
        for who, ((origin, _), to) in enumerate(zip(kept.spoken, settled, strict=True)):
            if to is not None and (to.kind is EdgeKind.CALL) is of_ours:
                self.of_who[who] = self.found.setdefault((origin, to), len(self.found)) + 1


class NativePairing(FastPairing[_Kept]):
    """See the module."""

    def __init__(self, found: CDLL, settings: SpanSettings, peers: KnownPeers, least_rows: int = 64, most_values: int = 65_536) -> None:
        """As :class:`FastPairing`, with the functions of ``found``."""
        super().__init__(settings, peers, least_rows, most_values)
        self._library = PairingLibrary(found, settings.window_ms * 1000)
        self._number_anew()
        self._waiting = self._library.halves()

    def _number_anew(self) -> None:
        """Forget what stands by number of origin or peer."""
        self._rows = RowsInC(self._library.rows, self._tables.origins.values)
        self._acquaintances = Acquaintances(self._library, self._peers, self._tables)

    @property
    def windows(self) -> list[int]:
        """Windows that hold halves and have not been closed, ascending."""
        return [self._window(place) for place in self._library.windows(self._unsettled())]

    def _waiting_rows(self) -> int:
        return len(self._waiting)

    def _oldest_waiting(self) -> int | None:
        return HALF.unpack(memory_of(self._waiting.pool, 1))[5] if len(self._waiting) else None

    def _unsettled(self) -> Halves:
        """Everything received and not visible yet, in memory of C's: taken in at once, so that it is not moved as it grows."""
        if self._arrivals.rows:
            self._waiting.make_room(self._arrivals.rows)
            for offset, first, batch in self._arrivals.taken():
                columns = batch.columns
                self._waiting.append(columns.value, columns.start, columns.rows, first, offset, self._tables.numbers_of(batch.tables))
        return self._waiting

    def _settle_before(self, end_us: int, window: int, fold: Fold, watched: Watched) -> Fresh:
        if not len(self._unsettled()):
            return []
        with self._library.closing(self._waiting, end_us) as closing:
            return self._settle_visible(closing, window, fold, watched) if closing.seen.count else []

    def _settle_visible(self, closing: Closing, window: int, fold: Fold, watched: Watched) -> Fresh:
        """Count what is proved; returns what went to the reference."""
        self._meet(closing)
        if closing.seen.count < self._least_rows:
            return self._join(closing.seen, window, fold)
        settled = self._library.settle(closing, self._settings.max_trace_halves, len(self._tables.origins.values))
        fresh = self._join(closing.odd, window, fold)
        if len(settled):
            for reason, count in ((Skip.LOCAL, closing.local), (Skip.RECEIVE, closing.received), (Skip.ROOT, closing.roots)):
                if count:
                    self.skipped[reason] += count
            self._count_arrivals(closing.arrivals, fold)
            self._acquaintances.meet(closing.pairs, window)
            kept = _Kept(window, settled, pairs_of(closing.spoken), closing.least_offset)
            self._decide(kept, closing.calls, window, fold, watched)
        return fresh

    def _meet(self, closing: Closing) -> None:
        """Hand traces of which something was before, and something comes now, to the reference."""
        held = array("Q", [trace_key(trace) for trace in self._slow.traces])
        if held:
            self._library.mark_held(closing, held)
        for kept in self._kept:
            met = self._library.halves()
            self._library.take_met(closing, kept.traces, met)
            if len(met):
                callers = self._callers(kept)
                said = dict(zip(callers, kept.said, strict=True))
                again = None if kept.again is None else dict(zip(callers, kept.again, strict=True))
                self._slow.adopt(halves_in(memory_of(met.pool), self._tables), kept.window, said, again)

    def _join(self, pool: Pool, window: int, fold: Fold) -> Fresh:
        """Give halves to the reference, as many as it may hold."""
        if not pool.count:
            return []
        memory = memory_of(pool)
        if self._bounds.fit(pool.count):
            visible = halves_in(memory, self._tables)
        else:
            visible = halves_of(self._bounds.bounded(frame_of_memory(memory)), self._tables)
        self._slow.hold(len(visible))
        return self._slow.join(visible, window, fold) if visible else []

    def _window(self, place: int) -> int:
        """The window that C calls ``place``."""
        return place * self._settings.window_seconds

    def _count_arrivals(self, counts: Counts, fold: Fold) -> None:
        found = self._rows.arrivals(counts, self._tables.weights.values)
        if found is not None:
            for place, environment, rows in found:
                fold.at(self._window(place), environment).put_arrivals(rows)
            return
        for row in counted(counts):
            origin = self._tables.origins.values[row.a]
            into = fold.at(self._window(row.b), origin.environment).arrival(origin.service, origin.version)
            for weight, calls, errors in self._weighed(row.tallies):
                into.tally.add(calls, errors, weight)
            into.roots += row.roots
            into.latency.put(row.sketches[0])

    def _weighed(self, tallies: Tallied) -> tuple[tuple[float, int, int], ...]:
        weights = self._tables.weights.values
        if len(tallies) == 1:
            ((weight, calls, errors),) = tallies
            return ((weights[weight], calls, errors),)
        return tuple([(weights[weight], calls, errors) for weight, calls, errors in tallies])

    def _count_edges(self, calls: Counts, opened: Counts, edges: Sequence[tuple[int, SettledCaller]], fold: Fold) -> None:
        """Count calls, and callers that nobody answered, by edge: the caller's origin and what is said of it."""
        found = self._rows.edges(calls, opened, self._rows.open_edges(edges), self._tables.weights.values)
        if found is None:
            self._count_calls(counted(calls), fold)
            self._count_open(counted(opened), edges, fold)
            return
        for place, environment, rows in found:
            fold.at(self._window(place), environment).put_rows(rows)

    def _count_calls(self, rows: Sequence[Counted], fold: Fold) -> None:
        origins = self._tables.origins.values
        for row in rows:
            above, below = origins[row.a >> 32], origins[row.a & NOBODY]
            kind = EdgeKind.MESSAGE if row.b & 1 else EdgeKind.CALL
            name = (above.service, below.service, kind, above.version, below.version)
            fold.at(self._window(row.b >> 1), below.environment).put_edge(name, EdgeSums(self._weighed(row.tallies), *row.sketches))

    def _count_open(self, rows: Sequence[Counted], edges: Sequence[tuple[int, SettledCaller]], fold: Fold) -> None:
        for row in rows:
            number, to = edges[row.a]
            origin = self._tables.origins.values[number]
            name = (origin.service, to.callee, to.kind, origin.version, UNKNOWN_VERSION)
            fold.at(self._window(row.b), origin.environment).put_edge(name, EdgeSums(self._weighed(row.tallies), row.sketches[0]))

    def _callers(self, kept: _Kept) -> list[tuple[Origin, Peer | None]]:
        origins, peers = self._tables.origins.values, self._tables.peers.values
        return [(origins[origin], peers[peer]) for origin, peer in kept.spoken]

    def _decide(self, kept: _Kept, calls: Counts, window: int, fold: Fold, watched: Watched) -> None:
        """Count the calls; settle the callers that nobody answered, where that can be done now, and the exposure of the traces that
        entered."""
        kept.said = [settle_now(self._peers, origin, peer, window) for origin, peer in self._callers(kept)]
        if watched:
            self._count_exposures(kept, kept.said, watched, fold)
        self._settle(kept, kept.said, calls, fold, ours_before_us=self._settings.awaited_from_us(window))
        self._kept.append(kept)

    def _settle(
        self,
        kept: _Kept,
        settled: Sequence[SettledCaller | None],
        calls: Counts,
        fold: Fold,
        from_us: int = -ENDLESS,
        ours_before_us: int = ENDLESS,
    ) -> None:
        """Count the open callers that are settled, by whom they spoke to, and the calls; the others stay open, and all that ended before
        ``from_us``, and those of services of ours that did not before ``ours_before_us``."""
        ours, others = _Edges(kept, settled, of_ours=True), _Edges(kept, settled, of_ours=False)
        if ours.found:
            with self._library.counted_open(kept.traces, ours.of_who, from_us, ours_before_us) as opened:
                self._count_open(counted(opened), list(ours.found), fold)
        with self._library.counted_open(kept.traces, others.of_who, from_us, ENDLESS) as opened:
            self._count_edges(calls, opened, list(others.found), fold)

    def _count_exposures(self, kept: _Kept, settled: Sequence[SettledCaller | None], watched: Watched, fold: Fold) -> None:
        """Exposure of the traces whose root is there, candidate by candidate."""
        origins = self._tables.origins
        environments = {environment: number for number, environment in enumerate(watched)}
        services: dict[str, int] = {}
        names = [(e, s, version) for e, candidates in watched.items() for s, versions in candidates.items() for version in versions]
        candidates = [
            (origins.by_value.get(Origin(e, s, version), NOBODY), environments[e], services.setdefault(s, len(services)))
            for e, s, version in names
        ]
        of_origin = array("I", [environments.get(origin.environment, NOBODY) for origin in origins.values])
        service_of = array("I", [services.get(origin.service, NOBODY) for origin in origins.values])
        called = array("I", [_called(one, services) for one in settled])
        for row in self._library.count_exposures(kept.traces, candidates, of_origin, service_of, called):
            (_, service, version), entry = names[row.a >> 32], origins.values[row.a & NOBODY]
            fold_at = fold.at(self._window(row.b >> 2), entry.environment)
            counts = fold_at.exposure(entry.service, service, version, *NUMBERED[row.b & 3])
            counts.requests += sum(calls for _, calls, _ in row.tallies)
            counts.errors += sum(errors for _, _, errors in row.tallies)
            counts.latency.put(row.sketches[0])

    def _settle_awaited(self, kept: _Kept, window: int, fold: Fold) -> None:
        open_by = self._library.spoken(kept.traces, len(kept.spoken))
        kept.again = [
            settle_now(self._peers, origin, peer, window) if count else None
            for (origin, peer), count in zip(self._callers(kept), open_by, strict=True)
        ]
        if any(kept.again):
            self._settle(kept, kept.again, prepared(3), fold, from_us=self._settings.awaited_from_us(kept.window))

    def _settle_last(self, kept: _Kept, window: int, fold: Fold) -> None:
        open_by = self._library.spoken(kept.traces, len(kept.spoken))
        found: list[SettledCaller | None] = []
        for (origin, peer), count in zip(self._callers(kept), open_by, strict=True):
            one = settle_finally(self._peers, origin, peer, window, self._settings.window_seconds) if count else None
            if isinstance(one, Skip):
                self.skipped[one] += count
            found.append(None if isinstance(one, Skip) else one)
        if any(found):
            self._settle(kept, found, prepared(3), fold)

    def _drop_waiting(self, many: int) -> None:
        flags = memoryview(column_of(memory_of(self._unsettled().pool, many), "flags")).cast("I")
        self._bounds.give_up(sum(1 for each in flags if each & LINK), many, Skip.EVICTED)
        self._waiting.drop(many)

    def _renumber(self, old: Tables) -> None:
        self._number_anew()
        tables = ((old.origins, self._tables.origins), (old.peers, self._tables.peers), (old.weights, self._tables.weights))
        used = [bytearray(len(before.values)) for before, _ in tables]
        pools: list[Halves | Settled] = [self._unsettled(), *(kept.traces for kept in self._kept)]
        for pool in pools:
            self._library.mark_numbers(pool, used)
        numbers = [
            array("I", [after.number(value) if there else 0 for value, there in zip(before.values, marks, strict=True)])
            for (before, after), marks in zip(tables, used, strict=True)
        ]
        for pool in pools:
            self._library.renumber(pool, numbers)
        for kept in self._kept:
            kept.spoken = [(numbers[0][origin], numbers[1][peer]) for origin, peer in kept.spoken]


def _called(settled: SettledCaller | None, services: dict[str, int]) -> int:
    """The number of the service that a caller is settled to have called, or NOBODY."""
    return services.get(settled.callee, NOBODY) if settled is not None and settled.kind is EdgeKind.CALL else NOBODY
