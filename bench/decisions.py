"""How fast one environment decides: facts a second in memory, replay by folding, version sets and edges in a large graph.

    python -m bench.decisions [--services 10000] [--edges 100000] [--json]

Facts are those of simulated runs in which every service is released three times at once, ten services and fifty, decided again from
nothing: the more rollouts are under way, the more of them each fact of time concerns. Times are CPU
seconds of this process, which is all that deciding takes; garbage is collected as seldom as in a worker.
"""

import argparse
import json
import random
import statistics
import time

from ctrlplane_stream.decision.engine import Decision, Moment, State, decide, fold
from ctrlplane_stream.decision.version_sets import guards, left_out, walk
from ctrlplane_stream.model.decisions import Decided
from ctrlplane_stream.model.facts import EdgeSeen, EdgesObserved, Fact, Origin, ServiceSeen
from ctrlplane_stream.model.identity import EdgeKey, EdgeKind
from ctrlplane_stream.simulation.loop import Loop, catalog, service
from ctrlplane_stream.stream.worker import collect_seldom
from ctrlplane_stream.testing import START_MS


def recorded(services: int) -> list[tuple[Fact, int]]:
    """The facts of a busy run and when they came."""
    facts: list[tuple[Fact, int]] = []
    loop = Loop()
    pipe = loop.driver.pipe

    def noting(fact: Fact, *, origin: Origin | None = None, at_ms: int | None = None) -> Decision:
        facts.append((fact, at_ms or loop.driver.now_ms))
        return pipe(fact, origin=origin, at_ms=at_ms)

    loop.driver.pipe = noting  # type: ignore[method-assign]
    from ctrlplane_stream.model.facts import CatalogApplied

    loop.give(CatalogApplied(catalog(*[service(f"s{i}") for i in range(services)]), "h", "benchmark"))
    loop.edges(*[f"s{i}>s{i + 1}" for i in range(services - 1)])
    for number in (1, 2, 3):
        for i in range(services):
            loop.push(f"s{i}", number)
        loop.run(900)
    return facts


def decide_rate(facts: list[tuple[Fact, int]]) -> tuple[float, list[Decided]]:
    """Facts decided a second, and the decisions as recorded."""
    state = State.empty("production")
    found = []
    begun = time.process_time()
    for offset, (fact, at_ms) in enumerate(facts):
        decision = decide(state, fact, Moment(offset, at_ms, None))
        state = decision.state
        found.append(decision)
    seconds = time.process_time() - begun
    decided = [
        Decided("production", 0, i, d.sequence, "b", START_MS, d.disposition, d.outputs, d.reasons, d.delta, d.wake_at_ms)
        for i, d in enumerate(found)
    ]
    return len(facts) / seconds, decided


def fold_rate(decided: list[Decided]) -> float:
    """Recorded decisions folded a second."""
    state = State.empty("production")
    begun = time.process_time()
    for record in decided:
        state = fold(state, record)
    return len(decided) / (time.process_time() - begun)


def large(services: int, edges: int) -> State:
    """A system of six tiers, as request paths of large shops are: each service calls some of the tier below, popular ones most."""
    rng = random.Random(1)
    tiers = 6
    size = services // tiers
    keys: dict[EdgeKey, None] = {}
    while len(keys) < edges:
        tier, caller = rng.randrange(tiers - 1), rng.randrange(size)
        group = caller // 40 * 40  # Teams call their own services, and popular ones of everybody.
        callee = min(size - 1, group + rng.randrange(40)) if rng.random() < 0.98 else int(size * rng.random() ** 3)
        keys[EdgeKey(f"s{tier * size + caller}", f"s{(tier + 1) * size + callee}", EdgeKind.CALL)] = None
    seen = tuple(EdgeSeen(key, 0, 10, 1000, 1.0) for key in keys)
    state = State.empty("production")
    names = tuple(ServiceSeen(f"s{i}", 10, 10.0, 0.0) for i in range(services))
    return decide(state, EdgesObserved(10, seen, names), Moment(0, START_MS, None)).state


def set_times(state: State, services: int, count: int = 300) -> list[float]:
    """Milliseconds that the version sets of random services take."""
    rng = random.Random(2)
    found = []
    for _ in range(count):
        name = f"s{rng.randrange(services)}"
        begun = time.process_time()
        walked = walk(state.graph, (name,))
        guards(state, walked)
        left_out(state.graph, walked)
        found.append((time.process_time() - begun) * 1000)
    return sorted(found)


def edge_update(state: State, count: int = 300) -> float:
    """Median milliseconds to decide one fact with one new edge."""
    found = []
    for i in range(count):
        fact = EdgesObserved(11, (EdgeSeen(EdgeKey(f"new{i}", "s99", EdgeKind.CALL), 0, 11, 1, 0.1),))
        begun = time.process_time()
        state = decide(state, fact, Moment(i, START_MS + i, None)).state
        found.append((time.process_time() - begun) * 1000)
    return statistics.median(found)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--services", type=int, default=10_000)
    parser.add_argument("--edges", type=int, default=100_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    collect_seldom()
    few, many = recorded(10), recorded(50)
    few_rate, _ = decide_rate(few)
    many_rate, decided = decide_rate(many)
    state = large(options.services, options.edges)
    times = set_times(state, options.services)
    figures = {
        "facts_10_services": len(few),
        "decide_facts_per_second_10_services": round(few_rate),
        "facts_50_services": len(many),
        "decide_facts_per_second_50_services": round(many_rate),
        "fold_decisions_per_second": round(fold_rate(decided)),
        "set_ms_median": round(times[len(times) // 2], 2),
        "set_ms_p99": round(times[int(len(times) * 0.99)], 2),
        "edge_update_ms": round(edge_update(state), 3),
    }
    print(json.dumps(figures) if options.json else "\n".join(f"{name:<38} {value}" for name, value in figures.items()))


if __name__ == "__main__":
    main()
