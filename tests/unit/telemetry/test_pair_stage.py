"""One ``span-halves`` partition: what it remembers, how it is rebuilt, and that it stays within its bounds."""

import pytest
from msgspec.structs import replace

from ctrlplane_stream.model.windows import Closed, WindowPart
from ctrlplane_stream.telemetry import checkpoint
from ctrlplane_stream.telemetry.batches import Watch
from ctrlplane_stream.telemetry.checkpoint import Checkpoint, Mark, SourceState, on_other_logs
from ctrlplane_stream.telemetry.engines import REFERENCE, Engine, columnar
from ctrlplane_stream.telemetry.half import Kind
from ctrlplane_stream.telemetry.halving import SourceRecord
from ctrlplane_stream.telemetry.heard import Partitions
from ctrlplane_stream.telemetry.in_memory import InMemoryChain, call_counts, feed
from ctrlplane_stream.telemetry.reasons import Skip
from ctrlplane_stream.telemetry.sample_traces import BEGINNING_MS, SampleTraces, request
from ctrlplane_stream.telemetry.settings import SpanSettings

SETTINGS = SpanSettings(partitions=1, window_ms=10_000, lateness_ms=10_000, pairing_ms=20_000)


def at(seconds: float) -> float:
    return BEGINNING_MS + seconds * 1_000


def closed_in(chain: InMemoryChain, since: int = 0) -> set[str]:
    return {record.environment for record in chain.output[0][since:] if isinstance(record, Closed)}


def test_environments_that_are_gone_make_room_and_their_windows_are_closed_no_more() -> None:
    """Previews of pull requests come and go; of more at once those that speak keep their places."""
    settings = SpanSettings(partitions=1, max_environments=4)
    traces, chain = SampleTraces(), InMemoryChain(settings, REFERENCE)

    def speak(seconds: float, *environments: str) -> None:
        chain.receive(
            [request([traces.span("shop", Kind.SERVER, environment=name, end_ms=at(seconds)) for name in environments])], int(at(seconds))
        )
        chain.advance(int(at(seconds)))

    speak(1, "pr-1", "pr-2", "pr-3", "pr-4", "pr-5")
    for seconds in range(2, 100, 10):
        speak(seconds, "production")
    assert "production" in closed_in(chain)
    speak(100, *(f"flood-{number}" for number in range(100)))
    since = len(chain.output[0])
    for seconds in range(101, 200, 10):
        speak(seconds, "production", *(f"flood-{number}" for number in range(seconds)))
    assert "production" in closed_in(chain, since)
    assert len(closed_in(chain, since)) < 20
    chain.watch(Watch("staging", "shop", ("2",)))
    for seconds in range(300, 5_000, 100):
        speak(seconds, "production")
    saved, since = chain.pairs[0].checkpoint(), len(chain.output[0])
    speak(5_100, "production")
    assert closed_in(chain, since) == {"production", "staging"}
    assert [name for name, _ in saved.environments] == ["production", "staging"]
    rebuilt = chain.pair_stage(0, saved)
    for offset in range(rebuilt.restart_offset, len(chain.log[0])):
        feed(rebuilt, offset, chain.log[0][offset])
    assert rebuilt.checkpoint() == chain.pairs[0].checkpoint()


def test_a_rebuilt_stage_learns_nothing_from_traces_of_which_it_reads_only_the_end() -> None:
    """The inner client of a wrapper lies before the restart offset: alone, the outer one would seem an unanswered call."""
    traces, chain = SampleTraces(), InMemoryChain(SETTINGS, REFERENCE)
    endless = traces.span("shop", Kind.INTERNAL, end_ms=at(15))
    outer = traces.span("shop", Kind.CLIENT, end_ms=at(15), attributes={"server.address": "elsewhere"})
    inner = traces.span("shop", Kind.CLIENT, outer, end_ms=at(5))
    chain.receive([request([inner])], int(at(6)))
    chain.advance(int(at(20)))
    chain.receive([request([outer, endless])], int(at(21)))
    for seconds in range(30, 100, 10):
        chain.receive([request([traces.span("shop", Kind.INTERNAL, endless, end_ms=at(seconds - 5))])], int(at(seconds)))
        chain.advance(int(at(seconds)))
    old = chain.pairs[0]
    saved = old.checkpoint()
    new = chain.pair_stage(0, saved)
    assert 0 < new.restart_offset < saved.through
    for offset in range(new.restart_offset, len(chain.log[0])):
        assert feed(new, offset, chain.log[0][offset]) == []
    assert new.checkpoint() == saved
    assert saved.sightings == ()
    assert old.skipped
    assert new.skipped == {}, "what is only repeated is not counted again"


