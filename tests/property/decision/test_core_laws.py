"""Laws of the decision core: one law a test."""

from hypothesis import given, settings
from hypothesis import strategies as st

from ctrlplane_stream.decision.engine import Moment, State, decide, fold
from ctrlplane_stream.decision.graph import Graph, edge_key, edge_of_key
from ctrlplane_stream.decision.version_sets import walk
from ctrlplane_stream.decision.waves import callees, waves
from ctrlplane_stream.model.decisions import Decided
from ctrlplane_stream.model.facts import ArtifactPushed, CatalogApplied, Fact, Origin, ReleaseOrder, TimePassed
from ctrlplane_stream.model.identity import EdgeKey, EdgeKind
from ctrlplane_stream.simulation.drawing import plan
from ctrlplane_stream.simulation.loop import artifact, catalog, service
from ctrlplane_stream.simulation.play import Play

NAMES = tuple("abcdefg")
edges = st.builds(EdgeKey, st.sampled_from(NAMES), st.sampled_from(NAMES), st.sampled_from(list(EdgeKind)))
graphs = st.lists(edges, max_size=25)


@given(st.text(max_size=12), st.text(max_size=12), st.sampled_from(list(EdgeKind)))
def test_an_edge_survives_its_key_whatever_its_names_hold(caller: str, callee: str, kind: EdgeKind) -> None:
    """edge_of_key is the inverse of edge_key."""
    assert edge_of_key(edge_key(EdgeKey(caller, callee, kind))) == EdgeKey(caller, callee, kind)


@given(st.lists(st.tuples(edges, st.booleans()), max_size=30))
def test_a_graph_changed_edge_by_edge_is_the_graph_of_what_is_left(changes: list[tuple[EdgeKey, bool]]) -> None:
    """Persistent updates agree with building from nothing."""
    graph, present = Graph.empty(), dict[str, EdgeKey]()
    for edge, put in changes:
        graph = graph.with_changes({edge_key(edge): object() if put else None}, present)
        if put:
            present[edge_key(edge)] = edge
        else:
            present.pop(edge_key(edge), None)
    built = Graph.of(present.values())
    for name in NAMES:
        assert graph.incoming(name) == built.incoming(name)
        assert graph.outgoing(name) == built.outgoing(name)


@given(graphs, edges, st.sampled_from(NAMES))
def test_one_more_edge_never_shrinks_a_set(known: list[EdgeKey], more: EdgeKey, changed: str) -> None:
    """Uncertainty widens a set, it never shrinks it."""
    assert set(walk(Graph.of(known), (changed,)).found) <= set(walk(Graph.of({*known, more}), (changed,)).found)


@given(graphs, st.permutations(NAMES))
def test_a_set_does_not_depend_on_the_order_in_which_edges_were_learned(known: list[EdgeKey], order: list[str]) -> None:
    """Same edges, same walk, in the same order."""
    shuffled = sorted(known, key=lambda edge: order.index(edge.caller))
    assert walk(Graph.of(set(known)), ("a", "b")) == walk(Graph.of(dict.fromkeys(shuffled)), ("b", "a"))


@given(graphs)
def test_callees_take_weight_in_an_earlier_wave_unless_they_are_of_one_cycle(known: list[EdgeKey]) -> None:
    """Waves follow the condensation of the graph, and turn round for a removal."""
    graph, among = Graph.of(set(known)), frozenset(NAMES)
    up, down = waves(graph, NAMES, ReleaseOrder.CALLEES_FIRST), waves(graph, NAMES, ReleaseOrder.CALLERS_FIRST)
    for caller in NAMES:
        for callee in callees(graph, caller, among):
            assert up[callee] <= up[caller]
            assert down[callee] >= down[caller]
            if up[callee] == up[caller]:
                assert _reaches(graph, callee, caller)


def _reaches(graph: Graph, start: str, end: str) -> bool:
    found, frontier = {start}, [start]
    for name in frontier:
        for edge in graph.outgoing(name):
            if edge.kind in (EdgeKind.CALL, EdgeKind.MESSAGE) and edge.callee not in found:
                found.add(edge.callee)
                frontier.append(edge.callee)
    return end in found


