"""A plan drawn from a seed: what came to be drawn later has dice of its own, so that all else of a seed stays what it was."""

import random

from ctrlplane_stream.simulation.drawing.acts import (
    CROWDED_SHARE,
    acts_of,
    adoptions,
    afterwards,
    brought_back,
    crowd_of,
    elsewhere_of,
    handed_over,
    in_hands,
    later_mishaps,
    latest_mishaps,
    past_the_route,
    remade,
    returns,
    second_thoughts,
    taken_back,
)
from ctrlplane_stream.simulation.drawing.systems import by_weight, drawn_service, edges_of, of_other_ways, some_in_place, starting_over
from ctrlplane_stream.simulation.plans import CHAOS_SECONDS, LONG_SECONDS, Plan


def plan(seed: int) -> Plan:
    """The plan of a seed."""
    rng = _dice(seed)
    names = [f"s{i}" for i in range(rng.randint(1, 5))]
    rough = rng.random() < 0.5
    services = some_in_place(_dice(seed + 3), tuple(drawn_service(rng, name, names) for name in names))
    services = of_other_ways(_dice(seed + 5), services)
    edges, acts = edges_of(rng, names), acts_of(rng, names)
    acts += second_thoughts(_dice(seed + 6))
    acts += later_mishaps(_dice(seed + 4), names)
    acts += latest_mishaps(_dice(seed + 10), services)
    acts += taken_back(_dice(seed + 11), names)
    acts += handed_over(_dice(seed + 12), names)
    acts += remade(_dice(seed + 13), names)
    acts += in_hands(_dice(seed + 15))
    acts += brought_back(_dice(seed + 18), names)
    acts += past_the_route(_dice(seed + 19), names)
    later = afterwards(_dice(seed + 14), names)
    later += returns(_dice(seed + 17)) if later else []
    services = by_weight(_dice(seed + 9), services)
    running, acts = adoptions(_dice(seed + 8), names, acts)
    other = elsewhere_of(_dice(seed + 2), names)
    crowd = _dice(seed + 9)
    crowded = crowd.random() < CROWDED_SHARE
    if crowded:
        services, acts = starting_over(crowd, services), acts + crowd_of(crowd, names)
    return Plan(
        seed=seed,
        services=(*services, *other.services),
        edges=(*edges, *other.edges),
        acts=tuple(sorted((*acts, *other.acts, *later), key=lambda act: act.at)),
        loss=rng.choice((0.0, 0.05, 0.2)) if rough else 0.0,
        echo=rng.choice((0.0, 0.1)) if rough else 0.0,
        delay=rng.choice((0.0, 3.0, 12.0)) if rough else 0.0,
        again=rng.choice((0.0, 0.2)) if rough else 0.0,
        actuation=max(rng.choice((0.5, 0.5, 8.0, 25.0)) if rough else 0.5, crowd.choice((0.5, 8.0, 25.0)) if crowded else 0.5),
        twice=rng.choice((0.0, 0.2)) if rough else 0.0,
        start=rng.choice((2.0, 2.0, 15.0, 35.0)),
        staging=rng.random() < 0.1,
        chaos=LONG_SECONDS if later else CHAOS_SECONDS,
        running=running,
    )


def _dice(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311  a seeded simulation, not a secret