@pytest.mark.parametrize("older", [True, False])
def test_what_a_build_left_open_that_told_nobody_what_answered_others_is_counted_once(older: bool) -> None:
    """A stage that is rebuilt repeats in silence what that build published: what it left open must not be settled there."""
    traces, chain = SampleTraces(), InMemoryChain(SETTINGS, REFERENCE)
    attributes = {"server.address": "basket.shop.svc", "server.port": 80}
    client = traces.span("shop", Kind.CLIENT, end_ms=at(1), attributes=attributes)
    failed = traces.span("late", Kind.CLIENT, end_ms=at(2), error=True, attributes=attributes)
    chain.receive([request([client, traces.span("cart", Kind.SERVER, client, end_ms=at(1)), failed])], int(at(3)))
    if older:
        chain.pairs[0] = chain.pair_stage(0, Checkpoint(0, Mark(0), -1, None, shared_from=1 << 40))
        for offset, value in enumerate(chain.log[0]):
            feed(chain.pairs[0], offset, value)
    chain.advance(int(at(21)))
    before = call_counts(chain.parts)
    saved = checkpoint.decode(checkpoint.encode(chain.pairs[0].checkpoint()))
    saved = replace(saved, shared_from=None) if older else saved
    for _ in range(2):
        chain.pairs[0] = chain.pair_stage(0, saved)
        for offset in range(chain.pairs[0].restart_offset, len(chain.log[0])):
            assert feed(chain.pairs[0], offset, chain.log[0][offset]) == []
        saved = chain.pairs[0].checkpoint()
    chain.advance(int(at(100)))
    assert before.get(("late", "cart", "call")) == (None if older else (1, 1))
    assert call_counts(chain.parts)["late", "cart", "call"] == (1, 1)


def test_the_cap_on_halves_holds_and_what_it_costs_is_counted() -> None:
    """A flood evicts the oldest first; memory stays within the cap in both engines."""
    settings = SpanSettings(partitions=1, max_halves=500)
    for engine in (REFERENCE, columnar(always=True)):
        traces, chain = SampleTraces(), InMemoryChain(settings, engine)
        for second in range(60):
            spans = []
            for _ in range(20):
                client = traces.span("shop", Kind.CLIENT, end_ms=at(second))
                spans += [client, traces.span("cart", Kind.SERVER, client, end_ms=at(second))]
            chain.receive([request(spans)], int(at(second)))
            chain.advance(int(at(second)))
            assert chain.pairs[0].held <= 500
        counted = sum(calls for calls, _ in call_counts(chain.parts).values())
        assert 0 < counted < 1_200
        assert chain.all_skipped[Skip.EVICTED] > 0


@pytest.mark.parametrize("engine", [REFERENCE, columnar(always=True, compiled=False), columnar(always=True)])
def test_what_a_stage_has_no_room_for_that_is_rebuilt_with_a_smaller_memory_is_counted(engine: Engine) -> None:
    """A worker that takes over the partitions of another gives each of them less."""
    traces, chain = SampleTraces(), InMemoryChain(SpanSettings(partitions=1, max_halves=8_000), engine)
    for second in range(60):
        chain.receive(
            [request([traces.span("shop", Kind.CLIENT, end_ms=at(second), attributes={"server.address": "far"}) for _ in range(10)])],
            int(at(second)),
        )
        chain.advance(int(at(second)))
    before = sum(calls for calls, _ in call_counts(chain.parts).values())
    chain.settings = replace(chain.settings, max_halves=100)
    chain.take_over(0, chain.pairs[0].checkpoint())
    for later in range(60, 160, 10):
        chain.advance(int(at(later)))
    after = sum(calls for calls, _ in call_counts(chain.parts).values())
    assert before < after < 600 <= after + chain.all_skipped[Skip.EVICTED]