@given(st.lists(st.integers(1, 4), min_size=1, max_size=12))
def test_every_artifact_is_numbered_once_whatever_is_repeated(numbers: list[int]) -> None:
    """As many versions as distinct digests, numbered 1, 2, 3 … in order of arrival."""
    state = _decided([ArtifactPushed(f"e{i}", artifact("cart", n)) for i, n in enumerate(numbers)])
    labels = [key.rsplit("/", 1)[1] for key, _ in state.entries() if key.startswith("version/cart/")]
    assert sorted(labels) == sorted(f"#{i + 1}" for i in range(len(set(numbers))))


def _decided(facts: list[Fact]) -> State:
    state = State.empty("production")
    first = CatalogApplied(catalog(service("cart")), "h", "tests")
    for offset, fact in enumerate([first, *facts]):
        state = decide(state, fact, Moment(offset, 1_000 * offset, None)).state
    return state


@given(st.lists(st.integers(0, 5), min_size=1, max_size=20))
def test_a_fact_of_an_origin_that_was_passed_changes_nothing_but_the_clock(offsets: list[int]) -> None:
    """At or below the high-water of its origin a fact is ignored."""
    state, high = State.empty("production"), -1
    for number, offset in enumerate(offsets):
        decision = decide(state, TimePassed(), Moment(number, 1_000 * number, Origin("control", 0, offset)))
        assert (decision.disposition == "ignored") == (offset <= high)
        assert (set(decision.delta) <= {"clock"}) == (offset <= high)
        state, high = decision.state, max(high, offset)


@given(
    st.lists(st.integers(0, 12) | st.sampled_from(["written", "made anew", "cut"]), min_size=1, max_size=40),
    st.lists(st.integers(-3, 5), min_size=12, max_size=12),
)
def test_each_record_of_a_topic_that_was_made_anew_is_decided_once_and_none_of_the_one_before_again(
    steps: list[int | str], clock: list[int]
) -> None:
    """Whatever is delivered again, of whichever log, and though the broker's clock goes back now and then: by its place and its date."""
    state, number, now = State.empty("production"), 0, 1_000
    log, every, decided = list[Origin](), list[Origin](), set[Origin]()

    def deliver(origin: Origin) -> None:
        nonlocal state, number
        number += 1
        decision = decide(state, TimePassed(), Moment(number, 1_000, origin))
        assert (decision.disposition == "ignored") == (origin in decided), (origin, decided)
        state = decision.state
        decided.add(origin)

    for step in steps:
        if step in ("made anew", "cut"):
            log = [] if step == "made anew" else log[: len(log) // 2]
            now = max([now, *(origin.at_ms or 0 for origin in every)]) + 1
            clock = []  # a clock that goes back behind what was there before is past what a date can tell
        elif step == "written":
            now += clock.pop() if clock else 1
            log.append(Origin("control", 0, len(log), at_ms=now))
            every.append(log[-1])
            deliver(log[-1])
        elif every:
            deliver(every[int(step) % len(every)])


@given(st.lists(st.integers(-100_000, 100_000) | st.integers(-10_000_000, 10_000_000), min_size=1, max_size=20))
def test_no_fact_advances_a_timer_by_more_than_fifteen_seconds_and_time_goes_back_only_where_two_say_so(steps: list[int]) -> None:
    """However the append times jump: two in a row that are over ten minutes behind."""
    from ctrlplane_stream.decision.entities import Clock

    state, at = decide(State.empty("production"), TimePassed(), Moment(0, 1_000_000, None)).state, 1_000_000
    for number, step in enumerate(steps):
        before = state.find("clock", Clock)
        last, at = at, at + step
        state = decide(state, TimePassed(), Moment(number + 1, at, None)).state
        after = state.find("clock", Clock)
        assert before is not None
        assert after is not None
        assert 0 <= after.steady - before.steady <= 15_000
        assert after.now_ms >= before.now_ms or (after.now_ms == at and max(last, at) < before.now_ms - 600_000)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000_000))
def test_the_same_facts_give_the_same_bytes_and_deltas_give_the_state(seed: int) -> None:
    """Two runs of one plan agree to the byte; folding the deltas, from nothing or from a snapshot, gives the state."""
    one, two = Play(plan(seed)), Play(plan(seed))
    assert one.run() == two.run()
    assert [d.delta for d in one.loop.driver.decided] == [d.delta for d in two.loop.driver.decided]
    state = State.empty("production")
    for number, decided in enumerate(one.loop.driver.decided):
        assert isinstance(decided, Decided)
        state = fold(state, decided)
        if number % 40 == 0:
            state = State.from_entries("production", list(state.entries()))
    assert state == one.loop.driver.state
