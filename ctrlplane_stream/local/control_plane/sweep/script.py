"""The rollout that every plan plays: two scripts, one that promotes and one that aborts; of a job with runs besides."""

from collections.abc import Callable
from functools import partial

from ctrlplane_stream.actuators.shifting import consumer_shares, reached_weights
from ctrlplane_stream.local.control_plane.scene import command, version
from ctrlplane_stream.local.control_plane.sweep.ways import Way
from ctrlplane_stream.model.commands import Command, Verb
from ctrlplane_stream.model.identity import Target
from ctrlplane_stream.model.world import Capacity, Cursor, WantedVersion

LEASE_SECONDS = 60.0
Assigned = tuple[Command, Cursor]
Give = Callable[..., Assigned]
Make = Callable[..., WantedVersion]
_LASTS = "never-ready"
"""How an image behaves under the fake kubelet whose run goes on until it is ended."""


def script(target: Target, way: Way, *, promotes: bool) -> tuple[Assigned, ...]:
    """The commands, in their order; their sequences leave room for one between any two."""
    one, two, give = _stable(target, way), _candidate(target, way), _give(target, way)
    begin = (
        give(10, one(100), verb=Verb.ADOPT if way is Way.ADOPTED else Verb.PREPARE),
        give(20, one(100), two(0), verb=Verb.PREPARE),
        give(30, one(75), two(25), lease=LEASE_SECONDS),
        give(40, one(75), two(25), lease=LEASE_SECONDS, verb=Verb.RENEW),
        give(50, one(0), two(100)) if way is Way.JOB else give(50, one(50), two(50), lease=LEASE_SECONDS),
    )
    if promotes:
        return (
            *begin,
            *(() if way is Way.JOB else (give(60, one(0), two(100), lease=LEASE_SECONDS),)),
            give(70, one(0, Capacity.PARKED), two(100), verb=Verb.PARK, stable="#2"),
            give(80, two(100), verb=Verb.DELETE, stable="#2"),
        )
    return (
        *begin,
        give(60, one(100), two(0), lease=LEASE_SECONDS),
        give(70, one(100), two(0, Capacity.PARKED), verb=Verb.PARK),
        give(80, one(100), verb=Verb.DELETE),
    )


def retreat(target: Target, way: Way, sequence: int) -> Assigned:
    """The command by which the engine agrees with stable after a lease ran out."""
    return _give(target, way)(sequence, _stable(target, way)(100), _candidate(target, way)(0))


def shown(way: Way, assigned: Assigned) -> dict[str, int]:
    """The weights by label that are seen once a command is carried out: a job has all of its runs or none."""
    wanted = assigned[0].wanted
    return reached_weights(consumer_shares(wanted.weights, wanted.stable, 1)) if way is Way.JOB else wanted.weights


def _give(target: Target, way: Way) -> Give:
    return partial(command, target, kind=way.kind, in_place=way.surplus_percent > 0, surplus_percent=way.surplus_percent)


def _stable(target: Target, way: Way) -> Make:
    return partial(version, target.service, 1, behaviour=_behaviour(way))


def _candidate(target: Target, way: Way) -> Make:
    def made(weight: int, capacity: Capacity = way.capacity) -> WantedVersion:
        return version(target.service, 2, weight, capacity, _behaviour(way))

    return made


def _behaviour(way: Way) -> str:
    return _LASTS if way is Way.JOB else "well"