def test_no_part_is_sent_of_an_environment_whose_windows_nobody_closes() -> None:
    """A client that writes ever new names must not fill the memory of whoever waits for their windows."""
    for engine in (REFERENCE, columnar(always=True)):
        traces, chain = SampleTraces(), InMemoryChain(SpanSettings(partitions=1, max_environments=4), engine)
        for seconds in range(2, 102, 10):
            flood = [f"flood-{seconds}-{number}" for number in range(300)]
            names = ["production", *(flood if seconds > 2 else ())]
            chain.receive(
                [request([traces.span("shop", Kind.SERVER, environment=name, end_ms=at(seconds)) for name in names])], int(at(seconds))
            )
            chain.advance(int(at(seconds)))
        for seconds in range(110, 160, 10):
            chain.advance(int(at(seconds)))
        assert {part.environment for part in chain.parts} <= closed_in(chain)
        assert sum(part.environment == "production" for part in chain.parts) == 10
        assert chain.all_skipped[Skip.TOO_MANY_ENVIRONMENTS] == 2_710 - len(chain.parts) > 2_600


def test_a_trace_of_very_many_spans_evicts_nobody_else() -> None:
    settings = SpanSettings(partitions=1, max_trace_halves=50)
    for engine in (REFERENCE, columnar(always=True)):
        traces, chain = SampleTraces(), InMemoryChain(settings, engine)
        root = traces.span("shop", Kind.SERVER)
        runaway = [traces.span("shop", Kind.INTERNAL, root) for _ in range(200)]
        client = traces.span("shop", Kind.CLIENT)
        chain.receive([request([root, *runaway, client, traces.span("cart", Kind.SERVER, client)])], int(at(2)))
        chain.advance(int(at(30)))
        assert chain.all_skipped[Skip.TRACE_TOO_LARGE] == 151
        assert call_counts(chain.parts) == {("shop", "cart", "call"): (1, 0)}


def test_a_flood_of_traces_of_one_orphan_each_is_bounded_before_it_is_made_objects_of() -> None:
    """A trace of its own for every span is what takes most memory: only an eighth of the cap may be held so."""
    settings = SpanSettings(partitions=1, max_halves=800)
    for engine in (REFERENCE, columnar(always=True)):
        traces, chain = SampleTraces(), InMemoryChain(settings, engine)
        orphans = [traces.span("cart", Kind.SERVER, missing_parent=True, end_ms=at(i / 100)) for i in range(700)]
        chain.receive([request(orphans)], int(at(8)))
        assert chain.pairs[0].held == 700
        chain.advance(int(at(21)))
        assert chain.pairs[0].held == 100
        chain.advance(int(at(90)))
        assert chain.all_skipped == {Skip.MISSING_PARENT: 100, Skip.EVICTED: 600}


def test_a_trace_that_never_ends_is_cut() -> None:
    """It must not hold back the restart offset for ever."""
    settings = SpanSettings(partitions=1, max_trace_ms=60_000)
    traces, chain = SampleTraces(), InMemoryChain(settings, REFERENCE)
    root = traces.span("shop", Kind.INTERNAL)
    for seconds in range(10, 400, 10):
        chain.receive([request([traces.span("shop", Kind.INTERNAL, root, end_ms=at(seconds))])], int(at(seconds)))
        chain.advance(int(at(seconds)))
    assert chain.pairs[0].checkpoint().restart.offset > 20


