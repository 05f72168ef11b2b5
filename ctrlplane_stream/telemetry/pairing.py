"""Joins halves into calls, window by window: the reference, one half at a time.

A half becomes *visible* when the window of its end closes, and everything is settled from what is visible. The outcome is
therefore a function of the spans and their end times, not of the order or the batches in which they came:

- an arrival counts in the window of its own end;
- a matched call counts when the last span that proves it is visible, in that span's window;
- a caller that nobody answered by the close of its own window counts there and then where its peer is a database, is known
  to be a service of ours (a call to version ``unknown``: a dead candidate sends no span), or was never seen to answer;
- but one of a service of ours that ended within the last ``answer_ms`` of its window is asked after once more at the close of the next:
  an answer may end a little later than its caller;
- all else waits until its trace has been silent for the pairing time.

A trace is forgotten as a whole, so that what is left never depends on what is gone.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

from ctrlplane_stream.model.identity import UNKNOWN_VERSION, EdgeKind
from ctrlplane_stream.telemetry.batches import Batch, halves
from ctrlplane_stream.telemetry.counting import Counting
from ctrlplane_stream.telemetry.exposures import Watched, count_exposures
from ctrlplane_stream.telemetry.folding import Fold
from ctrlplane_stream.telemetry.half import CALLEES, CALLERS, LINK, NO_PARENT, Half, Kind, Origin, Peer, PeerKind
from ctrlplane_stream.telemetry.held_traces import HeldTraces
from ctrlplane_stream.telemetry.known_peers import KnownPeers
from ctrlplane_stream.telemetry.reasons import Skip
from ctrlplane_stream.telemetry.settings import CUT_WINDOWS, SpanSettings
from ctrlplane_stream.telemetry.settlement import Settled, settle_finally, settle_now, why_without
from ctrlplane_stream.telemetry.traces import Found, Missing, NoCaller, Search, Trace, WindowOf

_NO_PEER = Peer(PeerKind.EXTERNAL, "")

DEARNESS = 8
"""Halves in columns that take the memory of one held by the reference, with its trace."""

Visible = list[tuple[int, Half]]
"""Halves with the offset of the ``span-halves`` record that brought them."""

Fresh = list[tuple[Trace, Half]]
"""Halves that just became visible, with their traces."""

Said = Mapping[tuple[Origin, Peer | None], Settled | None]
"""What was said of callers that nobody answered, by who they are and whom they spoke to; None: wait."""


class ReferencePairing:
    """Holds the halves of one ``span-halves`` partition and settles them window by window."""

    def __init__(self, settings: SpanSettings, peers: KnownPeers) -> None:
        self._settings = settings
        self._peers = peers
        self._window_of = WindowOf(settings.window_ms)
        self._counting = Counting(self._window_of)
        self._buckets: dict[int, Visible] = {}
        self._late: Visible = []
        self._traces = HeldTraces()
        self._awaited: list[tuple[Trace, Half]] = []
        self._held = 0
        self.skipped: Counter[Skip] = Counter()

    @property
    def held(self) -> int:
        """Halves in memory."""
        return self._held

    @property
    def windows(self) -> list[int]:
        """Windows that hold halves and have not been closed, ascending."""
        return sorted(self._buckets)

    def oldest_offset(self) -> int | None:
        """The oldest record that a half in memory came from, or None where nothing is held."""
        pending = [offset for visible in (*self._buckets.values(), self._late) for offset, _ in visible[:1]]
        return min((*pending, *(trace.first_offset for trace in self._traces.all)), default=None)

    def add(self, batch: Batch, offset: int, first: int, line: int | None) -> None:
        """Take in the rows of a batch from the ``first`` on, the others came before; ``line`` is the first window not closed yet."""
        found = halves(batch, first)
        if first:
            count_redelivered(self.skipped, batch, first)
        for half in found:
            window = self._window_of(half)
            if line is not None and window < line:
                self._late.append((offset, half))
            else:
                self._buckets.setdefault(window, []).append((offset, half))
        self._held += len(found)
        self._evict()

    def close(self, window: int, fold: Fold, watched: Watched) -> None:
        """Settle what becomes visible with this window, and what came late, into ``fold``; then forget silent traces.

        Windows close in ascending order; what lies in earlier ones that were not closed becomes visible too.
        """
        visible = [item for earlier in sorted(self._buckets) if earlier <= window for item in self._buckets.pop(earlier)] + self._late
        self._late = []
        fresh = self.join(self._bounded(visible), window, fold)
        self.settle_awaited(window, fold)
        self.decide(fresh, window, fold, watched)
        self.forget(window, fold, watched)

    def _bounded(self, visible: Visible) -> Visible:
        """Those of the visible halves that traces may hold: the newest, after the longest silent traces are given up."""
        surplus = self._held - sum(map(len, self._buckets.values())) - most_in_traces(self._settings)
        if surplus > 0:
            surplus -= self.evict(surplus)
        if surplus <= 0:
            return visible
        visible.sort(key=_order)
        for _, half in visible[:surplus]:
            self._drop(half, Skip.EVICTED)
        return visible[surplus:]

    def join(self, visible: Visible, window: int, fold: Fold) -> Fresh:
        """Hold what became visible, and count the calls that it proves."""
        fresh = self._insert(visible, window, fold)
        for trace, half in fresh:
            self._search(trace, half, window, fold)
        for trace, half in fresh:
            if half.kind is Kind.CLIENT and half.span in trace.open_callers and half.span in trace.callees:
                self._answer_shared(trace, half, window, fold)
        return fresh

    def decide(self, fresh: Fresh, window: int, fold: Fold, watched: Watched) -> None:
        """Settle the callers that nobody answered, where that can be done now, and the exposure of the traces that entered."""
        for trace, half in fresh:
            if half.kind in CALLERS and half.span in trace.open_callers:
                self._settle_caller(trace, half, self._settled_now(trace, half, window), window, fold)
        self._enter(fresh, fold, watched)

    def _enter(self, fresh: Fresh, fold: Fold, watched: Watched) -> None:
        for trace, half in fresh:
            if half.parent == NO_PARENT and not half.link and not trace.entered:
                trace.entered = True
                count_exposures(trace, half, self._window_of(half), watched, fold)

    def hold(self, halves_held: int) -> None:
        """Count halves in that are joined without having been added."""
        self._held += halves_held

    def adopt(self, visible: Visible, window: int, said: Said, again: Said | None) -> None:
        """Take over traces that were settled elsewhere when ``window`` closed: as if settled here, without counting again.

        ``said`` is what was said there of the callers that nobody answered, and ``again`` of those that were asked after once more, None
        where they were not yet. It is not asked for anew: a full memory may have dropped it, and the catalog may say otherwise by now.
        """
        learning, skipped, awaited = self._peers.learning, self.skipped, self._awaited
        self._peers.learning, self.skipped, self._awaited = False, Counter(), []
        self.hold(len(visible))
        fresh = self.join(visible, window, Fold())
        for trace, half in fresh:
            if half.kind in CALLERS and half.span in trace.open_callers:
                self._settle_caller(trace, half, said.get((half.origin, half.peer)), window, Fold())
        self._enter(fresh, Fold(), {})
        if again is not None:
            for trace, caller in self._take_awaited():
                self._settle_again(trace, caller, again.get((caller.origin, caller.peer)), Fold())
        self._peers.learning, self.skipped, self._awaited = learning, skipped, awaited + self._awaited

    @property
    def traces(self) -> Iterable[bytes]:
        """The ids of the traces held."""
        return self._traces.names

    def _insert(self, visible: Visible, window: int, fold: Fold) -> Fresh:
        visible.sort(key=_order)
        fresh: Fresh = []
        for offset, half in visible:
            trace = self._traces.touch(half.trace, offset, window)
            if trace.size >= self._settings.max_trace_halves:
                self._drop(half, Skip.TRACE_TOO_LARGE)
            elif not trace.insert(half):
                self._drop(half, Skip.DUPLICATE)
            else:
                fresh.append((trace, half))
                if half.kind is Kind.CONSUMER:
                    self._peers.learn_consumer(half.origin, half.peer, window)
                if half.kind in CALLEES and not half.link and not half.receive:
                    self._counting.arrival(half, fold)
        return fresh

    def _drop(self, half: Half, reason: Skip) -> None:
        self._count_skipped(half, reason)
        self._held -= 1

    def _count_skipped(self, half: Half, reason: Skip) -> None:
        """Count a span under a reason; the copy of one that stands for a link is counted as a link, whatever became of it."""
        self.skipped[Skip.UNLINKED if half.link else reason] += 1

    def _search(self, trace: Trace, half: Half, window: int, fold: Fold) -> None:
        """Start the search of a half that became visible, and go on with those that waited for it."""
        searches = trace.woken(half)
        if half.link and half.receive:
            trace.fetched.append(half)
        elif half.kind in CALLEES or half.kind in CALLERS:
            searches.append(trace.begin(half, self._window_of(half)))
        else:
            self.skipped[Skip.RECEIVE if half.receive else Skip.LOCAL] += 1
        if half.kind in CALLERS and half.span not in trace.answered:
            trace.open_callers[half.span] = half
        for search in searches:
            if search.half.kind in CALLEES:
                self._find_caller(trace, search, window, fold)
            else:
                found = trace.wrapper(search)
                if isinstance(found, Missing):
                    trace.wait(search, found)
                elif found is not None:
                    trace.wrapped.setdefault(found.span, []).append(search.half)

    def _find_caller(self, trace: Trace, search: Search, window: int, fold: Fold) -> None:
        found = trace.caller(search, self._window_of)
        if isinstance(found, Missing):
            trace.wait(search, found)
        elif isinstance(found, NoCaller):
            self._count_skipped(search.half, why_without(search.half, found))
        else:
            self._match_search(trace, found, search.half, window, fold)

    def _match_search(self, trace: Trace, found: Found, callee: Half, window: int, fold: Fold) -> None:
        if callee.receive:
            self._counting.arrival(callee, fold)
        self._match(trace, found, callee, window, fold)

    def _match(self, trace: Trace, found: Found, callee: Half, window: int, fold: Fold) -> None:
        self._counting.call(trace, found, callee, fold)
        if callee.kind is Kind.CONSUMER and not (callee.link and callee.receive):
            trace.consumed[found.caller.span, callee.origin.service] = None
        if found.caller.kind in CALLERS:
            self._peers.learn_pair(found.caller.origin, found.caller.peer, callee.origin, window)

    def _answer_shared(self, trace: Trace, client: Half, window: int, fold: Fold) -> None:
        """A client came after the search of the server that shares its id was over: the call is counted if it is not yet."""
        server = trace.callees[client.span]
        if server.kind is not Kind.SERVER:
            return
        search = trace.begin(server, self._window_of(server))
        if isinstance(trace.caller_above(search, self._window_of), Found):
            trace.open_callers.pop(client.span)
            trace.answered[client.span] = (server.origin.service,)
            self._counting.client_side(client, server, fold)
        else:
            self._find_caller(trace, search, window, fold)

    def _settle_caller(self, trace: Trace, caller: Half, settled: Settled | None, window: int, fold: Fold) -> None:
        """Count an unanswered caller now where that is right whatever may still come; else leave it open."""
        awaited = caller.end_us >= self._settings.awaited_from_us(window)
        if awaited and (settled is None or settled.kind is EdgeKind.CALL):
            self._awaited.append((trace, caller))
            if settled is not None:
                self._counting.suspect(trace, caller, settled)
        elif settled is not None:
            self._counting.unanswered(trace, caller, settled, fold)

    def _settled_now(self, trace: Trace, caller: Half, window: int) -> Settled | None:
        settled = settle_now(self._peers, caller.origin, caller.peer, window)
        if settled is None or not trace.is_wrapper(caller):
            return settled
        made_inside = settled.kind is not EdgeKind.CALL or self._is_made_inside(trace, caller, settled.callee, window)
        return None if made_inside else settled

    def _is_made_inside(self, trace: Trace, wrapper: Half, service: str, window: int) -> bool:
        """Whether a caller inside another is the call that the outer one tells of."""
        for half in trace.inside(wrapper):
            answered = trace.answered.get(half.span, ())
            if service in answered:
                return True
            is_ours = answered or self._peers.service_behind(half.origin, half.peer, window) is not None
            if is_ours and half.error >= wrapper.error:
                return True
        return False

    def settle_awaited(self, window: int, fold: Fold) -> None:
        """Count the callers whose answer was waited for past the end of their window, where none became visible."""
        for trace, caller in self._take_awaited():
            self._settle_again(trace, caller, self._settled_now(trace, caller, window), fold)

    def _take_awaited(self) -> Fresh:
        awaited, self._awaited = self._awaited, []
        return [(trace, caller) for trace, caller in awaited if trace.open_callers.get(caller.span) is caller]

    def _settle_again(self, trace: Trace, caller: Half, settled: Settled | None, fold: Fold) -> None:
        if settled is not None:
            self._counting.unanswered(trace, caller, settled, fold)

    def forget(self, window: int, fold: Fold, watched: Watched) -> None:
        """Settle and drop the traces that have been silent for the pairing time, and those that never end."""
        settings = self._settings
        line_ms = window * 1000 + settings.window_ms
        for trace in self._traces.pop_silent((line_ms - settings.pairing_ms) // 1000 - settings.window_seconds):
            self._forget(trace, window, fold, watched)
        if window % (settings.window_seconds * CUT_WINDOWS) == 0:
            for trace in self._traces.pop_begun((line_ms - settings.max_trace_ms) // 1000 - settings.window_seconds):
                self._forget(trace, window, fold, watched)

    def _forget(self, trace: Trace, window: int, fold: Fold, watched: Watched) -> None:
        """Settle what is still open in a trace; nothing of it will be looked at again."""
        self._held -= trace.size
        searches = [search for search in trace.unsettled.values() if search.half.kind in CALLEES]
        for search in searches:
            if (found := search.without_more) is not None:
                self._match_search(trace, found, search.half, window, fold)
        orphans = [search.half for search in searches if search.local is None]
        for half in orphans:
            self._settle_orphan(half, window, fold)
        for half in trace.fetched:
            self._settle_fetched(trace, half, window, fold)
        for caller in list(trace.open_callers.values()):
            self._settle_silent(trace, caller, window, fold)
        entries = [half for half in orphans if not half.link]
        if entries and not trace.entered:
            entry = min(entries, key=lambda half: (half.end_us - half.duration_us, half.span))
            count_exposures(trace, entry, self._window_of(entry), watched, fold)

    def _settle_orphan(self, callee: Half, window: int, fold: Fold) -> None:
        """A callee whose caller never came: of a message, the one known producer of its destination stands in."""
        known = callee.kind is Kind.CONSUMER and not callee.linked and not callee.link
        producer = self._peers.producer_of(callee.origin, callee.peer, window) if known else None
        if producer is None:
            self._count_skipped(callee, why_without(callee, None))
            return
        if callee.receive:
            self._counting.arrival(callee, fold)
        name = (producer, callee.origin.service, EdgeKind.MESSAGE, UNKNOWN_VERSION, callee.origin.version)
        counts = fold.at(self._window_of(callee), callee.origin.environment).edge(name)
        counts.tally.add(1, int(callee.error), callee.weight)
        counts.server.count(callee.duration_us)

    def _settle_fetched(self, trace: Trace, copy: Half, window: int, fold: Fold) -> None:
        """A link of a consumer that only fetched: a message where its service has no other span that consumed this one."""
        found = trace.caller(trace.begin(copy, self._window_of(copy)), self._window_of)
        if isinstance(found, Missing) and found.local is not None:
            found = Found(found.local, found.window)
        if isinstance(found, Found) and (found.caller.span, copy.origin.service) not in trace.consumed:
            # Learned for the next window, so that the order in which traces are forgotten does not matter.
            self._match(trace, found, copy, window + self._settings.window_seconds, fold)
        else:
            self._count_skipped(copy, Skip.UNLINKED)

    def _settle_silent(self, trace: Trace, caller: Half, window: int, fold: Fold) -> None:
        """A caller that nobody answered within the pairing time."""
        settled: Settled | Skip
        if trace.is_wrapper(caller):
            settled = self._settled_now(trace, caller, window) or Skip.WRAPPED_CLIENT
        else:
            settled = settle_finally(self._peers, caller.origin, caller.peer, window, self._settings.window_seconds)
        if isinstance(settled, Skip):
            self.skipped[settled] += 1
        else:
            self._counting.unanswered(trace, caller, settled, fold)

    def _evict(self) -> None:
        """Give up the oldest halves beyond the cap: silent traces first, then what arrived first."""
        surplus = self._held - self._settings.max_halves
        if surplus > 0:
            surplus -= self.evict(surplus)
        while surplus > 0:
            oldest = min(self._buckets) if self._buckets else None
            visible = self._late if self._late or oldest is None else self._buckets[oldest]
            given_up = visible[:surplus]
            del visible[:surplus]
            if oldest is not None and not self._buckets[oldest]:
                del self._buckets[oldest]
            surplus -= len(given_up)
            for _, half in given_up:
                self._drop(half, Skip.EVICTED)

    def evict(self, surplus: int) -> int:
        """Drop whole traces, the longest silent first, until ``surplus`` halves are gone or no trace is left; returns how many went."""
        before = self._held
        while before - self._held < surplus and (trace := self._traces.pop_longest_silent()) is not None:
            self._held -= trace.size
            open_callees = [search.half for search in trace.unsettled.values() if search.half.kind in CALLEES]
            for half in (*trace.open_callers.values(), *open_callees, *trace.fetched):
                self._count_skipped(half, Skip.WRAPPED_CLIENT if half.kind in CALLERS and trace.is_wrapper(half) else Skip.EVICTED)
            trace.open_callers.clear()
        return before - self._held


def most_in_traces(settings: SpanSettings) -> int:
    """How many halves may be held one by one: each takes as much memory as ``DEARNESS`` in columns (measured: 1.6 kB and 0.13 kB)."""
    return max(1, settings.max_halves // DEARNESS)


def count_redelivered(skipped: Counter[Skip], batch: Batch, rows: int) -> None:
    """Count the spans among the first rows of a batch as redelivered; the copies that stand for their links go with them."""
    skipped.update(Skip.REDELIVERED for flags in batch.columns.column("flags")[:rows] if not flags & LINK)


def _order(item: tuple[int, Half]) -> tuple[object, ...]:
    """By end, then by what tells the halves of a trace apart, then by all else that they say: of two that claim one id and side
    the same is held whichever came first. Only repetitions are told apart by their offset."""
    offset, half = item
    said = half.origin, half.duration_us, half.error, half.peer or _NO_PEER, half.weight
    return half.end_us, half.trace, half.span, half.kind, half.parent, *said, offset
