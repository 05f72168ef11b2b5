"""The kinds of places in which the script is played: each way of moving weight that the product has on a cluster."""

from collections.abc import Sequence
from enum import StrEnum

from ctrlplane_stream.actuators.kubernetes.objects import Manifest
from ctrlplane_stream.actuators.kubernetes.place import Place
from ctrlplane_stream.local.control_plane.scene import adopting, job_template, route, routed_place, running, template
from ctrlplane_stream.model.identity import ServiceKind
from ctrlplane_stream.model.world import Capacity

SLUG = "shop-cart"
_PODS = 4
"""So that each weight of the script is a whole number of Pods where weight goes by their shares."""


class Way(StrEnum):
    """How weight is moved."""

    ROUTE = "route"
    """A rule of an HTTPRoute; the candidate has a whole fleet from the beginning."""
    GROWING = "growing"
    """The same, and the candidate has as many Pods as its weight needs."""
    SERVICE = "service"
    """Shares of Pods behind one Service."""
    CONSUMER = "consumer"
    """Shares of Pods that take work from a queue."""
    COMMITS = "commits"
    """By a route, while a repository declares versions (GitOps with ``weights: cluster``)."""
    EXCHANGED = "exchanged"
    """By a route, where there is room for half a fleet beside the whole one: a portion is ready before as many Pods go."""
    ADOPTED = "adopted"
    """By a route; the first version is a Deployment that ran before us and is its owner's."""
    JOB = "job"
    """By runs: a CronJob a version, of which one is not suspended."""

    @property
    def by_route(self) -> bool:
        """Whether a route has the weights, and not shares of Pods or runs."""
        return self not in (Way.SERVICE, Way.CONSUMER, Way.JOB)

    @property
    def surplus_percent(self) -> int:
        """Of a target whose Pods are exchanged: the room that there is beside them; 0 where both versions stand side by side."""
        return 50 if self is Way.EXCHANGED else 0

    @property
    def kind(self) -> ServiceKind:
        """The kind of service that commands name."""
        return {Way.CONSUMER: ServiceKind.CONSUMER, Way.JOB: ServiceKind.JOB}.get(self, ServiceKind.ROUTED)

    @property
    def capacity(self) -> Capacity:
        """What commands want of a candidate's Pods."""
        return Capacity.WEIGHTED if self is Way.GROWING else Capacity.FULL

    def place(self, namespace: str, service: str) -> Place:
        """Where the service lives in that namespace."""
        if self.by_route:
            place = routed_place(namespace, service, replicas=_PODS if self in (Way.GROWING, Way.EXCHANGED) else 2)
            return adopting(place) if self is Way.ADOPTED else place
        if self is Way.JOB:
            return Place(namespace, SLUG, job_template())
        return Place(namespace, SLUG, template(_PODS), full=_PODS, service=None if self is Way.CONSUMER else SLUG)

    def surroundings(self) -> Sequence[Manifest]:
        """What users have made before us."""
        if self.by_route:
            owned = {**route(SLUG, ["main"]), "metadata": {"name": SLUG, "annotations": {"owner": "somebody"}}}
            return [owned, running()] if self is Way.ADOPTED else [owned]
        if self is Way.JOB:
            return []
        spec = {"selector": {"app": "cart"}, "ports": [{"port": 80, "targetPort": 8080}]}
        return [{"apiVersion": "v1", "kind": "Service", "metadata": {"name": SLUG}, "spec": spec}]