def test_a_call_of_a_trace_that_is_about_to_be_cut_is_counted_once_by_a_stage_that_is_rebuilt() -> None:
    """Who was behind its address is known of the past for as long as a trace may be held, though it had to make room since."""
    settings = SpanSettings(partitions=1, lateness_ms=0, pairing_ms=10_000, max_trace_ms=60_000, max_peers=1)
    traces, chain = SampleTraces(), InMemoryChain(settings, REFERENCE)
    called = {35: "a", 44: "b", 45: "a"}
    clients = {when: traces.span("shop", Kind.CLIENT, end_ms=at(when), attributes={"server.address": to}) for when, to in called.items()}
    for seconds in range(35, 230, 10):
        spans = [traces.span("shop", Kind.INTERNAL, clients[45], end_ms=at(seconds))] if 45 < seconds < 160 else []
        for second in (seconds, seconds - 1):
            spans += [clients[second]] if second in clients else []
            spans += [traces.span("cart", Kind.SERVER, clients[second], end_ms=at(second))] if second in {35, 44} else []
        chain.receive([request(spans)], int(at(seconds)))
        chain.advance(int(at(seconds + 5)))
        if seconds == 155:
            assert chain.all_skipped[Skip.PEER_FORGOTTEN] == 1
            chain.take_over(0, chain.pairs[0].checkpoint())
    assert call_counts(chain.parts) == {("shop", "cart", "call"): (3, 0)}


@pytest.mark.parametrize("seconds", [5, 9.5], ids=["at once", "awaited"])
@pytest.mark.parametrize(("before", "after"), [({"stock": "stock"}, {}), ({}, {"stock": "stock"}), ({"stock": "bank"}, {"stock": "stock"})])
@pytest.mark.parametrize("told", ["before the end", "by the start", "while it repeats"])
def test_a_call_is_counted_once_by_a_stage_that_is_rebuilt_with_another_catalog(
    told: str, before: dict[str, str], after: dict[str, str], seconds: float
) -> None:
    """Who edits the catalog starts the workers anew."""
    chain = InMemoryChain(SpanSettings(partitions=1), REFERENCE, before)
    client = SampleTraces().span("shop", Kind.CLIENT, end_ms=at(seconds), attributes={"server.address": "stock"})
    chain.receive([request([client])], int(at(12)))
    chain.advance(int(at(30)))
    if told == "before the end":
        chain.know(after)
        chain.advance(int(at(40)))
    saved = checkpoint.decode(checkpoint.encode(chain.pairs[0].checkpoint()))
    if told == "while it repeats":
        stage = chain.pairs[0] = chain.pair_stage(0, saved)
        chain.know(after)
        for offset in range(stage.restart_offset, len(chain.log[0])):
            assert feed(stage, offset, chain.log[0][offset]) == []
    else:
        chain.catalog = after
        chain.take_over(0, saved)
    for later in range(50, 140, 10):
        chain.advance(int(at(later)))
    (called,) = {*before.values()} or {*after.values()}
    assert call_counts(chain.parts) == {("shop", called, "call"): (1, 0)}


