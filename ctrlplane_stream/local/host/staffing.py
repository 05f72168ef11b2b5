"""How a kind of service is staffed: which instances its ledger calls for, and when weight may move over to them.

Make before break is enforced here whatever was commanded: instances come first, weight follows readiness, and only
what has no weight goes. The exception is a target that changes in place, which never has more instances than it had.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from ctrlplane_stream.actuators.in_place import next_sizes, reached, surplus, with_vacancy
from ctrlplane_stream.actuators.in_place import shares as shares_in_place
from ctrlplane_stream.actuators.ledger import Ledger
from ctrlplane_stream.actuators.observing import Counted
from ctrlplane_stream.actuators.shifting import consumer_shares, instances_wanted, move, reached_weights
from ctrlplane_stream.local.host.crew import Crew
from ctrlplane_stream.local.host.instance import Instance
from ctrlplane_stream.local.host.router import Router
from ctrlplane_stream.model.world import Capacity, TargetWanted, WantedVersion

Recruit = Callable[[WantedVersion, bool], Instance]
"""Builds an instance of a version, standing by or not."""


class Staffing(Protocol):
    """The instances of one target."""

    def converge(self, ledger: Ledger) -> Ledger:
        """Start, steer and stop what the ledger calls for and readiness allows; the ledger with the weights now in force."""
        ...

    def counted(self, ledger: Ledger) -> dict[str, Counted]:
        """Instances by version label."""
        ...

    def pids(self) -> dict[str, list[int]]:
        """Process ids by version label."""
        ...

    async def end(self) -> None:
        """End everything at once."""
        ...


class RoutedStaffing:
    """Versions behind a router; ``full`` instances carry the whole traffic."""

    def __init__(self, recruit: Recruit, router: Router, full: int) -> None:
        self._recruit = recruit
        self._router = router
        self._full = full
        self._crews: dict[str, Crew] = {}

    def converge(self, ledger: Ledger) -> Ledger:
        """See ``Staffing``."""
        moved = (
            self._exchanged(ledger, ledger.wanted) if ledger.wanted is not None and ledger.wanted.in_place else self._side_by_side(ledger)
        )
        _forget(self._crews)
        self._router.steer(moved.weights, {label: crew.backends() for label, crew in self._crews.items()})
        return moved

    def _exchanged(self, ledger: Ledger, wanted: TargetWanted) -> Ledger:
        for version in wanted.versions:
            _crew(self._crews, version, self._recruit, standby=False)
        return exchanged(ledger, wanted, self._crews, self._full)

    def _side_by_side(self, ledger: Ledger) -> Ledger:
        wanted = instances_wanted(ledger, self._full)
        for version in _listed(ledger):
            _crew(self._crews, version, self._recruit, standby=False).grow(wanted[version.label])
        moved = move(ledger, {label: crew.ready for label, crew in self._crews.items()}, self._full)
        wanted = instances_wanted(moved, self._full)
        for label, crew in self._crews.items():
            crew.shrink(wanted.get(label, 0))
        return moved

    def counted(self, ledger: Ledger) -> dict[str, Counted]:
        """See ``Staffing``."""
        counted = {label: crew.counted() for label, crew in self._crews.items()}
        return _seen_in_place(ledger, counted, self._full)

    def pids(self) -> dict[str, list[int]]:
        """See ``Staffing``."""
        return {label: crew.pids() for label, crew in self._crews.items()}

    async def end(self) -> None:
        """See ``Staffing``."""
        for crew in self._crews.values():
            await crew.end()


class ConsumerStaffing:
    """Versions that take work by themselves: weight is the share of ``total`` instances, in whole instances.

    A version that is to be running at weight 0 has one instance standing by, which proves that it starts.
    """

    def __init__(self, recruit: Recruit, total: int) -> None:
        self._recruit = recruit
        self._total = total
        self._polling: dict[str, Crew] = {}
        self._standing_by: dict[str, Crew] = {}

    def converge(self, ledger: Ledger) -> Ledger:
        """See ``Staffing``."""
        if ledger.wanted is not None and ledger.wanted.in_place:
            return self._exchanged(ledger, ledger.wanted)
        shares = self._shares(ledger)
        for version in _listed(ledger):
            share = shares[version.label]
            _crew(self._polling, version, self._recruit, standby=False).grow(share)
            idle = 1 if share == 0 and version.capacity is not Capacity.PARKED else 0
            _crew(self._standing_by, version, self._recruit, standby=True).grow(idle)
        if not self._has_arrived(ledger, shares):
            return ledger
        for label, crew in self._polling.items():
            crew.shrink(shares.get(label, 0))
        idle_wanted = {v.label for v in _listed(ledger) if shares[v.label] == 0 and v.capacity is not Capacity.PARKED}
        for label, crew in self._standing_by.items():
            crew.shrink(1 if label in idle_wanted else 0)
        _forget(self._polling)
        _forget(self._standing_by)
        return msgspec.structs.replace(ledger, weights=reached_weights(shares))

    def counted(self, ledger: Ledger) -> dict[str, Counted]:
        """See ``Staffing``."""
        crews = {**self._standing_by, **{label: crew for label, crew in self._polling.items() if crew.size > 0}}
        return _seen_in_place(ledger, {label: crew.counted() for label, crew in crews.items()}, self._total)

    def pids(self) -> dict[str, list[int]]:
        """See ``Staffing``."""
        found: dict[str, list[int]] = {}
        for crews in (self._polling, self._standing_by):
            for label, crew in crews.items():
                found.setdefault(label, []).extend(crew.pids())
        return found

    async def end(self) -> None:
        """See ``Staffing``."""
        for crew in (*self._polling.values(), *self._standing_by.values()):
            await crew.end()

    def _exchanged(self, ledger: Ledger, wanted: TargetWanted) -> Ledger:
        for version in wanted.versions:
            _crew(self._polling, version, self._recruit, standby=False)
        moved = exchanged(ledger, wanted, self._polling, self._total)
        for crew in self._standing_by.values():
            crew.shrink(0)
        _forget(self._polling)
        _forget(self._standing_by)
        return moved

    def _shares(self, ledger: Ledger) -> dict[str, int]:
        return consumer_shares(ledger.goal, ledger.wanted.stable if ledger.wanted is not None else None, self._total)

    def _has_arrived(self, ledger: Ledger, shares: Mapping[str, int]) -> bool:
        """Whether whatever gains is ready for its share, so that the others may go; of stable, one instance suffices."""
        stable = ledger.wanted.stable if ledger.wanted is not None else None
        return all(self._polling[label].ready >= (min(1, share) if label == stable else share) for label, share in shares.items())


def exchanged(ledger: Ledger, wanted: TargetWanted, crews: Mapping[str, Crew], total: int) -> Ledger:
    """One step of a change in place: one instance or one portion at most goes or comes; the ledger with the weights that are ready now."""
    goal = shares_in_place(ledger.goal, wanted, total)
    counted = {label: crew.counted() for label, crew in crews.items()}
    sizes = next_sizes(goal, counted, leaving=any(crew.leaving for crew in crews.values()), surplus=surplus(wanted, total))
    for label, crew in crews.items():
        crew.shrink(sizes.get(label, 0))
        crew.grow(sizes.get(label, 0))
    now = {label: crew.counted() for label, crew in crews.items()}
    before = {version.label: ledger.weights.get(version.label, 0) for version in wanted.versions}
    return msgspec.structs.replace(ledger, weights=reached(now, wanted.stable, before, ledger.goal))


def _seen_in_place(ledger: Ledger, counted: dict[str, Counted], total: int) -> dict[str, Counted]:
    if ledger.wanted is None or not ledger.wanted.in_place:
        return counted
    return with_vacancy(shares_in_place(ledger.goal, ledger.wanted, total), counted)


def _listed(ledger: Ledger) -> tuple[WantedVersion, ...]:
    return ledger.wanted.versions if ledger.wanted is not None else ()


def _crew(crews: dict[str, Crew], version: WantedVersion, recruit: Recruit, *, standby: bool) -> Crew:
    if version.label not in crews:
        crews[version.label] = Crew(lambda: recruit(version, standby))
    return crews[version.label]


def _forget(crews: dict[str, Crew]) -> None:
    for label in [label for label, crew in crews.items() if crew.empty]:
        del crews[label]
