"""The state of a target after each moment, and what of it breaks an invariant (design, "The rollout machine", 1 to 4).

1: weights sum to 100, and none rises to what has not the ready Pods for it (of stable, one is enough). 2: stable keeps its Pods.
3: on the way back nothing but stable gains. 4: no version has fewer Pods than its weight needs. Weights are what a route says; where
they go by shares of Pods, what the memory says was reached. There, and where no second fleet has room, stable gives Pods away as the
candidate gets them: 4 holds and not 2. Besides these: the cursor in the memory never goes back, and a Deployment that was adopted is
never deleted nor gets other Pods.
"""

import math

from ctrlplane_stream.actuators.kubernetes.manifests import SERVING
from ctrlplane_stream.actuators.kubernetes.names import version_name
from ctrlplane_stream.actuators.kubernetes.objects import LABEL, ROLE, Kind, Manifest, annotation, label, name_of
from ctrlplane_stream.actuators.kubernetes.place import Place
from ctrlplane_stream.actuators.kubernetes.weights import backends
from ctrlplane_stream.local.control_plane.sweep.memories import Memories
from ctrlplane_stream.local.control_plane.sweep.moments import Moment


class Replay:
    """Moments in the order of their revisions, from ``step`` to ``step``."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._weights: dict[str, int] = {}
        """By the name of a version of ours, whatever the name of its Deployment."""
        self._deployments: dict[str, Manifest] = {}
        self._owned: Manifest | None = None
        self._memories = Memories(place)

    def step(self, moment: Moment) -> list[str]:
        """What this moment breaks."""
        match moment.kind:
            case Kind.HTTP_ROUTE:
                return self._steered(moment.object)
            case Kind.DEPLOYMENT:
                return self._scaled(moment.object, moment.gone)
            case _:
                return self._remembered(moment)

    @property
    def _full(self) -> int:
        return self._place.full or 1

    def _remembered(self, moment: Moment) -> list[str]:
        before, found = self._memories.ledger, self._memories.step(moment)
        now = self._memories.ledger
        if now is before or now is None or self._place.route is not None:
            return found
        return found + self._weighed({version_name(self._place.slug, of): weight for of, weight in now.weights.items()})

    def _steered(self, route: Manifest) -> list[str]:
        rule = self._place.route
        if rule is None or name_of(route) != rule.name:
            return []
        return self._weighed({name: weight for name, weight in (backends(route, rule.rule) or {}).items() if name != "before"})

    def _weighed(self, weights: dict[str, int]) -> list[str]:
        before, self._weights = self._weights, weights
        if not weights:
            return []
        found = [] if sum(weights.values()) in (0, 100) else [f"1: weights sum to {sum(weights.values())}: {weights}"]
        for name, weight in sorted(weights.items()):
            if weight <= before.get(name, 0):
                continue
            ready = int((self._deployments.get(name, {}).get("status") or {}).get("readyReplicas") or 0)
            if ready == 0 or (name != self._stable() and 100 * ready // self._full < weight):
                found.append(f"1: {name} rose to {weight} with {ready} of {self._full} Pods ready")
            if self._memories.aborting and name != self._stable():
                found.append(f"3: {name} rose from {before.get(name, 0)} to {weight} during an abort")
        return found

    def _scaled(self, deployment: Manifest, gone: bool) -> list[str]:
        found = self._left_to_its_owner(deployment, gone) if name_of(deployment) == self._place.adopt else []
        of = annotation(deployment, LABEL)
        if of is None or label(deployment, ROLE) != SERVING:
            return found
        name = version_name(self._place.slug, of)
        before = self._deployments.get(name)
        had = int(before["spec"].get("replicas", 1)) if before is not None else 0
        has = 0 if gone else int(deployment["spec"].get("replicas", 1))
        self._deployments[name] = deployment
        if gone:
            del self._deployments[name]
        return found + (self._fewer(name, had, has) if has < had else self._more(name, had, has) if has > had else [])

    def _left_to_its_owner(self, deployment: Manifest, gone: bool) -> list[str]:
        """What was adopted keeps its Pods: another template would mean other ones."""
        before, self._owned = self._owned, deployment
        if gone:
            return [f"adopted: {name_of(deployment)} was deleted"]
        changed = before is not None and before["spec"]["template"] != deployment["spec"]["template"]
        return [f"adopted: {name_of(deployment)} got another Pod template"] if changed else []

    def _fewer(self, name: str, had: int, has: int) -> list[str]:
        weight, found = self._weights.get(name, 0), []
        if has < math.ceil(self._full * weight / 100):
            found.append(f"4: {name} went from {had} to {has} Pods with weight {weight}")
        if name == self._stable() and self._place.route is not None and not self._exchanges():
            found.append(f"2: stable {name} went from {had} to {has} Pods")
        return found

    def _more(self, name: str, had: int, has: int) -> list[str]:
        """By shares of Pods, a Pod more is more of the traffic, whatever the memory says yet."""
        if self._place.route is not None or name == self._stable() or not self._memories.aborting:
            return []
        return [f"3: {name} went from {had} to {has} Pods during an abort"]

    def _stable(self) -> str | None:
        wanted = self._memories.wanted
        return version_name(self._place.slug, wanted.stable) if wanted is not None and wanted.stable is not None else None

    def _exchanges(self) -> bool:
        """Whether there is no room for a whole second fleet, so that stable gives Pods away as the candidate gets them."""
        return self._memories.wanted is not None and self._memories.wanted.in_place