def test_a_late_half_is_a_part_with_a_number_of_its_own_and_adds_up() -> None:
    traces, chain = SampleTraces(), InMemoryChain(SETTINGS, REFERENCE)
    client = traces.span("shop", Kind.CLIENT, end_ms=at(5))
    server = traces.span("cart", Kind.SERVER, client, end_ms=at(4))
    chain.receive([request([client])], int(at(6)))
    chain.advance(int(at(20)))
    chain.receive([request([server])], int(at(25)))
    chain.advance(int(at(30)))
    parts = [(out.window - BEGINNING_MS // 1000, out.part > 0, len(out.edges)) for out in chain.output[0] if isinstance(out, WindowPart)]
    assert parts == [(0, True, 1)]
    assert [out.window - BEGINNING_MS // 1000 for out in chain.output[0] if isinstance(out, Closed)][-1] == 10


@pytest.mark.parametrize("engine", [REFERENCE, columnar(always=True, compiled=False), columnar(always=True)])
def test_a_record_that_nobody_stamped_counts_as_received_when_it_is_read(engine: Engine) -> None:
    """Its spans end when they say, and not in 1969, because Kafka says -1 for no time."""
    chain = InMemoryChain(SETTINGS, engine)
    span = SampleTraces().span("shop", Kind.SERVER, end_ms=at(5))
    chain.read([SourceRecord(0, 0, request([span]), -1)], int(at(6)))
    chain.advance(int(at(30)))
    assert [part.window for part in chain.parts] == [BEGINNING_MS // 1000]


def test_in_a_log_that_was_made_anew_a_late_part_is_new_and_what_is_redelivered_is_not() -> None:
    """Its records stand where those of the old one stood, by which late parts are numbered; those of its sources stand where they stood."""
    again = list[SourceRecord]()
    traces, read, written = SampleTraces(), Partitions({}), Checkpoint(0, Mark(0), -1, None)
    for began, watermarks in ((0, 9), (100, 1)):
        chain = InMemoryChain(SETTINGS, REFERENCE)
        chain.pairs[0] = chain.pair_stage(0, written)
        client = traces.span("shop", Kind.CLIENT, end_ms=at(began + 5))
        server = request([traces.span("cart", Kind.SERVER, client, end_ms=at(began + 5))])
        chain.read([*again, SourceRecord(0, began, server, int(at(began + 6)))], int(at(began + 6)))
        for _ in range(watermarks):
            chain.advance(int(at(began + 20)))
        again = [SourceRecord(0, began, server), SourceRecord(0, began + 1, request([client]), int(at(began + 25)))]
        chain.read(again, int(at(began + 25)))
        chain.advance(int(at(began + 40)))
        (part,) = [part for part in chain.parts if part.part]
        assert read.is_new(part)
        assert call_counts(chain.parts) == {("shop", "cart", "call"): (1, 0)}
        read.close(Closed("prod", 0, part.window))
        read = Partitions(read.taken(part.window, ()))
        written = on_other_logs(chain.pairs[0].checkpoint(), {0: 1_000}, 0) or written


def test_windows_of_two_seconds_and_a_second_of_lateness_close_three_seconds_after_they_began() -> None:
    settings = SpanSettings(partitions=1, window_ms=2_000, lateness_ms=1_000, pairing_ms=4_000)
    traces, chain = SampleTraces(), InMemoryChain(settings, REFERENCE)
    chain.receive([request([traces.span("shop", Kind.SERVER, end_ms=at(1.5))])], int(at(1.6)))
    chain.advance(int(at(2.9)))
    assert not chain.parts
    chain.advance(int(at(3)))
    assert [(part.window, part.part) for part in chain.parts] == [(BEGINNING_MS // 1000, 0)]


def test_a_checkpoint_goes_on_where_its_logs_are_what_they_were_and_else_begins_with_those_that_are_there() -> None:
    """Logs only grow: one that ends below what was read of it is another."""
    mark = Mark(40, 90, (SourceState(0, 10), SourceState(1, 20)))
    known = Checkpoint(3, mark, 49, 90, (("prod", 80),), names=(("prod", "db"),), read=((0, 100), (1, 200)))
    assert on_other_logs(known, {0: 101, 1: 201}, 50) is None
    other = on_other_logs(known, {0: 101, 1: 200}, 50)
    assert other == replace(known, restart=Mark(50, 90))
    other = on_other_logs(known, {0: 101, 1: 201}, 49)
    read = Mark(0, 90, (SourceState(0, 100), SourceState(1, 200)))
    assert other == replace(known, restart=read, through=-1, numbered_from=1 << 32)
    assert on_other_logs(replace(other, through=7), {0: 101, 1: 201}, 7) == replace(other, numbered_from=2 << 32)
    assert on_other_logs(known, {0: 101, 1: 200}, 49) == replace(known, restart=Mark(0, 90), through=-1)
    assert on_other_logs(Checkpoint(3, Mark(0), -1, None), {0: 0, 1: 0}, 0) is None
